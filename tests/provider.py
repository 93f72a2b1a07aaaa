"""Provider: an OpenAI-compatible server that does what the question says. For tests: it is no model.

    async with Provider() as provider: ...          python -m tests.provider --port 0

The last user message is a script where its first word is a directive, so that a whole server can be driven from its
front door. What any other message gets is an echo. Directives are words `name` or `name:value`:

    say:TEXT  tokens:N  burst:N  empty  whitespace  surrogates      what is said (`say` takes the rest of the message)
    refusal  reasoning                                              what it is said as, or after
    rate:N                                                          tokens a second; else as fast as they are read
    stall | cut[:fin] | malformed | error [code:C], after:N         what goes wrong, after N tokens (0)
    finish:REASON  no-finish  no-done  linger                       how it ends (`linger`: the body doesn't)
    status:N [code:C] [retry-after:S] [say:TEXT]  context           an answer that is not 200
    hangup  slow-headers:S                                          before there is an answer
    oddities                                                        a model's name and a usage that make no sense
    times:N                                                         all of this only for the first N such requests
    bytes:N  crlf  framing:chunked|length|close  note:ANY           how bytes travel; nothing
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from httptools import HttpRequestParser

_WORDS = """say tokens burst empty whitespace surrogates refusal reasoning rate stall cut malformed error code after
finish no-finish no-done linger status retry-after context hangup slow-headers oddities times bytes crlf framing note"""
DIRECTIVES = frozenset(_WORDS.split())
MODEL = "scripted-1"
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass(slots=True)
class Seen:
    """A request, as it was received, and what became of it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: float
    connection: int  # which one, in the order in which they were made
    tokens: int = 0  # written so far
    over: asyncio.Event = field(default_factory=asyncio.Event)  # answered, or not wanted any more
    left: bool = False  # the client closed before the answer's end

    @property
    def messages(self) -> list[dict[str, str]]:
        """The prompt."""
        return list(self.body["messages"])

    def public(self) -> dict[str, Any]:
        """What GET /requests says of it."""
        names = ("method", "path", "headers", "body", "at", "connection", "tokens", "left")
        return {name: getattr(self, name) for name in names} | {"over": self.over.is_set()}


class Provider:
    """The server; `url` is the base URL, `seen` what it was asked."""

    def __init__(
        self,
        *,
        port: int = 0,
        key: str | None = None,
        models: Iterable[str] = (MODEL,),
        unknown: Iterable[str] = (),
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`key` is the only one that is accepted, `unknown` are fields of the body that are not; no models: 404."""
        self.seen: list[Seen] = []
        self.connections: list[Wire] = []
        self.key, self.models, self.unknown = key, list(models), list(unknown)
        self.told: Counter[str] = Counter()  # how often each script was sent
        self._port, self._context = port, context

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Wire(self), "127.0.0.1", self._port, ssl=self._context)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for wire in self.connections:
            wire.abort()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self._port}/v1"

    @property
    def asked(self) -> list[Seen]:
        """The requests for an answer."""
        return [seen for seen in self.seen if seen.method == "POST"]

    def close_idle(self) -> None:
        """Close the connections on which nothing happens, as servers do after a while."""
        for wire in self.connections:
            if wire.idle:
                wire.close()

    # --- what a request gets ---

    async def serve(self, seen: Seen, wire: Wire) -> None:
        """Answer one request."""
        if seen.path == "/requests":
            wire.respond(200, [old.public() for old in self.seen])
            return
        self.seen.append(seen)
        if self.key and seen.headers.get("authorization") != f"Bearer {self.key}":
            wire.respond(401, _fault("invalid_api_key", f"Incorrect API key: {seen.headers.get('authorization')}"))
        elif (seen.method, seen.path) == ("GET", "/v1/models") and self.models:
            wire.respond(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})
        elif (seen.method, seen.path) == ("POST", "/v1/moderations"):
            await self._moderate(seen, wire)
        elif (seen.method, seen.path) != ("POST", "/v1/chat/completions"):
            wire.respond(404, _fault("not_found", "There is nothing here."))
        elif unknown := [name for name in self.unknown if name in seen.body]:
            wire.respond(400, _fault("unknown_parameter", f"Unrecognized request argument: {unknown[0]}"))
        else:
            try:
                await self._answer(seen, wire)
            except ValueError as error:
                wire.respond(400, _fault("bad_script", str(error)))

    async def _moderate(self, seen: Seen, wire: Wire) -> None:
        """Flag what has the word `flagged:CATEGORY`; other words do what they do in a question."""
        words: dict[str, str] = {}
        for word in str(seen.body["input"]).split():
            name, _, value = word.partition(":")
            words[name] = value
        if "moderation-status" in words:
            wire.respond(int(words["moderation-status"]), _fault("", "The script says so."))
        elif "moderation-garbage" in words:
            wire.respond(200, {"results": []})
        elif "moderation-stalls" in words:
            await asyncio.Event().wait()
        else:
            category = words.get("flagged")
            categories = {"harassment": False, "self-harm/intent": False} | ({category: True} if category else {})
            wire.respond(200, {"results": [{"flagged": bool(category), "categories": categories}]})

    async def _answer(self, seen: Seen, wire: Wire) -> None:
        message = next(m["content"] for m in reversed(seen.messages) if m["role"] == "user")
        script = parse(message)
        self.told[message] += 1
        if self.told[message] > int(script.get("times", self.told[message])):
            script = {name: script[name] for name in ("say", "tokens") if name in script}
        await asyncio.sleep(float(script.get("slow-headers", 0)))
        if "hangup" in script:
            wire.close()
        elif "context" in script:
            wire.respond(400, _fault("context_length_exceeded", "This model's maximum context length is 8 tokens."))
        elif "status" in script:
            headers = {"Retry-After": script["retry-after"]} if "retry-after" in script else {}
            fault = _fault(script.get("code", ""), script.get("say", "The script says so."))
            wire.respond(int(script["status"]), fault, headers)
        elif seen.body.get("stream"):
            await Stream(seen, script, wire, pieces_of(script, message)).run()
        else:
            wire.respond(200, _whole("".join(pieces_of(script, message)), seen, script))


class Stream:
    """One streamed answer."""

    def __init__(self, seen: Seen, script: dict[str, str], wire: Wire, pieces: list[str]) -> None:
        self.seen, self.script, self.wire, self.pieces = seen, script, wire, pieces
        self.end = "\r\n\r\n" if "crlf" in script else "\n\n"
        self.kind = "refusal" if "refusal" in script else "content"
        frame = {"id": f"chatcmpl-{id(seen):x}", "object": "chat.completion.chunk", "created": int(time.time())}
        self.frame = frame | {"model": seen.body.get("model", MODEL), "system_fingerprint": "fp_0123456789"}
        self.usage = _usage(seen, pieces)
        if "oddities" in script:
            self.frame["model"] = "m\ud800"
            self.usage = {"prompt_tokens": -1, "completion_tokens": 2**60}

    async def run(self) -> None:
        """Say it all, or as much as the script lets it."""
        wire, script = self.wire, self.script
        wire.begin(script)
        await self._send({"role": "assistant", "content": "", "refusal": None})
        if "reasoning" in script:
            await self._send({"reasoning_content": "Let me think."})
        if not await self._say():
            return
        if "no-finish" not in script:
            await self._send({}, finish=script.get("finish", "stop"))
        if "linger" in script:
            await asyncio.Event().wait()
        options: dict[str, Any] = self.seen.body.get("stream_options") or {}
        if options.get("include_usage"):
            await wire.send(self._event(self.frame | {"choices": [], "usage": self.usage}))
        if "no-done" not in script:
            await wire.send(f"data: [DONE]{self.end}".encode())
        wire.end()

    async def _say(self) -> bool:
        """The pieces. Returns whether nothing went wrong."""
        wrong = next((name for name in ("stall", "cut", "malformed", "error") if name in self.script), None)
        after = int(self.script.get("after", 0)) if wrong else -1
        async for number in self._paced():
            if number == after:
                break
            await self._send({self.kind: self.pieces[number]})
            self.seen.tokens += 1
        if wrong:
            await self._go_wrong(wrong)
        return wrong is None

    async def _paced(self) -> AsyncIterator[int]:
        rate = float(self.script.get("rate", 0))
        start = asyncio.get_running_loop().time()
        for number in range(len(self.pieces)):
            if rate:
                await asyncio.sleep(start + number / rate - asyncio.get_running_loop().time())
            elif "burst" not in self.script or not number % 100:
                await asyncio.sleep(0)
            yield number

    async def _go_wrong(self, how: str) -> None:
        if how == "stall":
            await asyncio.Event().wait()
        elif how == "cut":
            self.wire.close() if self.script["cut"] == "fin" else self.wire.reset()
        elif how == "malformed":
            await self.wire.send(b'data: {"choices": [{"delta": {"content": "lo' + self.end.encode())
            await asyncio.Event().wait()
        else:
            fault = _fault(self.script.get("code", "server_error"), "The script says so.")
            await self.wire.send(self._event(fault))
            self.wire.end()

    async def _send(self, delta: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        await self.wire.send(self._event(self.frame | {"choices": [choice], "usage": None}))

    def _event(self, chunk: dict[str, Any]) -> bytes:
        return f"data: {json.dumps(chunk)}{self.end}".encode()


class Wire(asyncio.Protocol):
    """One connection: requests in, in turn; bytes of responses out."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._task: asyncio.Task[None] | None = None
        self._seen: Seen | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._framing = "chunked"
        self._step = 0
        self._held: list[bytes] = []
        self._parser = HttpRequestParser(self)

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self._task is None

    # --- out ---

    def respond(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        """A whole response."""
        data = json.dumps(body).encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
        self._head(status, fields)
        self._transport.write(data)

    def begin(self, script: dict[str, str]) -> None:
        """The head of a stream."""
        self._framing, self._step = script.get("framing", "chunked"), int(script.get("bytes", 0))
        self._held = []
        if self._framing != "length":
            framing = {"Transfer-Encoding": "chunked"} if self._framing == "chunked" else {"Connection": "close"}
            self._head(200, {"Content-Type": "text/event-stream", **framing})

    async def send(self, data: bytes) -> None:
        """A piece of the stream."""
        if self._framing == "length":
            self._held.append(data)
            return
        framed = b"%x\r\n%b\r\n" % (len(data), data) if self._framing == "chunked" else data
        for start in range(0, len(framed), self._step or len(framed)):
            self._transport.write(framed[start : start + (self._step or len(framed))])
            if self._step:
                await asyncio.sleep(0)
        await self._writable.wait()

    def end(self) -> None:
        """The end of a stream."""
        if self._framing == "chunked":
            self._transport.write(b"0\r\n\r\n")
        elif self._framing == "length":
            body = b"".join(self._held)
            self._head(200, {"Content-Type": "text/event-stream", "Content-Length": str(len(body))})
            self._transport.write(body)
        else:
            self._transport.close()

    def close(self) -> None:
        """FIN."""
        self._transport.close()

    def shut_down(self) -> None:
        """FIN, before this returns."""
        self._transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def reset(self) -> None:
        """RST."""
        sock: socket.socket = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", *(f"{k}: {v}" for k, v in headers.items())]
        self._transport.write("\r\n".join([*lines, "", ""]).encode())

    # --- in ---

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._number = len(self._provider.connections)
        self._provider.connections.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task and self._seen:
            self._seen.left = True
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def on_message_begin(self) -> None:
        self._path, self._headers, self._body = "", dict[str, str](), b""

    def on_url(self, url: bytes) -> None:
        self._path += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method, body = self._parser.get_method().decode(), json.loads(self._body) if self._body else None
        self._seen = Seen(method, self._path, self._headers, body, time.time(), self._number)
        self._task = asyncio.get_running_loop().create_task(self._serve(self._seen))

    async def _serve(self, seen: Seen) -> None:
        try:
            with suppress(asyncio.CancelledError):
                await self._provider.serve(seen, self)
        finally:
            seen.over.set()
            self._task = None


def parse(message: str) -> dict[str, str]:
    """The directives of a message; none where it is not a script."""
    head, say, text = message.partition("say:") if re.search(r"(^|\s)say:", message) else (message, "", "")
    words = [word.partition(":") for word in head.split()]
    script = {name: value for name, _, value in words}
    if not (words or say) or (words and words[0][0] not in DIRECTIVES):
        return {}
    if strange := script.keys() - DIRECTIVES:
        raise ValueError(f"no such directive: {sorted(strange)}")
    return script | ({"say": text} if say else {})


def pieces_of(script: dict[str, str], message: str) -> list[str]:
    """What is said, in tokens."""
    if "surrogates" in script:
        return ["a smile ", "\ud83d", "\ude00", " in two halves"]
    if "whitespace" in script:
        return [" ", "\n\n", "\t"]
    if "empty" in script:
        return []
    if count := script.get("tokens") or script.get("burst"):
        return [f"word{number} " for number in range(int(count))]
    text = script.get("say") or f"You said: {message}"
    return re.findall(r"\s*\S+\s*$|\s*\S+", text)


def _fault(code: str, message: str) -> dict[str, Any]:
    kind = "server_error" if code == "server_error" else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code or None}}


def _usage(seen: Seen, pieces: list[str]) -> dict[str, int]:
    asked = sum(len(message["content"].split()) for message in seen.messages)
    return {"prompt_tokens": asked, "completion_tokens": len(pieces), "total_tokens": asked + len(pieces)}


def _whole(text: str, seen: Seen, script: dict[str, str]) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": script.get("finish", "stop")}
    facts = {"id": "chatcmpl-1", "object": "chat.completion", "created": int(time.time()), "choices": [choice]}
    return facts | {"model": seen.body.get("model", MODEL), "usage": _usage(seen, text.split())}


async def main() -> None:
    """Serve until it is stopped."""
    arguments = argparse.ArgumentParser(description="A scripted OpenAI-compatible server for tests.")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--key", default=None)
    given = arguments.parse_args()
    async with Provider(port=given.port, key=given.key) as provider:
        print(provider.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        try:
            import uvloop
        except ImportError:
            asyncio.run(main())
        else:
            uvloop.run(main())
