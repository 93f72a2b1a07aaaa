/**
 * A server in a page, and a clock that a test moves, by which credentials last five minutes.
 *
 * One is signed in by a cookie, which the page does not see, and which each look at `v1/identity` makes fresh, as a login in
 * front of a server does. The server closes a connection at the moment at which its credential expires.
 */
{
  const LIFETIME = 300_000;
  const timers = new Map();
  const log = [];
  let now = Date.now();
  let last = 0;
  let cookieEnd = now + LIFETIME;
  const server = (globalThis.server = { connections: 0, expired: 0, identities: 0, panels: 0, asked: [] });
  const iso = (time) => new Date(time).toISOString();
  const hop = () => new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => (port1.close(), resolve());
    port2.postMessage(0);
  });
  Date.now = () => now;
  globalThis.setTimeout = (action, wait = 0) => (timers.set((last += 1), { action, at: now + wait }), last);
  globalThis.clearTimeout = (timer) => timers.delete(timer);

  globalThis.fetch = async () => {
    server.identities += 1;
    cookieEnd = now + LIFETIME;
    const identity = { user: "anna", authentication: true, anonymous: false, sign_in: "/login", sign_out: null };
    return new Response(JSON.stringify(identity));
  };

  globalThis.WebSocket = class {
    constructor(url) {
      const after = Number(new URL(url).searchParams.get("after") ?? 0);
      setTimeout(() => this.begin(after), 20);
      server.hasBegun = true;
    }
    begin(after) {
      if (this.isOver) return;
      server.connections += 1;
      server.current = this;
      this.end = setTimeout(() => { server.expired += 1; this.close(); this.onclose({ code: 4401 }); }, cookieEnd - now);
      this.deliver({ type: "ready", session: "s1", seq: log.length, from: after, resumed: after > 0, protocol: "askbot.v1",
        server: "x", model: "m", models: ["m"], limits: {}, log: "l", title: null, user: "anna", expires: iso(cookieEnd) });
      log.slice(after).forEach((event) => this.deliver(event));
    }
    deliver(frame) {
      this.onmessage({ data: JSON.stringify(frame) });
    }
    write(event) {
      log.push({ session: "s1", seq: log.length + 1, ...event });
      this.deliver(log.at(-1));
    }
    async send(data) {
      const { type, id, text } = JSON.parse(data);
      if (type === "sessions") this.deliver({ type, id, sessions: [], more: null });
      if (type === "ping") this.deliver({ type: "pong" });
      if (type !== "ask") return;
      server.asked.push(text);
      const turn = `t${server.asked.length}`;
      this.write({ type: "question", turn, id, text, created: iso(now) });
      this.write({ type: "token", turn, text: "!" });
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode("!")));
      const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
      this.write({ type: "done", turn, reason: "stop", model: "m", usage: null, timing: { queued: 0, first_token: 1, total: 2 }, check: { chars: 1, sha256 } });
    }
    close() {
      this.isOver = true;
      clearTimeout(this.end);
    }
  };

  /** Lets time pass; each step is shorter than a silence that is one. */
  globalThis.pass = async (milliseconds) => {
    for (const end = now + milliseconds; now < end;) {
      const until = Math.min(end, now + 20_000);
      for (;;) {
        const due = [...timers].filter(([, { at }]) => at <= until).sort(([, one], [, other]) => one.at - other.at)[0];
        if (!due) break;
        timers.delete(due[0]);
        now = Math.max(now, due[1].at);
        due[1].action();
      }
      now = until;
      if (server.current && !server.current.isOver) server.current.deliver({ type: "alive" });
      server.panels += Number(!document.getElementById("sign-in").hidden);
      await hop();
    }
  };
}
