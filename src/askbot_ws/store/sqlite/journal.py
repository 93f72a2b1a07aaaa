"""Journal: the newest events of all sessions, as an append-only file.

    segment  N.log, numbered upwards; they go in that order, oldest first
    record   length (4 bytes) and CRC-32 (4 bytes) of the payload, little-endian; then the payload
    payload  an event's frame in JSON, or "-" and a session's id: forget what came before

A record counts once all of it is there. What follows a torn or a damaged one is dropped when the segment is read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from zlib import crc32

SEGMENT = 32 * 1024 * 1024  # bytes after which a new segment is begun, and all that is in the old one settled
HEADER = struct.Struct("<II")
FORGET = b"-"
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class Segment:
    """One file, and up to where the sessions in it must be settled before it may go."""

    __slots__ = ("fd", "heads", "named", "path", "size")

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, FLAGS, 0o600)
        self.path = path
        self.size = 0
        self.heads: dict[str, int] = {}
        self.named = False  # the folder is synced since we are in it

    def write(self, data: bytes) -> None:
        """Add all of it. Raises OSError, and leaves it to the caller to `cut` what was written."""
        written = os.write(self.fd, data)
        while written < len(data):  # the disk is full, and the next attempt says so; or it was a signal
            written += os.write(self.fd, data[written:])
        self.size += len(data)

    def cut(self, size: int) -> None:
        """Take back what follows a place."""
        os.ftruncate(self.fd, size)
        self.size = size

    def sync(self) -> None:
        """Wait until it survives a power cut, its name in the folder too."""
        getattr(os, "fdatasync", os.fsync)(self.fd)
        if not self.named:
            _sync_folder(self.path.parent)
            self.named = True

    def remove(self) -> None:
        """Close and delete the file."""
        self.path.unlink(missing_ok=True)
        os.close(self.fd)


class Journal:
    """The segments in a folder. One thread writes and removes; any may `sync` a segment."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT) -> None:
        self.folder = folder
        self._limit = segment_bytes
        self._number = 0
        self._segments: list[Segment] = []  # oldest first
        self._active: Segment | None = None  # the last of them, unless that is full

    # --- at the start ------------------------------------------------------------------------------------------------

    def open(self) -> list[Path]:
        """Make the folder; returns the segments that another process left, to be replayed and removed in order."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        left = sorted((path for path in self.folder.glob("*.log") if path.stem.isdigit()), key=_number)
        self._number = _number(left[-1]) if left else 0
        return left

    def probe(self) -> None:
        """Raises OSError where a file can't be written here."""
        probe = self.folder / "probe"
        probe.write_bytes(bytes(4096))
        probe.unlink()

    # --- writing -----------------------------------------------------------------------------------------------------

    def append(self, payloads: Iterable[bytes], heads: Mapping[str, int]) -> None:
        """Add records, all or none, with one write; `heads` says where they leave their sessions. Raises OSError."""
        parts: list[bytes] = []
        for payload in payloads:
            parts += (HEADER.pack(len(payload), crc32(payload)), payload)
        segment = self._active or self._begin()
        try:
            segment.write(b"".join(parts))
        except OSError:
            self._active = None  # and so it stays if this fails, too: nothing may follow half a record
            segment.cut(segment.size)
            self._active = segment
            raise
        segment.heads.update(heads)

    def forget(self, sessions: Iterable[str]) -> None:
        """Let a replay drop what these sessions hold so far. Raises OSError."""
        if any(segment.size for segment in self._segments):
            self.append([FORGET + session.encode() for session in sessions], {})

    def _begin(self) -> Segment:
        self._number += 1
        self._active = Segment(self.folder / f"{self._number:08}.log")
        self._segments.append(self._active)
        return self._active

    @property
    def full(self) -> bool:
        """Whether it is time to `rotate`."""
        return self._active is not None and self._active.size >= self._limit

    def rotate(self) -> set[str]:
        """Let the next record begin a new segment; returns the sessions that must be settled for the old ones to go."""
        if self._active is not None and self._active.size:
            self._active = None
        return {session for segment in self._segments for session in segment.heads}

    # --- syncing -----------------------------------------------------------------------------------------------------

    @property
    def active(self) -> Segment | None:
        """The segment that is written to: after an append, the one to `sync`."""
        return self._active

    @property
    def end(self) -> int:
        """The place that the next record gets in its segment."""
        return self._active.size if self._active else 0

    def retract(self, end: int, heads: Mapping[str, int]) -> None:
        """Take back the records after a place, which could not be synced, and let the sessions be at `heads` again.

        The rest goes to a new segment: after a failed sync nobody knows which pages of this one the disk has.
        """
        segment, self._active = self._active, None
        if segment is not None:
            segment.heads.update(heads)
            segment.cut(end)

    # --- removing ----------------------------------------------------------------------------------------------------

    def settle(self, session: str, head: int) -> None:
        """Note that a session is kept elsewhere up to this place."""
        for segment in self._segments:
            if segment.heads.get(session, head + 1) <= head:
                del segment.heads[session]

    def discard(self, session: str) -> None:
        """Note that a session is gone: nothing needs to be kept for it."""
        for segment in self._segments:
            segment.heads.pop(session, None)

    def trim(self) -> None:
        """Remove the segments that hold nothing unsettled. Raises OSError."""
        while self._segments and not self._segments[0].heads:
            oldest = self._segments[0]
            if oldest is self._active:
                if oldest.size:
                    oldest.cut(0)
                return
            oldest.remove()
            del self._segments[0]

    def close(self) -> None:
        """Close the files; those that are still there are for the next start."""
        self._active = None
        for segment in self._segments:
            os.close(segment.fd)
        self._segments.clear()


def read(path: Path) -> Iterator[bytes]:
    """The payloads of a segment, up to the first record that is torn or damaged. Raises OSError."""
    data = path.read_bytes()
    place = 0
    while place + HEADER.size <= len(data):
        length, checksum = HEADER.unpack_from(data, place)
        payload = data[place + HEADER.size : place + HEADER.size + length]
        if not length or len(payload) < length or crc32(payload) != checksum:
            return  # a length of 0 is what a power cut leaves of a page that was never written
        yield payload
        place += HEADER.size + length


def _number(path: Path) -> int:
    return int(path.stem)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
