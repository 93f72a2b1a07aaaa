/** Writes a block of code into its element, again each time that it has grown. By default it is plain text. */
export type WriteCode = (code: Element, text: string, language: string) => void;

/**
 * Returns what is shown of a formula; `display`: it stands on its own. Without a node, or where it throws, the formula stands
 * as it is written, in `code.math` or `pre.math > code`. It is asked once for a formula that stays.
 */
export type RenderMath = (tex: string, display: boolean) => ChildNode | null | undefined;

export interface Options {
  write?: WriteCode;
  renderMath?: RenderMath;
  /**
   * Whether the text goes on: what may be half of an address or a link at its end leads nowhere yet, and what may be half of a
   * formula is not drawn as anything else. Draw once more without it when the text has ended.
   */
  isGrowing?: boolean;
}

/** Shows a Markdown text that grows in a container: only its end is drawn again, and what stays keeps its nodes. */
export function update(container: Element, text: string, options?: Options | WriteCode): void;

/** Returns the elements of a whole Markdown text. Never HTML: markup in it stays text. */
export function render(text: string, document: Document, options?: Options | WriteCode): Element[];
