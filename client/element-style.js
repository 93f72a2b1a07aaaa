/**
 * The style of `<ask-bot>`: the page's look (page.css, answer.css), in an element. All that is inherited ends at `#root`, so
 * that of the page around it only what is said to it comes in: custom properties, `color-scheme`, and whether it is visible. What an
 * answer is drawn as has its style in element-answer.js.
 */
export const CSS = `
:host {
  --ink: var(--askbot-ink, light-dark(#1f2624, #e4e5de));
  --paper: var(--askbot-paper, light-dark(#fbf9f4, #1b201f));
  --line: var(--askbot-line, light-dark(#d9d4c6, #3a423f));
  --accent: var(--askbot-accent, light-dark(#14594c, #86c7b3));
  --cursor: light-dark(#d97a1f, #f0a04b);
  --alarm: light-dark(#a63d2a, #ec8d79);
  --soft: color-mix(in srgb, var(--ink) 74%, var(--paper));
  --code: color-mix(in srgb, var(--ink) 7%, var(--paper));
  display: flex;
  flex-direction: column;
  block-size: min(32rem, 100dvh);
  overflow: hidden;
  background: var(--paper);
  border: 1px solid var(--line);
  border-radius: var(--askbot-radius, 0.75rem);
}
:host([theme=light]) { color-scheme: light; }
:host([theme=dark]) { color-scheme: dark; }
:host([theme=auto]) { color-scheme: light dark; }
#root {
  all: initial;
  display: contents;
  color-scheme: inherit;
  visibility: inherit;
  pointer-events: inherit;
  -webkit-user-select: text;
  user-select: text;
  direction: ltr;
  color: var(--ink);
  font: var(--askbot-font, medium/1.6 system-ui, sans-serif);
}
#root:dir(rtl) { direction: rtl; }
:host([hidden]), [hidden] { display: none !important; }
[part=badge]:empty, [part=length]:empty, [part=retry] { display: none; }
:host, * { box-sizing: border-box; }
:lang(ko) { word-break: keep-all; }
p { margin: 0; }
:focus-visible { outline: 2px solid var(--cursor); outline-offset: 2px; border-radius: 4px; }
[part=header], [part=offline], [part=end] { display: flex; flex-wrap: wrap; align-items: center; gap: 0.25em 0.75em; }
[part=status], [part=connection], [part=badge], [part=thought], [part=length], button { font-size: 0.85em; }
[part=header], [part=offline] { padding: 0.4em 0.75em 0.4em 1em; }
[part=offline] { border-block-start: 1px solid var(--cursor); }
[part=status], [part=connection] { flex: 1; }
[part=status], [part=connection], [part=badge], [part=thought], [part=length] { color: var(--soft); font-variant-numeric: tabular-nums; }
section { flex: 1; overflow: auto; overscroll-behavior: contain; padding: 1em; border-block-start: 1px solid var(--line); overflow-wrap: anywhere; outline-offset: -2px; }
[part=earlier], [part=latest] { display: block; margin: 0 auto 1em; background: var(--paper); }
[part=latest] { position: sticky; inset-block-end: 0; margin-block-end: 0; }
[part=hint] { margin: 12% 0 0 1.25em; font-size: 1.75em; font-weight: 500; line-height: 1.2; letter-spacing: -0.02em; }
article { position: relative; padding-block-end: 1.75em; padding-inline-start: 1.5em; }
article::before { content: ""; position: absolute; inset-block: 0.7em 0; inset-inline-start: 0.25em; border-inline-start: 1px solid var(--line); }
article::after { content: ""; position: absolute; inset-block-start: 0.45em; inset-inline-start: 0; border: 0.28em solid var(--accent); border-radius: 50%; }
article:not([part~=ended])::after { border-color: var(--cursor); }
article:is(.error, .interrupted, .refused)::after { border-color: var(--alarm); }
h2 { margin: 0 0 0.5em; font-size: 1.15em; font-weight: 600; line-height: 1.4; white-space: pre-wrap; }
[part~=long] { font-size: 0.9em; font-weight: 400; }
[part~=folded] { max-block-size: 8lh; overflow: hidden; mask: linear-gradient(#000 calc(100% - 2.5lh), transparent); }
[part=fold] { margin-block-end: 0.75em; }
[part~=waiting] > [part=end]::after, [part~=thinking] [part=thought-text]::after, [data-growing]::after, [part=hint]::after {
  content: "";
  display: inline-block;
  block-size: 1.05em;
  margin-inline-start: 0.12em;
  vertical-align: -0.16em;
  border-inline-start: 0.5em solid var(--cursor);
  animation: blink 1.1s steps(1) infinite;
}
[part=hint]::after { animation-iteration-count: 4; }
@keyframes blink { 50% { opacity: 0; } }
[part=end] { margin-block-start: 0.75em; }
[part~=ended]:last-child [part=retry] { display: revert; }
:is(.error, .interrupted, .refused) [part=badge] { color: var(--alarm); }
button { font-family: inherit; color: inherit; background: none; border: 1px solid var(--line); border-radius: 99px; padding: 0.35em 0.9em; cursor: pointer; touch-action: manipulation; }
button:hover { border-color: currentColor; }
button[aria-disabled=true] { cursor: default; color: var(--soft); border-style: dashed; }
form { display: flex; flex-wrap: wrap; align-items: end; gap: 0.4em; margin: 0 0.75em 0.75em; padding: 0.4em; border: 1px solid var(--line); border-radius: 1.1em; }
form:has(textarea:focus-visible) { outline: 2px solid var(--cursor); }
textarea { flex: 1; min-inline-size: 50%; max-block-size: 9em; padding: 0.3em 0.5em; font: inherit; color: inherit; background: none; border: 0; outline: none !important; resize: none; field-sizing: content; }
::placeholder { color: var(--soft); opacity: 1; }
[part=send], [part=stop] { padding: 0.5em 1.1em; border: 1px solid #0000; border-radius: 0.9em; color: var(--paper); background: var(--accent); }
[part=stop] { background: var(--ink); }
[part=stop][aria-disabled] { color: var(--paper); }
[part=length] { flex-basis: 100%; padding-inline: 0.6em; }
[aria-invalid=true] ~ [part=length] { color: var(--alarm); }
@media (prefers-reduced-motion) { * { animation: none !important; } }
@media print {
  :host { color-scheme: light !important; block-size: auto !important; max-block-size: none !important; position: static !important; overflow: visible !important; border: 0 !important; background: none !important; }
  section { overflow: visible; border: 0; padding: 0; }
  [part=header], [part=offline], form, button, [part=end] [part=retry], article ::after { display: none !important; }
  [part~=folded] { max-block-size: none; mask: none; }
  h2 { break-after: avoid; }
}
`;
