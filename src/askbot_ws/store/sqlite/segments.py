"""Segments: the format of the journal's files, and functions that read them.

    file     N.log, numbered upwards, oldest first: a header, then records
    header   magic (8 bytes), version (4 bytes) and CRC-32 of those (4 bytes); files of version 1 have none
    record   length (4 bytes) and CRC-32 (4 bytes) of the payload, then the payload. The highest bit of the length marks
             the last record of an append; version 1 had no such bit
    payload  an event in JSON
             or "@", who made a session and when, as a JSON object, a line end, and the session's first event
             or "-" and a session's id: the events of that session before this record are deleted
             or "=", a segment's number, a space and a size: what follows so many bytes of that file does not count

Numbers in headers are little-endian. An append counts once all of it is there: what a failed write leaves at the end of
a file is not replayed. In files of every version the header stays where it is.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import orjson

from ...errors import ConfigError
from ...events import Event, decode_event

VERSION = 2
MAGIC = b"askbot-j"
HEADER = struct.Struct("<8sII")
RECORD = struct.Struct("<II")
LAST_OF_APPEND = 1 << 31
DELETED_PREFIX = b"-"
TRUNCATION_PREFIX = b"="
USER_SESSION_PREFIX = b"@"
_PAYLOAD_START = re.compile(rb'\{"|[-=@]')


def segment_header(version: int) -> bytes:
    """The header of segments of a version."""
    identified = struct.pack("<8sI", MAGIC, version)
    return identified + struct.pack("<I", crc32(identified))


CURRENT_HEADER = segment_header(VERSION)
"""The header of the segments that are written now."""


def encode_record(payload: bytes) -> bytes:
    """The bytes of a record that is an append by itself."""
    return RECORD.pack(len(payload) | LAST_OF_APPEND, crc32(payload)) + payload


@dataclass(frozen=True, slots=True)
class DeletedRecord:
    """A record that deletes the events of a session before it."""

    session: str

    def encode(self) -> bytes:
        """The record's payload."""
        return DELETED_PREFIX + self.session.encode()


@dataclass(frozen=True, slots=True)
class TruncationRecord:
    """A record that truncates a segment: what follows its first `size` bytes is never replayed."""

    segment: int  # its number
    size: int

    def encode(self) -> bytes:
        """The record's payload."""
        return TRUNCATION_PREFIX + b"%d %d" % (self.segment, self.size)


@dataclass(frozen=True, slots=True)
class UserSessionRecord:
    """A record of a user's session with its first event: neither can be lost without the other."""

    user: str
    created: float  # when the session was made, in seconds since 1970
    event: Event

    def encode(self, frame: bytes) -> bytes:
        """The record's payload; `frame` is the event, encoded."""
        return USER_SESSION_PREFIX + orjson.dumps({"user": self.user, "created": self.created}) + b"\n" + frame


def _decode_user_session(payload: bytes) -> UserSessionRecord:
    origin, _, frame = payload.removeprefix(USER_SESSION_PREFIX).partition(b"\n")
    match orjson.loads(origin):
        case {"user": str() as user, "created": float() as created}:
            return UserSessionRecord(user, created, decode_event(frame))
        case _:
            raise ValueError("it does not say who made the session")


def decode_payload(payload: bytes) -> Event | UserSessionRecord | DeletedRecord | TruncationRecord:
    """Decode a record's payload. Raises ValueError where its kind is not known to this version."""
    if payload.startswith(USER_SESSION_PREFIX):
        return _decode_user_session(payload)
    if payload.startswith(DELETED_PREFIX):
        return DeletedRecord(payload.removeprefix(DELETED_PREFIX).decode())
    if payload.startswith(TRUNCATION_PREFIX):
        number, size = payload.removeprefix(TRUNCATION_PREFIX).split(b" ")
        return TruncationRecord(int(number), int(size))
    return decode_event(payload)


# --- reading one -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SegmentContents:
    """The payloads that can be read of a segment."""

    payloads: list[bytes]
    records_after_damage: int  # of the payloads; a torn end is no damage, as nothing lies behind it


def read_segment(path: Path, truncations: Mapping[int, int] | None = None) -> SegmentContents:
    """Read a segment, up to its size in `truncations`. Raises OSError; `ConfigError` for an unknown version."""
    data = path.read_bytes()
    refuse_unknown_version(path, data)
    size = (truncations or {}).get(int(path.stem))
    has_header = data.startswith(CURRENT_HEADER)
    offset = HEADER.size if has_header else 0
    data = data[:size]
    payloads: list[bytes] = []
    complete = 0  # of the payloads, those of appends of which all is there
    before_damage: int | None = None  # of the payloads, those before the first damage
    while offset < len(data):
        payload = _payload_at(data, offset)
        if payload is None:
            before_damage = len(payloads) if before_damage is None else before_damage
            offset = _next_record(data, offset)
        else:
            payloads.append(payload)
            if not has_header or RECORD.unpack_from(data, offset)[0] & LAST_OF_APPEND:
                complete = len(payloads)
            offset += RECORD.size + len(payload)
    del payloads[complete:]
    return SegmentContents(payloads, 0 if before_damage is None else max(0, complete - before_damage))


def refuse_unknown_version(path: Path, data: bytes) -> None:
    """Raise `ConfigError` where the header is whole and names an unknown version."""
    if len(data) >= HEADER.size:
        magic, version, _ = HEADER.unpack_from(data)
        if magic == MAGIC and version != VERSION and data.startswith(segment_header(version)):
            raise ConfigError(
                f"the journal's {path} has format version {version}, and this askbot knows versions up to {VERSION}; "
                "install a newer askbot, or set ASKBOT_STORE to another file."
            )


def _payload_at(data: bytes, offset: int) -> bytes | None:
    """The payload of the record at an offset; None where there is no whole record."""
    begin = offset + RECORD.size
    if begin > len(data):
        return None
    length, checksum = RECORD.unpack_from(data, offset)
    length &= ~LAST_OF_APPEND
    if not length or begin + length > len(data):
        return None  # a length of 0 is what a power cut leaves of a page that was never written
    payload = data[begin : begin + length]
    return payload if crc32(payload) == checksum else None


def _next_record(data: bytes, offset: int) -> int:
    """The offset of the next whole record behind an offset, or of the end."""
    for beginning in _PAYLOAD_START.finditer(data, offset + RECORD.size):
        if _payload_at(data, beginning.start() - RECORD.size) is not None:
            return beginning.start() - RECORD.size
    return len(data)


# --- reading them all ------------------------------------------------------------------------------------------------


def validate_segments(paths: Iterable[Path]) -> dict[int, int]:
    """Decode every record of these segments; returns the sizes in bytes to which segments are truncated, by number.

    Raises `ConfigError` where a whole record is of a kind that this program does not know.
    """
    found: dict[int, int] = {}
    for path in paths:
        for payload in read_segment(path).payloads:
            try:
                record = decode_payload(payload)
            except ValueError as error:
                raise ConfigError(
                    f"the journal's {path} has a record of a kind that this askbot does not know; install the one "
                    "that wrote it, or a newer one. `askbot store repair` would leave the record out."
                ) from error
            if isinstance(record, TruncationRecord):
                found[record.segment] = record.size
    return found


def count_deletions(paths: Iterable[Path], truncations: Mapping[int, int]) -> Counter[str]:
    """How often the records of these segments delete each session. Raises as `read_segment` does.

    The events before a session's last deletion are not needed, and may be incomplete: the tables may have deleted the
    session already, and segments with its beginning may be gone.
    """
    found: Counter[str] = Counter()
    for path in paths:
        for payload in read_segment(path, truncations).payloads:
            if payload.startswith(DELETED_PREFIX):
                found[payload.removeprefix(DELETED_PREFIX).decode(errors="replace")] += 1
    return found


def read_truncations(path: Path) -> dict[int, int]:
    """The sizes in bytes, by number, to which a segment's records truncate others. Raises as `read_segment` does."""
    found: dict[int, int] = {}
    for payload in read_segment(path).payloads:
        if payload.startswith(TRUNCATION_PREFIX):
            with contextlib.suppress(ValueError):
                record = decode_payload(payload)
                if isinstance(record, TruncationRecord):
                    found[record.segment] = record.size
    return found
