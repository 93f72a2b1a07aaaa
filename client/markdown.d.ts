/** Writes a block of code into its element, again each time that it has grown. By default it is plain text. */
export type WriteCode = (code: Element, text: string, language: string) => void;

/** Show a Markdown text that grows in a container: only its end is drawn again. */
export function update(container: Element, text: string, write?: WriteCode): void;

/** The elements for a whole Markdown text. Never HTML: markup in it stays text. */
export function render(text: string, document: Document, write?: WriteCode): Element[];

/** A block: `text` is Markdown, or has parsed parts; the blocks `below` come after it, as in a list or a quote. */
export interface Block {
  name: string;
  text: string | unknown[];
  below: Block[];
  attributes: object | false;
  /** Index of its first line; parts of a block, such as a list's items, have none. */
  line?: number;
}

/** The blocks of some lines, which are in `depth` quotes and lists, from the line with the index `from` on. */
export function blocks(lines: string[], depth?: number, from?: number): Block[];
