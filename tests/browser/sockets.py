"""A script for a page: its WebSockets, and what a server or a network does to the last one."""

SOCKETS = """
    globalThis.sockets = [];
    globalThis.offered = [];
    globalThis.WebSocket = class extends WebSocket {
        constructor(url, protocols) {
            super(url, protocols);
            offered.push(protocols);
            sockets.push(this);
            if (globalThis.isRefused) setTimeout(refuse);
        }
    };
    globalThis.drain = () => {
        const data = JSON.stringify({ type: "going_away", reconnect_after: 60_000 });
        sockets.at(-1).onmessage(new MessageEvent("message", { data }));
    };
    globalThis.deafen = () => (sockets.at(-1).onmessage = null);
    globalThis.refuse = () => sockets.at(-1).onclose(new CloseEvent("close", { code: 4401 }));
"""
