"""Saved sessions: which sessions were used from this machine, kept in a file that only its user can read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkstemp

from pydantic import BaseModel, TypeAdapter, ValidationError

from .output import one_line
from .server_url import earlier_names, server_name

MAX_SESSIONS = 200  # of all servers together; the oldest are dropped


class SavedSession(BaseModel):
    """One session on one server, as the file has it."""

    server: str
    session: str
    title: str
    at: float  # when it was last used, in seconds since 1970


_file_format = TypeAdapter(list[SavedSession])


class SavedSessions:
    """The sessions used on one server; without a file, kept in memory."""

    def __init__(self, url: str, file: Path | None, *, on_error: Callable[[str], None]) -> None:
        """`on_error` gets a message, once, where the file can't be written."""
        self._server = server_name(url)
        self._names = {self._server} | earlier_names(url)  # that the file may have it by
        self._file = file
        self._on_error = on_error
        self._sessions: list[SavedSession] = []

    def all(self) -> list[SavedSession]:
        """Return this server's sessions, the newest first."""
        return sorted((each for each in self._read() if each.server in self._names), key=lambda each: -each.at)

    def latest_id(self) -> str | None:
        """Return the session that was used last."""
        return next((each.session for each in self.all()), None)

    def title(self, session: str | None) -> str | None:
        """Return a session's title; None for one that is not saved."""
        return next((each.title for each in self.all() if each.session == session), None)

    def save(self, session: str, *, question: str) -> None:
        """Save a session as used now; its first question is its title."""
        saved = SavedSession(
            server=self._server,
            session=session,
            title=self.title(session) or one_line(question),
            at=time.time(),
        )
        self._write([*self._without(session), saved])

    def rename(self, session: str, title: str) -> None:
        """Give a saved session another title; one that is not saved stays so."""
        renamed = [each for each in self._read() if each.server in self._names and each.session == session]
        if renamed:
            saved = [each.model_copy(update={"title": one_line(title)}) for each in renamed]
            self._write([*self._without(session), *saved])

    def remove(self, session: str) -> None:
        """Forget a session here; the server keeps it."""
        self._write(self._without(session))

    def _without(self, session: str) -> list[SavedSession]:
        return [each for each in self._read() if not (each.server in self._names and each.session == session)]

    def _read(self) -> list[SavedSession]:
        """Read the file, each time, as other terminals write it too. One that can't be parsed counts as empty."""
        if self._file is None:
            return self._sessions
        try:
            return _file_format.validate_json(self._file.read_bytes())
        except (OSError, ValidationError):
            return []

    def _write(self, sessions: list[SavedSession]) -> None:
        self._sessions = sorted(sessions, key=lambda each: each.at)[-MAX_SESSIONS:]
        if self._file is None:
            return
        try:
            write_private(self._file, _file_format.dump_json(self._sessions, indent=1))
        except OSError as error:
            self._on_error(f"(what is held here can't be remembered: {self._file}: {error.strerror})")
            self._file = None


# --- files that only their user can read -----------------------------------------------------------------------------


def write_private(path: Path, data: bytes) -> None:
    """Replace a file atomically, with mode 600; its folder is made where it is missing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = mkstemp(dir=path.parent, prefix=path.name)  # mode 600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def append_private(path: Path, data: bytes) -> None:
    """Append to a file and set its mode to 600; its folder is made where it is missing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "ab") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
