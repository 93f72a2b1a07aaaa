/** What is done with any conversation of the list, which need not be on the page: it is named, deleted, or saved as a file. */
import { fetchAllTurns, withConversation } from "./background-connection.js";
import { askForConfirmation } from "./confirm.js";
import { announce, downloadFile } from "./dom.js";
import { focusNeighbour } from "./list.js";
import * as strings from "./strings.js";
import { badgeOf } from "./turn-text.js";

const { translate } = strings;

export class ConversationActions {
  #server;
  #store;
  #page;
  #deleting = new Set(); // the sessions whose deletion the server has still to answer

  /**
   * @param {{ url: URL, token?: string }} server
   * @param {import("./conversation-store.js").ConversationStore} store
   * @param {object} page
   * @param {() => import("../askbot.js").Chat} page.chat returns that of the conversation on the page
   * @param {(session: string) => void} page.onDeleted
   * @param {(session: string) => void} page.onLost the server does not have one any more
   * @param {(text: string) => void} page.onError
   */
  constructor(server, store, page) {
    this.#server = server;
    this.#store = store;
    this.#page = page;
  }

  /** Names a conversation on the server, for all devices. Rejects with what the server refuses. */
  async rename(session, title) {
    const chat = this.#page.chat();
    if (session === chat.session) await chat.title(title);
    else await withConversation({ ...this.#server, session }, (other) => other.title(title));
  }

  /** Deletes a conversation here and on the server, once the reader confirms it. */
  async delete(session) {
    const question = translate("delete_question", this.#store.find(session));
    if (!(await askForConfirmation(question, "delete"))) return;
    focusNeighbour(session);
    this.#store.markDeleted(session);
    this.#page.onDeleted(session);
    announce(translate("deleted"));
    this.deleteOnServer();
  }

  /** Deletes on the server what was deleted here. What fails is tried again when the page is connected again. */
  deleteOnServer() {
    for (const session of this.#store.deletedSessions()) if (!this.#deleting.has(session)) this.#forget(session);
  }

  async #forget(session) {
    this.#deleting.add(session);
    try {
      await this.#page.chat().forget(session);
      this.#store.confirmDeleted(session);
    } catch {
    } finally {
      this.#deleting.delete(session);
    }
  }

  /**
   * Saves a conversation as a file.
   *
   * @param {string} session
   * @param {"md" | "json"} extension
   */
  async saveFile(session, extension) {
    const { title } = this.#store.find(session);
    try {
      const { fileName, jsonOf, markdownOf } = await import("./export.js"); // few save one
      const name = fileName(title, extension);
      const turns = await fetchAllTurns({ ...this.#server, session });
      const badge = (turn) => badgeOf(turn, strings);
      if (extension === "md") downloadFile(name, "text/markdown", markdownOf(title, turns, badge));
      else downloadFile(name, "application/json", jsonOf(session, title, turns));
      announce(translate("exported", { name }));
    } catch (error) {
      if (error.code === "session_not_found") this.#page.onLost(session);
      this.#page.onError(translate("not_exported"));
    }
  }
}
