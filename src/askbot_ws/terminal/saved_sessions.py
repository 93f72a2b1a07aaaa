"""Places: the sessions that were held from this terminal, so that one can go on there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, TypeAdapter, ValidationError

from .files import write_private
from .output import line_of

MOST = 200  # of all servers together; the oldest are left out


class Place(BaseModel):
    """One session on one server."""

    server: str
    session: str
    title: str
    at: float  # when it was last used


_places = TypeAdapter(list[Place])


class Places:
    """The sessions on one server, kept in a file that only its user can read; without a file, in memory."""

    def __init__(self, url: str, file: Path | None, *, tell: Callable[[str], None]) -> None:
        parts = urlsplit(url)
        self._server = f"{parts.hostname}:{parts.port}"  # the rest may hold credentials
        self._file = file
        self._tell = tell
        self._held: list[Place] = []

    def all(self) -> list[Place]:
        """This server's, the newest first."""
        return sorted((each for each in self._read() if each.server == self._server), key=lambda each: -each.at)

    def last(self) -> str | None:
        """The session that was used last."""
        return next((each.session for each in self.all()), None)

    def title(self, session: str | None) -> str | None:
        """What a session is called."""
        return next((each.title for each in self.all() if each.session == session), None)

    def keep(self, session: str, *, question: str) -> None:
        """A session is used; it is called after the first question."""
        place = Place(
            server=self._server,
            session=session,
            title=self.title(session) or line_of(question),
            at=time.time(),
        )
        self._write([*self._but(session), place])

    def drop(self, session: str) -> None:
        """A session is no more."""
        self._write(self._but(session))

    def _but(self, session: str) -> list[Place]:
        return [each for each in self._read() if (each.server, each.session) != (self._server, session)]

    def _read(self) -> list[Place]:
        """Anew each time: there may be other terminals. A file that can't be understood is begun anew."""
        if self._file is None:
            return self._held
        try:
            return _places.validate_json(self._file.read_bytes())
        except (OSError, ValidationError):
            return []

    def _write(self, places: list[Place]) -> None:
        self._held = sorted(places, key=lambda each: each.at)[-MOST:]
        if self._file is None:
            return
        try:
            write_private(self._file, _places.dump_json(self._held, indent=1))
        except OSError as error:
            self._tell(f"(what is held here can't be remembered: {self._file}: {error.strerror})")
            self._file = None
