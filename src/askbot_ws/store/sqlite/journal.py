"""Journal: the newest events of all sessions, in append-only files. `segments` has their format.

A segment in which a write or a sync failed is truncated to its size before. Where it can't be truncated, or not be
synced, it is retired: nothing is written to it any more, and each later segment begins with a record of the size up to
which it is valid. So what was not acknowledged is never replayed.
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
from .segments import CURRENT_HEADER, LAST_OF_APPEND, RECORD, DeletedRecord, TruncationRecord, encode_record

MAX_SEGMENT_BYTES = 32 * 1024 * 1024  # then a new segment begins, and all that is in the old one is flushed
OPEN_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class Segment:
    """One file, and up to where the sessions in it must be flushed before it may be removed."""

    __slots__ = ("fd", "folder_synced", "number", "path", "pending_syncs", "size", "unflushed_heads")

    def __init__(self, folder: Path, number: int) -> None:
        self.path = folder / f"{number:08}.log"
        self.fd = os.open(self.path, OPEN_FLAGS, 0o600)
        self.number = number
        self.size = 0
        self.unflushed_heads: dict[str, int] = {}  # by session, of those that are not flushed up to there
        self.pending_syncs = 0  # appends that wait for a `sync`
        self.folder_synced = False  # the folder was synced since the file was made

    def write(self, data: bytes) -> None:
        """Append all of `data`. Raises OSError; the caller has to `truncate` what was written then."""
        written = os.write(self.fd, data)
        while written < len(data):  # a short write: a signal, or a full disk, for which the next one raises
            written += os.write(self.fd, data[written:])
        self.size += len(data)

    def truncate(self, size: int) -> None:
        """Remove what follows so many bytes. Raises OSError."""
        os.ftruncate(self.fd, size)
        self.size = size

    def sync(self) -> None:
        """Sync the file, and once its folder, so that both survive a power cut. Raises OSError."""
        getattr(os, "fdatasync", os.fsync)(self.fd)
        if not self.folder_synced:
            sync_folder(self.path.parent)
            self.folder_synced = True

    def close(self) -> None:
        """Close the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def remove(self) -> None:
        """Delete the file. Raises OSError; nothing has changed then."""
        self.path.unlink(missing_ok=True)
        self.close()


class UnsyncedAppend(NamedTuple):
    """An append that counts once its segment is synced."""

    segment: Segment
    offset: int  # at which it begins


class Journal:
    """The segments in a folder. One thread appends and removes; any thread may `sync` a segment."""

    def __init__(self, folder: Path, *, segment_bytes: int = MAX_SEGMENT_BYTES) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._last_number = 0
        self._segments: list[Segment] = []  # oldest first
        self._active: Segment | None = None  # the last of them, unless that is full or retired
        self._truncations: dict[int, TruncationRecord] = {}  # of the retired segments that still exist
        self._closed = False

    def open(self, old_segments: Iterable[Path]) -> None:
        """Make the folder. `old_segments` are those of processes before: new ones get higher numbers."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._last_number = max((int(path.stem) for path in old_segments), default=0)

    def check_writable(self) -> None:
        """Raise OSError where a file can't be written in the folder."""
        file = self.folder / "probe"
        file.write_bytes(bytes(4096))
        file.unlink()

    # --- writing -----------------------------------------------------------------------------------------------------

    def append(self, payloads: Iterable[bytes], heads: Mapping[str, int]) -> None:
        """Append records, all or none, with one write. Raises OSError; nothing was appended then.

        Args:
            payloads: The payloads of the records.
            heads: The head of each of their sessions, once they are appended.
        """
        segment = self._active or self._begin_segment()
        parts: list[bytes] = [] if segment.size else [CURRENT_HEADER, *self._truncation_records()]
        size = checksum = 0
        for payload in payloads:
            size = len(payload)
            checksum = crc32(payload)
            parts += (RECORD.pack(size, checksum), payload)
        if size:
            parts[-2] = RECORD.pack(size | LAST_OF_APPEND, checksum)
        try:
            segment.write(b"".join(parts))
        except OSError:
            self._truncate_or_retire(segment, segment.size)
            raise
        segment.unflushed_heads.update(heads)

    def append_deletions(self, sessions: Iterable[str]) -> None:
        """Append records that delete these sessions. Raises OSError; nothing has changed then."""
        self.append([DeletedRecord(session).encode() for session in sessions], {})

    def _begin_segment(self) -> Segment:
        if self._closed:  # another process may have the folder by now
            raise OSError(errno.EBADF, "the journal is closed")
        last = self._segments[-1] if self._segments else None
        if last is not None and not last.size:
            self._remove(last)  # retired and empty, and it could not be removed before
        self._last_number += 1
        self._active = Segment(self.folder, self._last_number)
        self._segments.append(self._active)
        return self._active

    def _truncation_records(self) -> list[bytes]:
        return [encode_record(record.encode()) for record in self._truncations.values()]

    def _truncate_or_retire(self, segment: Segment, size: int) -> None:
        """Remove what follows so many bytes. Where that fails, stop writing to the segment."""
        try:
            segment.truncate(size)
        except OSError:
            self._retire(segment, size)

    def _retire(self, segment: Segment, size: int) -> None:
        """Stop writing to a segment that may hold more than was acknowledged: its first `size` bytes."""
        segment.size = size
        if segment is self._active:
            self._active = None
        if not segment.pending_syncs:
            segment.close()
        with contextlib.suppress(OSError):
            if size:  # recorded now, in case the process ends; if that fails, the next segment begins with it
                self._truncations[segment.number] = TruncationRecord(segment.number, size)
                self.append((), {})
            else:
                self._remove(segment)

    @property
    def size(self) -> int:
        """How many bytes its files have, without those of processes before."""
        return sum([segment.size for segment in self._segments])

    @property
    def is_full(self) -> bool:
        """Whether the segment has `MAX_SEGMENT_BYTES`, so that it is time to `rotate`."""
        return self._active is not None and self._active.size >= self._segment_bytes

    def rotate(self) -> set[str]:
        """Begin a new segment with the next append; returns the sessions to flush so that the old can be removed."""
        active = self._active
        if active is not None and active.size:
            self._active = None
            if not active.pending_syncs:
                active.close()  # however many have to wait for a session, they cost no file descriptors
        return {session for segment in self._segments for session in segment.unflushed_heads}

    # --- syncing -----------------------------------------------------------------------------------------------------

    def append_unsynced(self, payloads: Iterable[bytes]) -> UnsyncedAppend:
        """Append records that count once their segment is synced and `confirm_synced` was called. Raises OSError."""
        segment = self._active or self._begin_segment()
        written = UnsyncedAppend(segment, segment.size)
        self.append(payloads, {})
        segment.pending_syncs += 1
        return written

    def confirm_synced(self, append: UnsyncedAppend, heads: Mapping[str, int]) -> None:
        """Note that the segment was synced since this append; `heads` as in `append`."""
        self._end_sync(append.segment)
        append.segment.unflushed_heads.update(heads)

    def roll_back(self, append: UnsyncedAppend) -> None:
        """Remove an append that could not be synced, and all behind it.

        After a failed sync nobody knows what of the file the disk has, so nothing more is written to it.
        """
        segment, size = append
        with contextlib.suppress(OSError):
            segment.truncate(size)
        self._end_sync(segment)
        self._retire(segment, size)

    def _end_sync(self, segment: Segment) -> None:
        segment.pending_syncs -= 1
        if segment is not self._active and not segment.pending_syncs:
            segment.close()

    # --- removing ----------------------------------------------------------------------------------------------------

    def mark_flushed(self, session: str, head: int) -> None:
        """Note that the tables have a session up to `head`."""
        for segment in self._segments:
            if segment.unflushed_heads.get(session, head + 1) <= head:
                del segment.unflushed_heads[session]

    def discard_session(self, session: str) -> None:
        """Note that a session is deleted: nothing needs to be kept for it."""
        for segment in self._segments:
            segment.unflushed_heads.pop(session, None)

    def trim(self) -> None:
        """Remove the segments that hold nothing unflushed, the oldest first. Raises OSError.

        Never one before an older one: it may delete or limit what is in that one.
        """
        while self._segments and not (self._segments[0].unflushed_heads or self._segments[0].pending_syncs):
            oldest = self._segments[0]
            if oldest is self._active:
                if oldest.size:
                    oldest.truncate(0)
                return
            self._remove(oldest)

    def _remove(self, segment: Segment) -> None:
        segment.remove()
        self._segments.remove(segment)
        self._truncations.pop(segment.number, None)

    def close(self) -> None:
        """Close the files; the next start replays those that still exist. Appends fail from now on."""
        self._active, self._closed = None, True
        for segment in self._segments:
            segment.close()
        self._segments.clear()
        self._truncations.clear()
