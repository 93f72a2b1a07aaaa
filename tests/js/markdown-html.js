/** Markdown's HTML, as the table of cases, the specification and our drawing have it, brought to one form. */

const VOID = ["br", "hr"];
const KEPT_ATTRIBUTES = ["href", "title", "class", "start"];
const SAFE_URL = /^(?:https?:\/\/|mailto:)/i;

export const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const unescape = (html) =>
  html.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"').replaceAll("&amp;", "&");

const attributesOf = (attributes) =>
  KEPT_ATTRIBUTES.filter((key) => attributes[key]).map((key) => ` ${key}="${escape(attributes[key])}"`).join("");

/** Returns the HTML of drawn nodes, without what every element of its kind has: frames, levels, a link's behaviour. */
export function htmlOf(nodes) {
  return nodes.map(nodeHtml).join("");
}

function nodeHtml(node) {
  if (node.data !== undefined) return escape(node.data);
  const inner = htmlOf(node.childNodes);
  if (node.name === "div") return inner;
  if (node.name === "figure") return codeHtml(...node.childNodes);
  const name = node.name.replace(/^h([3-6])$/, (_, level) => `h${level - 2}`);
  return `<${name}${attributesOf(node.attributes)}>${VOID.includes(name) ? "" : `${inner}</${name}>`}`;
}

function codeHtml(caption, pre) {
  const language = caption.textContent;
  return `<pre><code${language && ` class="language-${language}"`}>${escape(pre.textContent)}</code></pre>`;
}

// --- the specification's examples ------------------------------------------------------------------------------------

const decodeAddresses = (html) =>
  html.replace(/(?:%[\dA-F]{2})+/gi, (encoded) => {
    try {
      return decodeURIComponent(encoded);
    } catch {
      return encoded;
    }
  });

const breaksOf = (html) =>
  html
    .split(/(<pre>.*?<\/pre>)/s)
    .map((part) => (part.startsWith("<pre>") ? part : part.replace(/(?:<br>)?\n/g, "<br>")))
    .join("");

/** Returns HTML whose line breaks are elements, with addresses as one reads them: the form in which both are compared. */
export const comparable = (html) => decodeAddresses(breaksOf(html));

/**
 * Returns an example's HTML with the deviations that every example shares: its markup is text, a line break stays one, a
 * code block ends with its last line, headings end at the fourth level, and a link to somewhere else than the web is shown
 * as it is written, and so is an image, which else is a link.
 */
export function specifiedHtml({ markdown, html }) {
  const isMarkup = (tag) => markdown.includes(tag);
  const inAngles = (text) => (markdown.includes(`<${unescape(text)}>`) ? `&lt;${text}&gt;` : undefined);
  const links = [];
  const shown = html
    .replace(/<(?:!\[CDATA\[.*?\]\]|(?:"[^"]*"|'[^']*'|[^'">])*)>/gs, (tag) => (isMarkup(tag) ? escape(tag) : tag))
    .replace(/\n<\/code><\/pre>/g, "</code></pre>")
    .replace(/<(br|hr) \/>/g, "<$1>")
    .replace(/<(\/?)h[56]>/g, "<$1h4>")
    .replace(/<img src="([^"]*)" alt="([^"]*)"( title="[^"]*")? \/>/g, (_, url, alt, title = "") =>
      SAFE_URL.test(url) ? `<a href="${url}"${title}>${alt || url}</a>` : `![${alt}](${url})`,
    )
    .replace(/<a href="([^"]*)"( title="[^"]*")?>|<\/a>/g, (tag, url) => {
      if (url !== undefined) links.push(url);
      const target = url ?? links.pop();
      if (SAFE_URL.test(target)) return tag.replaceAll("&quot;", '"').replace(/(title="|href=")(.*)"/, '$1$2"');
      return url === undefined ? `](${target})` : "[";
    })
    .replace(/\[([^\][]*)\]\(\1\)/g, (link, text) => inAngles(text) ?? link)
    .replaceAll("&quot;", '"');
  const block = "(?:p|h[1-4]|hr|ul|ol|li|blockquote|pre)";
  return shown
    .split(/(<pre>.*?<\/pre>)/s)
    .map((part) =>
      part.startsWith("<pre>") ? part : part.replace(new RegExp(`\\n*(</?${block}(?: [^>]*)?>)\\n*`, "g"), "$1"),
    )
    .join("")
    .replace(/\n$/, "");
}
