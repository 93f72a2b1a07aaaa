"""Segments: the format of the journal's files, and how they are read.

    file     N.log, numbered upwards; they go in that order, oldest first. A header, then records
    header   magic (8 bytes), version (4 bytes) and CRC-32 of those (4 bytes); files of version 1 have none
    record   length (4 bytes) and CRC-32 (4 bytes) of the payload, then the payload. The highest bit of the length says
             that it is the last of an append; version 1 had no such bit
    payload  an event in JSON
             or "-" and a session's id: what came before of that session is deleted
             or "=", a number, a space and a size: of that file, nothing counts that lies behind so many bytes

Numbers in headers are little-endian. An append counts once all of it is there: what a failed write leaves at the end of
a file is not replayed. In files of every version the header stays where it is.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from ...errors import ConfigError
from ...events import Event, decode_event

VERSION = 2
MAGIC = b"askbot-j"
HEADER = struct.Struct("<8sII")
RECORD = struct.Struct("<II")
LAST = 1 << 31
DELETED = b"-"
LIMIT = b"="
_BEGINNING = re.compile(rb'\{"|[-=]')  # of a payload


def header(version: int) -> bytes:
    """What the segments of a version begin with."""
    named = struct.pack("<8sI", MAGIC, version)
    return named + struct.pack("<I", crc32(named))


BEGINNING = header(VERSION)
"""What a segment begins with."""


def packed(payload: bytes) -> bytes:
    """A payload as the one record of an append."""
    return RECORD.pack(len(payload) | LAST, crc32(payload)) + payload


@dataclass(frozen=True, slots=True)
class Deleted:
    """What came before of this session is deleted."""

    session: str

    def payload(self) -> bytes:
        """As a record has it."""
        return DELETED + self.session.encode()


@dataclass(frozen=True, slots=True)
class Limit:
    """In the segment of this number, what lies behind so many bytes was refused, and must never be replayed."""

    number: int
    size: int

    def payload(self) -> bytes:
        """As a record has it."""
        return LIMIT + b"%d %d" % (self.number, self.size)


def parse(payload: bytes) -> Event | Deleted | Limit:
    """What a record says. Raises ValueError where this version does not know it."""
    if payload.startswith(DELETED):
        return Deleted(payload.removeprefix(DELETED).decode())
    if payload.startswith(LIMIT):
        number, size = payload.removeprefix(LIMIT).split(b" ")
        return Limit(int(number), int(size))
    return decode_event(payload)


# --- reading one -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Contents:
    """What can be read of a file."""

    payloads: list[bytes]
    behind: int  # how many of those lie behind something damaged; a torn end is no damage, as nothing lies behind it


def read(path: Path, limits: Mapping[int, int] | None = None) -> Contents:
    """Read a file, up to its limit if it has one. Raises OSError; `ConfigError` for a version that we don't know."""
    data = path.read_bytes()
    refuse_unknown(path, data)
    limit = (limits or {}).get(int(path.stem))
    ours = data.startswith(BEGINNING)
    place = HEADER.size if ours else 0
    data = data[:limit]
    payloads: list[bytes] = []
    whole = 0  # of those, that belong to appends of which all is there
    damaged: int | None = None  # how many come before the first damage
    while place < len(data):
        payload = _record(data, place)
        if payload is None:
            damaged = len(payloads) if damaged is None else damaged
            place = _next(data, place)
        else:
            payloads.append(payload)
            if not ours or RECORD.unpack_from(data, place)[0] & LAST:
                whole = len(payloads)
            place += RECORD.size + len(payload)
    del payloads[whole:]
    return Contents(payloads, 0 if damaged is None else max(0, whole - damaged))


def refuse_unknown(path: Path, data: bytes) -> None:
    """Raises `ConfigError` where the header is whole and names a version that we don't know."""
    if len(data) >= HEADER.size:
        magic, version, _ = HEADER.unpack_from(data)
        if magic == MAGIC and version != VERSION and data.startswith(header(version)):
            raise ConfigError(
                f"the journal's {path} has format version {version}, and this askbot knows versions up to {VERSION}; "
                "install a newer askbot, or set ASKBOT_STORE to another file."
            )


def _record(data: bytes, place: int) -> bytes | None:
    """The payload of the record at this place, if there is one."""
    begin = place + RECORD.size
    if begin > len(data):
        return None
    length, checksum = RECORD.unpack_from(data, place)
    length &= ~LAST
    if not length or begin + length > len(data):
        return None  # a length of 0 is what a power cut leaves of a page that was never written
    payload = data[begin : begin + length]
    return payload if crc32(payload) == checksum else None


def _next(data: bytes, place: int) -> int:
    """The place of the next record, or the end."""
    for beginning in _BEGINNING.finditer(data, place + RECORD.size):
        if _record(data, beginning.start() - RECORD.size) is not None:
            return beginning.start() - RECORD.size
    return len(data)


# --- reading them all ------------------------------------------------------------------------------------------------


def survey(paths: Iterable[Path]) -> dict[int, int]:
    """Look at every record, and change nothing; returns the limits that they name.

    Raises `ConfigError` where anything whole is of a kind that this program does not know.
    """
    found: dict[int, int] = {}
    for path in paths:
        for payload in read(path).payloads:
            try:
                record = parse(payload)
            except ValueError as error:
                raise ConfigError(
                    f"the journal's {path} has a record of a kind that this askbot does not know; install the one "
                    "that wrote it, or a newer one. `askbot store repair` would leave the record out."
                ) from error
            if isinstance(record, Limit):
                found[record.number] = record.size
    return found


def deletions(path: Path, limits: Mapping[int, int]) -> list[str]:
    """The sessions that a segment deletes, one for each deletion. Raises what `read` raises."""
    payloads = read(path, limits).payloads
    return [payload.removeprefix(DELETED).decode() for payload in payloads if payload.startswith(DELETED)]


def limits(path: Path) -> dict[int, int]:
    """The limits that a segment names, whatever else is in it. Raises what `read` raises."""
    found: dict[int, int] = {}
    for payload in read(path).payloads:
        if payload.startswith(LIMIT):
            with contextlib.suppress(ValueError):
                record = parse(payload)
                if isinstance(record, Limit):
                    found[record.number] = record.size
    return found
