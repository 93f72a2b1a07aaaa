/** Puts a block of code into its element, again each time that it has grown; without one, it is plain text. */
export type WriteCode = (code: Element, text: string, language: string) => void;

/** Show a Markdown text that grows: only its end is drawn anew. */
export function update(container: Element, text: string, write?: WriteCode): void;

/** Nodes for a whole Markdown text. Never HTML: markup in it stays text. */
export function render(text: string, document: Document, write?: WriteCode): Element[];

/** A block: `text` is Markdown, or has parsed parts; the blocks `below` come after it, as in a list or a quote. */
export interface Block {
  name: string;
  text: string | unknown[];
  below: Block[];
  attributes: object | false;
  /** Where it begins; blocks that are no lines of their own have none. */
  line?: number;
}

/** The blocks of some lines, in so many quotes and lists, from one of the lines on. */
export function blocks(lines: string[], depth?: number, from?: number): Block[];
