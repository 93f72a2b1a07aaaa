/**
 * What a token costs askbot.js, and a client that only parses its frame and appends its text: microseconds of the process's
 * time, as JSON. The argument is a file that has the frames of one answer, one a line, with a `ready` before them.
 */
import { readFileSync } from "node:fs";
import { connect } from "../client/askbot.js";

const ROUNDS = 3;
const frames = readFileSync(process.argv[2], "utf8").trimEnd().split("\n");
const answer = textOf(frames);

/** Returns an answer as a client gets it that only parses. */
function textOf(frames) {
  let text = "";
  for (const data of frames) {
    const frame = JSON.parse(data);
    if (frame.type === "token") text += frame.text;
  }
  return text;
}

/** Gives the frames to askbot.js, as its socket would. `prepare` may add listeners. Returns the answer. */
function receive(prepare) {
  let socket;
  class WebSocket {
    constructor() {
      socket = this;
    }
    send() {}
    close() {}
  }
  const chat = connect({ url: "ws://bench/v1/chat", WebSocket, storage: {}, page: new EventTarget(), timers: globalThis });
  prepare?.(chat);
  for (const data of frames) socket.onmessage({ data });
  const [turn] = chat.view.turns;
  chat.close();
  return turn.answer;
}

/** Returns microseconds a frame. */
function timeOf(action) {
  const before = process.cpuUsage();
  const text = action();
  const { user, system } = process.cpuUsage(before);
  if (text !== answer) throw new Error("it is another answer");
  return (user + system) / frames.length;
}

const actions = {
  js_parse_us: () => textOf(frames),
  js_client_us: () => receive(),
  js_listener_us: () => receive((chat) => chat.addEventListener("change", () => chat.view.turns.length)),
};
const times = Object.keys(actions).map((name) => [name, []]);
for (let round = 0; round < ROUNDS; round += 1) for (const [name, all] of times) all.push(timeOf(actions[name]));
console.log(JSON.stringify(Object.fromEntries(times.map(([name, all]) => [name, all.sort((one, other) => one - other)[ROUNDS >> 1]]))));
