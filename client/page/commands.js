/**
 * Commands about a turn: to ask it again, to edit it, to branch from it. One that takes later turns out of the conversation
 * says so before, and can be taken back afterwards: by a fork of the conversation as it was.
 */
import { shown } from "../view.js";
import { askForConfirmation, closeConfirmation } from "./confirm.js";
import { announce, byId, drawWithFocus, setText, showBusy } from "./dom.js";
import { openEditForm } from "./edit-form.js";
import { translate } from "./strings.js";
import { articleOf, followEnd } from "./turns.js";

const undo = byId("undo");

/** Returns how many turns come after one in a conversation; null where it is not there. */
function countLater(turns, id) {
  const place = turns.findIndex(({ turn }) => turn === id);
  return place < 0 ? null : turns.length - 1 - place;
}

/** Returns what will leave the conversation; empty where nothing will. */
function consequenceOf(count) {
  return count ? translate(count === 1 ? "goes_1" : "goes", { count }) : "";
}

export class Commands {
  #current;
  #openBranch;
  #onError;
  #taken = null; // what can be taken back: { chat, turn }, the last turn that was there

  /**
   * @param {object} page
   * @param {() => import("./conversation.js").Conversation} page.current returns the conversation on the page
   * @param {(session: string, origin: string) => void} page.openBranch shows a fork of a session
   * @param {(error: import("../askbot.js").AskbotError) => void} page.onError
   */
  constructor({ current, openBranch, onError }) {
    this.#current = current;
    this.#openBranch = openBranch;
    this.#onError = onError;
    byId("take-back").addEventListener("click", () => this.#takeBack());
  }

  /** Asks a turn's question again, once the reader agrees to what goes; where that has changed meanwhile, to what goes then. */
  async retry({ drawn: { turn } }) {
    const { chat } = this.#current();
    const countGoing = () => countLater(shown(chat.view.turns), turn);
    for (let agreed = 0; countGoing() > agreed;) {
      agreed = countGoing();
      if (!(await askForConfirmation(consequenceOf(agreed), "ask_again"))) return;
    }
    if (chat !== this.#current().chat || countGoing() === null) return;
    followEnd();
    chat.retry(turn).catch(() => {}); // the client has an event for errors
  }

  /** Shows the form to edit a turn's question. */
  edit(article, { text = article.drawn.question, isFocused = true } = {}) {
    const conversation = this.#current();
    const { turn } = article.drawn;
    const { turns, limits } = conversation.chat.view;
    openEditForm(article, {
      text,
      isFocused,
      consequence: consequenceOf(countLater(shown(turns), turn)),
      limit: limits?.question_chars,
      onChange: (changed) => conversation.saveEdit(turn, changed),
      onSubmit: (changed) => {
        followEnd();
        conversation.edit(turn, changed);
      },
    });
  }

  /** Shows the forms again that were open when the conversation was left; one whose turn was replaced goes to the field. */
  restoreEdits() {
    const conversation = this.#current();
    for (const [turn, text] of conversation.edits) {
      const article = articleOf(turn);
      const isReplaced = !article && conversation.chat.view.turns.some((each) => each.turn === turn);
      if (isReplaced) conversation.moveToField(turn, text);
      else if (article?.drawn.status === "ended") this.edit(article, { text, isFocused: false });
    }
  }

  branch({ drawn: { turn } }) {
    this.#fork(this.#current().chat, turn, "branched");
  }

  /** A question is in the log: where it has taken turns out of the conversation, offers to take that back. */
  onLogged({ turn, replaces }) {
    const { chat } = this.#current();
    const before = shown(chat.view.turns.filter((each) => each.turn !== turn));
    const count = countLater(before, replaces);
    if (!count) return this.hideUndo();
    this.#offer({ chat, turn: before.at(-1).turn }, translate(count === 1 ? "gone_1" : "gone", { count }));
  }

  /** Another conversation is shown: this one's questions to the reader go. */
  reset() {
    closeConfirmation();
    this.hideUndo();
  }

  /** Offers nothing to take back any more. */
  hideUndo() {
    this.#offer(null, "");
  }

  #offer(taken, text) {
    this.#taken = taken;
    setText(undo.firstChild, text);
    drawWithFocus(() => (undo.hidden = !taken));
  }

  #takeBack() {
    const { chat, turn } = this.#taken;
    showBusy(byId("take-back"), this.#fork(chat, turn, "taken_back"));
  }

  async #fork(chat, turn, name) {
    try {
      const { session } = await chat.fork(turn);
      if (chat !== this.#current().chat) return;
      this.#openBranch(session, chat.session);
      announce(translate(name));
    } catch (error) {
      if (chat === this.#current().chat) this.#onError(error);
    }
  }
}
