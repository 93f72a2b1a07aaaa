/** Puts a block of code into its element; without one, as plain text. Called again as the block grows. */
export type WriteCode = (code: Element, text: string, language: string) => void;

/** Show a Markdown text that grows: only its end is drawn anew. */
export function update(container: Element, text: string, write?: WriteCode): void;

/** Nodes for a whole Markdown text. Never HTML: markup in it stays text. */
export function render(text: string, document: Document, write?: WriteCode): Element[];

/** The blocks of some lines, each with the `line` where it begins. */
export function blocks(lines: string[], depth?: number): { type: string; line: number; [field: string]: unknown }[];
