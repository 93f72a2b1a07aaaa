/**
 * The list of a signed-in user's conversations, as the server has it: on every device the same. What was fetched of it is
 * kept in the store, so that it is there without a connection, and searched as any other.
 */

import { titleOf } from "./conversation-store.js";

const PAGE_LENGTH = 50;
const UNTITLED = "…";

export class ServerList {
  #store;
  #chat;
  #onChange;
  #more; // where the next page begins; null: there is none
  #oldest = Infinity; // of what was fetched: when it was used, in milliseconds since 1970
  #newest = -Infinity;
  #running = null; // the promise of a request
  #isStale = false; // whether it has to be asked for again after that
  #asked; // the id of the last request of the newest page

  /**
   * @param {import("./conversation-store.js").ConversationStore} store
   * @param {object} page
   * @param {() => import("../askbot.js").Chat} page.chat returns that of the conversation on the page
   * @param {() => void} page.onChange
   */
  constructor(store, { chat, onChange }) {
    this.#store = store;
    this.#chat = chat;
    this.#onChange = onChange;
  }

  /** Returns whether a request is one that the reader has not made, so that nothing is said of its failure. */
  isOwnRequest(id) {
    return id !== undefined && id === this.#asked;
  }

  get hasMore() {
    return Boolean(this.#more);
  }

  /** Fetches the newest page. Where that is under way, it is done once more after it. */
  refresh() {
    this.#isStale = Boolean(this.#running);
    return (this.#running ??= this.#fetchNewest());
  }

  async #fetchNewest() {
    try {
      const request = this.#chat().sessions({ limit: PAGE_LENGTH });
      this.#asked = request.id;
      const { sessions, more } = await request;
      const newest = this.#newest;
      const { oldest } = this.#merge(sessions, { until: Infinity, isLast: !more });
      if (!more || oldest > newest) {
        this.#more = more; // there may be others between these and those that were fetched before
        this.#oldest = oldest;
      }
      this.#onChange();
    } catch {
    } finally {
      this.#running = null;
    }
    if (this.#isStale) this.refresh();
  }

  /** Fetches the next page. Resolves to whether there was one. */
  async showMore() {
    const before = this.#more;
    if (!before) return false;
    const { sessions, more } = await this.#chat().sessions({ before, limit: PAGE_LENGTH });
    const { oldest, hasGone } = this.#merge(sessions, { until: this.#oldest, isLast: !more });
    this.#oldest = oldest;
    this.#more = more;
    this.#onChange();
    if (hasGone) this.refresh(); // it may have been used again since, and is among the newest
    return true;
  }

  /** Takes a page into the store. Returns when the oldest of it was used, and whether something is gone. */
  #merge(sessions, { until, isLast }) {
    const found = sessions.map(({ session, title, updated }) => ({
      session,
      title: titleOf(title ?? "") || UNTITLED,
      used: Date.parse(updated),
    }));
    const oldest = found.at(-1)?.used ?? until;
    const hasGone = this.#store.merge(found, { from: isLast ? -Infinity : oldest, until, shown: this.#chat().session });
    this.#newest = Math.max(this.#newest, found[0]?.used ?? -Infinity);
    return { oldest, hasGone };
  }
}
