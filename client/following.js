/**
 * Following: whether a reader is kept at the end of a text that grows, decided by the direction in which they move.
 *
 * Any movement up, however small and by whatever means, ends it; only reaching the end begins it again: where it was when
 * the movement began, as it may be further down by now. What the program scrolls is no movement of the reader, nor is what
 * the layout does: content that grows or shrinks, another window size.
 */

const AT_END_PX = 1; // heights are rounded
const LEAST_MOVE_PX = 0.1; // of a scroll position, which is a fraction where a pixel of the screen is
const KEYS = { ArrowUp: -1, PageUp: -1, Home: -1, ArrowDown: 1, PageDown: 1, End: 1, " ": 1 };
const TOGGLES = "summary, [aria-expanded]"; // they open or close a part of the text
const FIELDS = "input, textarea, select, [contenteditable]";

/** Returns whether something between an event's target and the element that scrolls takes an upward scroll for itself. */
function isTakenInside(event, box) {
  const path = event.composedPath();
  const inside = path.slice(0, path.indexOf(box));
  return inside.some(({ scrollTop, scrollHeight, clientHeight }) => scrollTop > 0 && scrollHeight > clientHeight);
}

export class Following {
  #scroller;
  #box; // the element that has the scroll position
  #window;
  #onChange;
  #top; // the position when it was last read
  #max; // the position of the end then
  #goal = Infinity; // the position of the end when the reader began to move down
  #touch; // where the finger was
  #isFollowing = true;
  #isToggling = false; // the reader opens or closes a part of the text
  #resizeObserver;
  #listeners = new AbortController();

  /**
   * @param {Element | Document} scroller
   * @param {object} [options]
   * @param {Element} [options.content] what grows in it: a change of its size is followed at once
   * @param {(isFollowing: boolean) => void} [options.onChange]
   */
  constructor(scroller, { content, onChange = () => {} } = {}) {
    const document = scroller.ownerDocument ?? scroller;
    this.#scroller = scroller;
    this.#box = scroller.scrollingElement ?? scroller;
    this.#window = document.defaultView;
    this.#onChange = onChange;
    this.#read();
    this.#set(true);
    this.#listen();
    this.#resizeObserver = new this.#window.ResizeObserver(() => this.scroll());
    for (const element of [content, scroller]) if (element && element !== document) this.#resizeObserver.observe(element);
  }

  get isFollowing() {
    return this.#isFollowing;
  }

  /** Whether there is nothing below what is shown. */
  get isAtEnd() {
    const { top, max } = this.#place();
    return max - top <= AT_END_PX;
  }

  /** Follows the end from now on. */
  followEnd() {
    this.#read(); // a movement up that was not seen yet is over
    this.#set(true);
    this.scroll();
  }

  /** Stays where the reader is. */
  stay() {
    this.#set(false);
  }

  /** Scrolls to the end, where that is followed: to be called after drawing. */
  scroll() {
    this.#onScroll();
    if (!this.#isFollowing || this.#isToggling) return;
    this.#box.scrollTo({ top: this.#box.scrollHeight, behavior: "instant" });
    this.#read();
  }

  /** Ends it: the scroller is no longer used. */
  disconnect() {
    this.#listeners.abort();
    this.#resizeObserver.disconnect();
  }

  #listen() {
    const options = { passive: true, signal: this.#listeners.signal };
    const listeners = {
      scroll: () => this.#onScroll(),
      scrollend: () => (this.#goal = Infinity),
      wheel: (event) => event.ctrlKey || this.#onMove(event, event.deltaY, event.deltaX), // with Ctrl it zooms
      keydown: (event) => event.target.closest?.(FIELDS) || this.#onMove(event, KEYS[event.key]),
      touchstart: ({ touches }) => (this.#touch = touches[0]),
      touchmove: (event) => this.#onTouchMove(event),
      click: ({ target }) => target.closest?.(TOGGLES) && this.#onToggle(),
    };
    for (const [type, listener] of Object.entries(listeners)) this.#scroller.addEventListener(type, listener, options);
    this.#window.addEventListener("resize", () => this.scroll(), options);
  }

  #place() {
    const { scrollTop: top, scrollHeight, clientHeight } = this.#box;
    // A phone's browser shows more of a document than its clientHeight while the address bar is hidden.
    const height = this.#box === this.#scroller ? clientHeight : Math.max(clientHeight, this.#window.innerHeight);
    return { top, max: Math.max(0, scrollHeight - height) };
  }

  #read() {
    const { top, max } = this.#place();
    this.#top = top;
    this.#max = max;
  }

  #onScroll() {
    const [top, max] = [this.#top, this.#max];
    this.#read();
    const moved = this.#top - top;
    const isByLayout = this.#max < max && this.isAtEnd; // what has shrunk takes the position along
    const end = Math.min(this.#max, max, this.#goal);
    if (moved < -LEAST_MOVE_PX && !isByLayout) this.#set(false);
    else if (moved > 0 && end - this.#top <= AT_END_PX) this.#set(true);
  }

  /** Sees a movement before it scrolls, which it may do over several frames, or not at all at the end. */
  #onMove(event, down, right = 0) {
    if (!down || Math.abs(right) > Math.abs(down)) return; // something inside, as wide code, may be moved sideways
    this.#goal = down > 0 ? this.#place().max : Infinity;
    if (down < 0 && this.#box.scrollTop > 0 && !isTakenInside(event, this.#box)) this.#set(false);
    else if (down > 0 && this.isAtEnd) this.#set(true);
  }

  #onTouchMove(event) {
    const [before, touch] = [this.#touch, event.touches[0]];
    if (event.touches.length === 1) this.#onMove(event, before.clientY - touch.clientY, before.clientX - touch.clientX);
    this.#touch = touch;
  }

  /** A reader who opens or closes a part of the text reads there, where the end may not be in sight any more. */
  #onToggle() {
    this.#isToggling = true;
    this.#window.setTimeout(() => {
      this.#isToggling = false;
      if (!this.isAtEnd) this.#set(false);
      this.#read();
    });
  }

  #set(isFollowing) {
    // The browser would move the position with what is above it, which could not be told from the reader's movement.
    this.#box.style.overflowAnchor = isFollowing ? "none" : "";
    if (isFollowing === this.#isFollowing) return;
    this.#isFollowing = isFollowing;
    this.#onChange(isFollowing);
  }
}
