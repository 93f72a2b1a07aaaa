"""A provider whose every answer can be told from every other, and whose memory survives its being killed.

    python -m tests.chaos.provider --port N --record FILE

A question `tell:N rate:R note:WORD` is answered by N pieces, `<tag>.<number>✨ `, at R a second (0: all at once), where
the tag is new for each request: so it shows from which request a text is, that none of it is missing and none twice.
FILE gets a line for each request, and one when its first token is sent, before it is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from ..provider import Provider, Seen, Stream, Wire

ASKED = re.compile(r"tell:(\d+) rate:(\d+) note:(\S+)")
TAG = re.compile(r"([0-9a-f]{10})\.0")


def pieces(tag: str, count: int) -> list[str]:
    """What a request with this tag is told."""
    return [f"{tag}.{number}✨ " for number in range(count)]


@dataclass(frozen=True, slots=True)
class Request:
    """A line of the record."""

    note: str
    tag: str
    at: float
    told: bool  # its first token was sent


def requests(record: Path) -> list[Request]:
    """What was asked, oldest first."""
    found: dict[str, Request] = {}
    for line in record.read_text().splitlines() if record.exists() else []:
        fields: dict[str, Any] = json.loads(line)
        found[fields["tag"]] = Request(**fields)
    return list(found.values())


class Teller(Provider):
    """Answers `tell`; all else as `Provider` does."""

    def __init__(self, record: Path, *, port: int) -> None:
        super().__init__(port=port)
        self._record = record.open("a", buffering=1)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Wire(self), "127.0.0.1", self._port, reuse_address=True)
        return self

    async def serve(self, seen: Seen, wire: Wire) -> None:
        """Answer one request."""
        body: dict[str, Any] = seen.body or {}
        messages: list[dict[str, str]] = body.get("messages") or [{"content": ""}]
        asked = ASKED.fullmatch(messages[-1]["content"])
        if asked is None:
            await super().serve(seen, wire)
            return
        count, rate, note = asked.groups()
        tag = secrets.token_hex(5)
        self._note(note, tag, told=False)
        script = {"rate": rate} if rate != "0" else {"burst": count}
        first = partial(self._note, note, tag, told=True)
        await Telling(seen, script, wire, pieces(tag, int(count)), first).run()

    def _note(self, note: str, tag: str, *, told: bool) -> None:
        self._record.write(json.dumps({"note": note, "tag": tag, "at": time.time(), "told": told}) + "\n")


class Telling(Stream):
    """A stream that says when its first token leaves."""

    def __init__(
        self, seen: Seen, script: dict[str, str], wire: Wire, pieces: list[str], on_first: Callable[[], None]
    ) -> None:
        super().__init__(seen, script, wire, pieces)
        self._on_first = on_first

    async def _send(self, delta: dict[str, Any], finish: str | None = None) -> None:
        if not self.seen.tokens and delta.get("content"):
            self._on_first()
        await super()._send(delta, finish)


async def main() -> None:
    """Serve until killed."""
    arguments = argparse.ArgumentParser(description="A provider for chaos.")
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--record", type=Path, required=True)
    given = arguments.parse_args()
    async with Teller(given.record, port=given.port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
