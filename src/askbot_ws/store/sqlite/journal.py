"""Journal: the newest events of all sessions, as append-only files. `segments` has their format.

A segment in which a write or a sync failed is cut back to where it was. Where that is in doubt (it could not be cut,
or not be synced) nothing is written to it any more, and each later segment begins with a record that says up to where
it counts: so what was refused is never replayed.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from .files import sync_folder
from .segments import BEGINNING, LAST, RECORD, Deleted, Limit, packed

SEGMENT = 32 * 1024 * 1024  # bytes after which a new segment is begun, and all that is in the old one flushed
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class Segment:
    """One file, and up to where the sessions in it must be flushed before it may go."""

    __slots__ = ("fd", "heads", "named", "number", "path", "size", "unsynced")

    def __init__(self, folder: Path, number: int) -> None:
        self.path = folder / f"{number:08}.log"
        self.fd = os.open(self.path, FLAGS, 0o600)
        self.number = number
        self.size = 0
        self.heads: dict[str, int] = {}
        self.unsynced = 0  # appends that wait for a `sync`
        self.named = False  # the folder is synced since we are in it

    def write(self, data: bytes) -> None:
        """Add all of it. Raises OSError, and leaves it to the caller to `cut` what was written."""
        written = os.write(self.fd, data)
        while written < len(data):  # the disk is full, and the next attempt says so; or it was a signal
            written += os.write(self.fd, data[written:])
        self.size += len(data)

    def cut(self, size: int) -> None:
        """Take back what follows a place. Raises OSError."""
        os.ftruncate(self.fd, size)
        self.size = size

    def sync(self) -> None:
        """Wait until it survives a power cut, its name in the folder too. Raises OSError."""
        getattr(os, "fdatasync", os.fsync)(self.fd)
        if not self.named:
            sync_folder(self.path.parent)
            self.named = True

    def close(self) -> None:
        """Write no more to it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def remove(self) -> None:
        """Delete the file. Raises OSError; it is as before then."""
        self.path.unlink(missing_ok=True)
        self.close()


class Unsynced(NamedTuple):
    """Records that were written, and count once their segment is synced."""

    segment: Segment
    place: int  # where they begin


class Journal:
    """The segments in a folder. One thread writes and removes; any may `sync` a segment."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._number = 0
        self._segments: list[Segment] = []  # oldest first
        self._active: Segment | None = None  # the last of them, unless that is full or in doubt
        self._limits: dict[int, Limit] = {}  # of the segments in doubt, as long as they are there
        self._closed = False

    def open(self, left: Iterable[Path]) -> None:
        """Make the folder. `left` are the segments of another process: new ones get higher numbers."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._number = max((int(path.stem) for path in left), default=0)

    def probe(self) -> None:
        """Raises OSError where a file can't be written here."""
        probe = self.folder / "probe"
        probe.write_bytes(bytes(4096))
        probe.unlink()

    # --- writing -----------------------------------------------------------------------------------------------------

    def append(self, payloads: Iterable[bytes], heads: Mapping[str, int]) -> None:
        """Add records, all or none, with one write; `heads` says where they leave their sessions. Raises OSError."""
        segment = self._active or self._begin()
        parts: list[bytes] = [] if segment.size else [BEGINNING, *self._limit_records()]
        size = checksum = 0
        for payload in payloads:
            size = len(payload)
            checksum = crc32(payload)
            parts += (RECORD.pack(size, checksum), payload)
        if size:
            parts[-2] = RECORD.pack(size | LAST, checksum)
        try:
            segment.write(b"".join(parts))
        except OSError:
            self._cut(segment, segment.size)
            raise
        segment.heads.update(heads)

    def delete(self, sessions: Iterable[str]) -> None:
        """Let a replay drop what these sessions hold so far. Raises OSError; nothing has changed then."""
        self.append([Deleted(session).payload() for session in sessions], {})

    def _begin(self) -> Segment:
        if self._closed:  # another process may have the folder by now
            raise OSError(errno.EBADF, "the journal is closed")
        last = self._segments[-1] if self._segments else None
        if last is not None and not last.size:
            self._remove(last)  # nothing of it counts, and it could not be removed before; one of that kind is enough
        self._number += 1
        self._active = Segment(self.folder, self._number)
        self._segments.append(self._active)
        return self._active

    def _limit_records(self) -> list[bytes]:
        return [packed(limit.payload()) for limit in self._limits.values()]

    def _cut(self, segment: Segment, size: int) -> None:
        """Take back what follows a place. Where that can't be, it is in doubt what a replay would find there."""
        try:
            segment.cut(size)
        except OSError:
            self._retire(segment, size)

    def _retire(self, segment: Segment, size: int) -> None:
        """Write no more to this segment; what lies behind `size` does not count."""
        segment.size = size
        if segment is self._active:
            self._active = None
        if not segment.unsynced:
            segment.close()
        with contextlib.suppress(OSError):
            if size:  # say at once what does not count, as we may die; if that fails, the next segment begins with it
                self._limits[segment.number] = Limit(segment.number, size)
                self.append((), {})
            else:
                self._remove(segment)

    @property
    def full(self) -> bool:
        """Whether it is time to `rotate`."""
        return self._active is not None and self._active.size >= self._segment_bytes

    def rotate(self) -> set[str]:
        """Let the next record begin a new segment; returns the sessions that must be flushed for the old ones to go."""
        active = self._active
        if active is not None and active.size:
            self._active = None
            if not active.unsynced:
                active.close()  # however many have to wait for a session, they cost no file descriptors
        return {session for segment in self._segments for session in segment.heads}

    # --- syncing -----------------------------------------------------------------------------------------------------

    def append_unsynced(self, payloads: Iterable[bytes]) -> Unsynced:
        """As `append`; the records count once their segment is synced and they are accepted. Raises OSError."""
        segment = self._active or self._begin()
        written = Unsynced(segment, segment.size)
        self.append(payloads, {})
        segment.unsynced += 1
        return written

    def accept(self, written: Unsynced, heads: Mapping[str, int]) -> None:
        """The segment was synced since these records were written."""
        self._synced(written.segment)
        written.segment.heads.update(heads)

    def refuse(self, written: Unsynced) -> None:
        """It could not be synced: take the records back, and all behind them.

        After a failed sync nobody knows what of the file the disk has, so nothing more is written to it.
        """
        segment, size = written
        with contextlib.suppress(OSError):
            segment.cut(size)
        self._synced(segment)
        self._retire(segment, size)

    def _synced(self, segment: Segment) -> None:
        segment.unsynced -= 1
        if segment is not self._active and not segment.unsynced:
            segment.close()

    # --- removing ----------------------------------------------------------------------------------------------------

    def flushed(self, session: str, head: int) -> None:
        """Note that a session is kept elsewhere up to this place."""
        for segment in self._segments:
            if segment.heads.get(session, head + 1) <= head:
                del segment.heads[session]

    def discard(self, session: str) -> None:
        """Note that a session is gone: nothing needs to be kept for it."""
        for segment in self._segments:
            segment.heads.pop(session, None)

    def trim(self) -> None:
        """Remove the segments that hold nothing unflushed, the oldest first. Raises OSError.

        Never one before an older one: it may say that something in that one is deleted, or does not count.
        """
        while self._segments and not (self._segments[0].heads or self._segments[0].unsynced):
            oldest = self._segments[0]
            if oldest is self._active:
                if oldest.size:
                    oldest.cut(0)
                return
            self._remove(oldest)

    def _remove(self, segment: Segment) -> None:
        segment.remove()
        self._segments.remove(segment)
        self._limits.pop(segment.number, None)

    def close(self) -> None:
        """Close the files, and write no more; those that are still there are for the next start."""
        self._active, self._closed = None, True
        for segment in self._segments:
            segment.close()
        self._segments.clear()
        self._limits.clear()
