/** What is left of a line, and the column where that begins, on which the width of a tab depends. */
const TAB = 4;

export class Cursor {
  column = 0;

  constructor(line) {
    this.rest = line.endsWith("\r") ? line.slice(0, -1) : line;
  }

  /** What is left without the blanks at its beginning. */
  get text() {
    return this.rest.replace(/^[ \t]+/, "");
  }

  get isBlank() {
    return !this.text;
  }

  /** Width of the blanks at the beginning, in columns. */
  get indent() {
    let end = this.column;
    for (const character of this.rest) {
      if (character !== " " && character !== "\t") break;
      end += character === " " ? 1 : TAB - (end % TAB);
    }
    return end - this.column;
  }

  skipText(length) {
    this.rest = this.rest.slice(length);
    this.column += length;
  }

  /** Skips columns of blanks, at most so many. Of a tab that is wider the others stay, as blanks. */
  skip(columns) {
    for (let left = columns; left > 0 && /^[ \t]/.test(this.rest); ) {
      if (this.rest[0] === "\t") this.rest = " ".repeat(TAB - (this.column % TAB)) + this.rest.slice(1);
      this.skipText(1);
      left -= 1;
    }
  }
}
