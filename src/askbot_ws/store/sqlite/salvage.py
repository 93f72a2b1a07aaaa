"""Salvage: what can still be read of damaged files."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

from .journal import HEADER

NEAR = 2_000  # row numbers behind a damaged page that are tried one by one
LAST = 2**62
_BEGINNING = re.compile(rb'\{"|-')  # of a journal record's payload


def rows(connection: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a table that can be read, oldest first; damaged pages are passed over."""
    query = f"SELECT rowid, {columns} FROM {table} NOT INDEXED WHERE rowid >= ? ORDER BY rowid"  # noqa: S608 - ours

    def readable(place: int) -> bool:
        try:
            connection.execute(query + " LIMIT 1", (place,)).fetchone()
        except sqlite3.Error:
            return False
        return True

    place: int | None = 0
    while place is not None:
        try:
            for number, *row in connection.execute(query, (place,)):
                yield tuple(row)
                place = int(number) + 1
        except sqlite3.Error:
            place = _beyond(place, readable)
        else:
            return


def _beyond(place: int, readable: Callable[[int], bool]) -> int | None:
    """The next row number from which on something can be read again."""
    for near in range(place + 1, place + NEAR):
        if readable(near):
            return near
    step = NEAR
    while not readable(place + step):
        step *= 2
        if place + step > LAST:
            return None
    low, high = place + step // 2, place + step  # the one is not readable, the other is
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if readable(middle) else (middle, high)
    return high


def payloads(data: bytes) -> Iterator[bytes]:
    """The records of a journal segment, those behind a damaged one too."""
    place = 0
    while place < len(data):
        payload = _record(data, place)
        if payload is None:
            place = _next(data, place)
        else:
            yield payload
            place += HEADER.size + len(payload)


def _record(data: bytes, place: int) -> bytes | None:
    """The payload of the record at this place, if there is one."""
    if place + HEADER.size > len(data):
        return None
    length, checksum = HEADER.unpack_from(data, place)
    payload = data[place + HEADER.size : place + HEADER.size + length]
    return payload if length and len(payload) == length and crc32(payload) == checksum else None


def _next(data: bytes, place: int) -> int:
    """The place of the next record, or the end."""
    for beginning in _BEGINNING.finditer(data, place + HEADER.size):
        if _record(data, beginning.start() - HEADER.size) is not None:
            return beginning.start() - HEADER.size
    return len(data)
