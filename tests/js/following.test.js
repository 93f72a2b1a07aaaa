import assert from "node:assert/strict";
import { test } from "node:test";
import { isComposing } from "../../client/composing.js";
import { Following } from "../../client/following.js";

/** A scroller of 100 px with content of 1000 px: as a browser does, it keeps its position within the content. */
class Scroller extends EventTarget {
  style = {};
  clientHeight = 100;
  #height = 1000;
  #top = 0;

  constructor() {
    super();
    const view = Object.assign(new EventTarget(), {
      ResizeObserver: class {
        constructor(callback) {
          view.onContentResized = callback;
        }
        observe() {}
        disconnect() {}
      },
    });
    view.setTimeout = (task) => (view.runTask = task);
    this.ownerDocument = { defaultView: view };
    this.view = view;
  }

  get scrollTop() {
    return this.#top;
  }

  get scrollHeight() {
    return Math.round(this.#height);
  }

  get end() {
    return Math.max(0, this.#height - this.clientHeight);
  }

  scrollTo({ top }) {
    const before = this.#top;
    this.#top = Math.min(Math.max(0, top), this.end);
    if (this.#top !== before) this.dispatchEvent(new Event("scroll"));
  }

  /** What a reader does, or anything that is not the program. */
  moveBy(distance) {
    this.scrollTo({ top: this.#top + distance });
  }

  growBy(pixels) {
    this.#height += pixels;
    this.moveBy(0);
  }
}

function dispatch(scroller, type, { target = {}, ...fields } = {}) {
  const event = Object.assign(new Event(type), { composedPath: () => [target, scroller] }, fields);
  Object.defineProperty(event, "target", { value: target });
  scroller.dispatchEvent(event);
}

function followed() {
  const scroller = new Scroller();
  const changes = [];
  const following = new Following(scroller, { onChange: (isFollowing) => changes.push(isFollowing) });
  following.scroll();
  return { scroller, following, changes };
}

test("a text that grows is followed, by drawing or by its size", () => {
  const { scroller, following } = followed();
  scroller.growBy(300);
  following.scroll();
  assert.equal(scroller.scrollTop, 1200);
  scroller.growBy(300);
  scroller.view.onContentResized();
  assert.equal(scroller.scrollTop, 1500);
});

test("the smallest movement up ends following for good, only reaching the end begins it again", () => {
  for (const distance of [0.3, 1, 40, 400]) {
    const { scroller, following, changes } = followed();
    scroller.moveBy(-distance);
    assert.equal(following.isFollowing, false, `${distance}`);
    const place = scroller.scrollTop;
    scroller.growBy(20);
    following.scroll();
    assert.equal(scroller.scrollTop, place);
    scroller.moveBy(2); // down, but not to the end
    assert.equal(following.isFollowing, false);
    scroller.moveBy(1000);
    assert.equal(following.isFollowing, true);
    assert.deepEqual(changes, [false, true]);
  }
});

test("a movement that the browser has not reported yet is seen before the program scrolls", () => {
  const { scroller, following } = followed();
  scroller.dispatchEvent = () => {};
  scroller.moveBy(-3);
  following.scroll();
  assert.equal(scroller.scrollTop, 897);
});

test("wheel, finger and keys end it before they have moved anything, and begin it where there is nothing below", () => {
  const ways = {
    wheel: (direction) => [["wheel", { deltaY: direction }]],
    finger: (direction) => [
      ["touchstart", { touches: [{ clientY: 50 }] }],
      ["touchmove", { touches: [{ clientY: 50 - direction }] }],
    ],
    key: (direction) => [["keydown", { key: direction < 0 ? "PageUp" : "End" }]],
  };
  for (const [name, eventsOf] of Object.entries(ways)) {
    const { scroller, following } = followed();
    for (const [type, fields] of eventsOf(-1)) dispatch(scroller, type, fields);
    assert.equal(following.isFollowing, false, name);
    scroller.growBy(20);
    for (const [type, fields] of eventsOf(1)) dispatch(scroller, type, fields);
    assert.equal(following.isFollowing, false, `${name}: the end is further down`);
    scroller.growBy(-20);
    for (const [type, fields] of eventsOf(1)) dispatch(scroller, type, fields);
    assert.equal(following.isFollowing, true, name);
  }
});

test("what is no movement of this scroller ends nothing", () => {
  const { scroller, following } = followed();
  const inner = { scrollTop: 5, scrollHeight: 90, clientHeight: 40 };
  dispatch(scroller, "wheel", { deltaY: -1, target: inner }); // a block of code takes it
  dispatch(scroller, "wheel", { deltaY: -1, ctrlKey: true }); // it zooms
  dispatch(scroller, "wheel", { deltaX: 5, deltaY: 0 });
  dispatch(scroller, "wheel", { deltaX: 5, deltaY: -1 }); // wide code is moved sideways
  dispatch(scroller, "keydown", { key: "Home", target: { closest: (what) => what.includes("textarea") } });
  dispatch(scroller, "keydown", { key: "a" });
  const short = followed();
  short.scroller.growBy(-950);
  dispatch(short.scroller, "wheel", { deltaY: -1 }); // there is nothing above
  assert.deepEqual([following.isFollowing, short.following.isFollowing], [true, true]);
});

test("content that shrinks, and a window of another size, are no movements of the reader", () => {
  const { scroller, following } = followed();
  scroller.growBy(-300);
  assert.equal(following.isFollowing, true);
  scroller.clientHeight = 250;
  scroller.moveBy(0); // the browser keeps the position in the content
  scroller.view.dispatchEvent(new Event("resize"));
  scroller.clientHeight = 80;
  scroller.view.dispatchEvent(new Event("resize"));
  assert.deepEqual([following.isFollowing, scroller.scrollTop], [true, scroller.end]);
  scroller.moveBy(-30);
  scroller.growBy(-30); // the end came to the reader, who did not go there
  assert.equal(following.isFollowing, false);
});

test("to follow the end again forgets a movement up that was not seen yet", () => {
  const { scroller, following } = followed();
  following.stay();
  scroller.moveBy(-200);
  following.followEnd();
  assert.deepEqual([following.isFollowing, scroller.scrollTop], [true, 900]);
});

test("a reader who opens a part of the text stays there, unless the end is still in sight", () => {
  const { scroller, following } = followed();
  for (const name of ["summary", "[aria-expanded]"]) {
    const target = { closest: (what) => what.includes(name) };
    dispatch(scroller, "click", { target });
    scroller.growBy(200);
    scroller.view.onContentResized();
    following.scroll(); // a token came before the task in which it is known what has opened
    scroller.view.runTask();
    assert.deepEqual([following.isFollowing, scroller.scrollTop], [false, 900], name);
    following.followEnd();
    dispatch(scroller, "click", { target });
    scroller.growBy(-200);
    scroller.view.runTask();
    assert.deepEqual([following.isFollowing, scroller.scrollTop], [true, 900], name);
  }
});

test("the end that is reached is where it was when the movement to it began", () => {
  for (const [type, fields] of [["keydown", { key: "End" }], ["wheel", { deltaY: 500 }]]) {
    const { scroller, following } = followed();
    scroller.moveBy(-400);
    dispatch(scroller, type, fields); // it scrolls to 900, over several frames
    for (const _ of [1, 2, 3, 4]) {
      assert.equal(following.isFollowing, false);
      scroller.growBy(20);
      following.scroll();
      scroller.moveBy(100);
    }
    assert.equal(following.isFollowing, true, type);
  }
});

test("an end that was reached once begins nothing later", () => {
  const { scroller, following } = followed();
  scroller.moveBy(-100);
  dispatch(scroller, "wheel", { deltaY: 10 });
  scroller.moveBy(10);
  dispatch(scroller, "scrollend");
  scroller.growBy(1000);
  following.scroll();
  scroller.moveBy(300); // by the scrollbar
  assert.equal(following.isFollowing, false);
});

test("a scroller that is not used any more is not scrolled", () => {
  const { scroller, following } = followed();
  following.disconnect();
  scroller.moveBy(-30);
  assert.equal(following.isFollowing, true);
});

test("a key is composing where the browser says so, or by Safari's code", () => {
  assert.equal(isComposing({ isComposing: true, keyCode: 13 }), true);
  assert.equal(isComposing({ isComposing: false, keyCode: 229 }), true);
  assert.equal(isComposing({ isComposing: false, keyCode: 13 }), false);
});
