/**
 * Plays cases with askbot.js, as tests/clients/js_client.py tells it: one JSON object a line, from stdin.
 *
 * Each has an `id`, the `client` that it is for, a `method` and its `arguments`; the answer, `{ id, outcome }`, is
 * printed when there is one.
 */
import { createInterface } from "node:readline";
import { connect } from "../../client/askbot.js";

const MINUTE = 60_000; // the limit of a request that has no answer
const RANDOM = 0.001; // so that pauses are short, and still tell which attempt they are for

const clients = new Map();
const faults = []; // errors that nobody handled

class Client {
  pauses = []; // before attempts to connect, in milliseconds
  isPauseNext = false;
  asked = new Map(); // by the name of the call
  reading = new Map(); // what was read of each, by the same
  isOver = false;

  constructor(url, { token, ticket, limit, ...options }) {
    this.limit = limit && limit * 1000;
    const credentials = { ...credentialOption("token", token), ...credentialOption("ticket", ticket) };
    this.chat = connect({ url, storage: {}, random: this.random, timers: this, ...options, ...credentials });
  }

  random = () => {
    this.isPauseNext = true;
    return RANDOM;
  };

  setTimeout(action, milliseconds) {
    if (milliseconds === MINUTE && this.limit) return setTimeout(action, this.limit);
    if (this.isPauseNext) this.pauses.push(milliseconds);
    this.isPauseNext = false;
    return setTimeout(action, milliseconds);
  }

  clearTimeout(timer) {
    clearTimeout(timer);
  }

  async question(name, stream) {
    this.asked.set(name, stream);
    const outcome = { code: null, read: "", read_code: null };
    this.reading.set(name, outcome);
    const reading = (async () => {
      try {
        for await (const text of stream) outcome.read += text;
      } catch (error) {
        outcome.read_code = codeOf(error);
      }
    })();
    try {
      const turn = await stream;
      Object.assign(outcome, { text: turn.answer, reason: turn.reason });
    } catch (error) {
      Object.assign(outcome, { code: codeOf(error), message: error.message });
    }
    await reading;
    return outcome;
  }

  ask = (name, text) => this.question(name, this.chat.ask(text));
  retry = (name, turn) => this.question(name, this.chat.retry(turn ?? undefined));
  edit = (name, turn, text) => this.question(name, this.chat.edit(turn, text));
  cancel = (_, turn) => this.chat.cancel(turn ?? undefined);
  cancel_answer = (_, name) => this.chat.cancel(this.asked.get(name).id);
  history = async () => ({ answers: (await this.chat.history()).turns.map(({ answer }) => answer) });
  set_title = (_, text) => this.chat.title(text);
  sessions = async () => ({ titles: (await this.chat.sessions()).sessions.map(({ title }) => title) });
  forget = () => this.chat.forget();
  close = () => this.chat.close();

  shown = (_, text) => this.until(() => this.chat.view.turns.at(-1)?.answer === text);
  hasRead = (name, text) => this.until(() => this.reading.get(name)?.read === text);
  reached = (_, state) => this.until(() => this.chat.state === state);

  /** What is left when all is over, and closes the conversation. */
  end = () => {
    const answers = this.chat.view.turns.map(({ answer }) => answer);
    this.isOver = true;
    this.chat.close();
    return { answers, pauses: this.pauses, faults: faults.splice(0) };
  };

  async until(isTrue) {
    while (!isTrue() && !this.isOver) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function credentialOption(name, given) {
  if (!Array.isArray(given)) return given ? { [name]: given } : {};
  const left = [...given];
  return {
    [name]: () => {
      const next = left.length > 1 ? left.shift() : left[0];
      if (next === null) throw new Error("no token");
      return next;
    },
  };
}

const codeOf = (error) => error?.code ?? String(error?.stack);

async function outcomeOf({ client: key, method, arguments: given }) {
  try {
    if (method === "open") clients.set(key, new Client(...given));
    const result = method === "open" ? {} : await clients.get(key)[method](...given);
    if (method === "end") clients.delete(key);
    return { code: null, ...result };
  } catch (error) {
    return { code: codeOf(error), message: error.message };
  }
}

process.on("uncaughtException", (error) => faults.push(String(error.stack)));
process.on("unhandledRejection", (error) => faults.push(String(error?.stack ?? error)));
const lines = createInterface({ input: process.stdin });
lines.on("close", () => process.exit());
lines.on("line", async (line) => {
  const { id, ...call } = JSON.parse(line);
  const outcome = await outcomeOf(call);
  process.stdout.write(`${JSON.stringify({ id, outcome })}\n`);
});
