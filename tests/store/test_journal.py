"""The journal: what is in it after anything that can happen to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from askbot_ws.store.sqlite import segments
from askbot_ws.store.sqlite.files import StoreFiles
from askbot_ws.store.sqlite.journal import Journal
from askbot_ws.store.sqlite.segments import CURRENT_HEADER, RECORD, TruncationRecord

from .event_factory import limited_file_size

PAYLOADS = [b'{"a":1}', b'{"b":22}', b'{"long":"' + b"x" * 300 + b'"}']


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a.db.journal"


@pytest.fixture
def book(folder: Path) -> Iterator[Journal]:
    book = Journal(folder, segment_bytes=1000)
    book.open([])
    yield book
    book.close()


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def _all(folder: Path) -> list[bytes]:
    truncations: dict[int, int] = {}
    for path in _segments(folder):
        truncations |= segments.read_truncations(path)
    found = [payload for path in _segments(folder) for payload in segments.read_segment(path, truncations).payloads]
    return [payload for payload in found if not payload.startswith(segments.TRUNCATION_PREFIX)]


def _read(path: Path) -> list[bytes]:
    return segments.read_segment(path).payloads


def test_what_is_appended_is_read(book: Journal, folder: Path) -> None:
    """In order, over several appends."""
    book.append(PAYLOADS, {"s": 3})
    book.append([b"{7}"], {"s": 4})

    assert _all(folder) == [*PAYLOADS, b"{7}"]


def test_an_append_is_one_write(book: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Group commit: a tick costs one system call."""
    writes: list[int] = []
    real = os.write

    def counted(fd: int, data: bytes) -> int:
        writes.append(len(data))
        return real(fd, data)

    monkeypatch.setattr(os, "write", counted)

    book.append(PAYLOADS * 100, {})

    assert len(writes) == 1


def test_a_torn_tail_is_dropped_wherever_it_was_torn(book: Journal, folder: Path, tmp_path: Path) -> None:
    """For every length that a crash may leave: the whole records before it are there, and nothing is raised."""
    for payload in PAYLOADS:
        book.append([payload], {"s": 3})
    data = _segments(folder)[0].read_bytes()
    ends = _ends()
    torn = tmp_path / "1.log"

    for length in range(len(data) + 1):
        torn.write_bytes(data[:length])
        contents = segments.read_segment(torn)
        assert contents.payloads == PAYLOADS[: sum(end <= length for end in ends[1:])]
        assert contents.records_after_damage == 0


def test_a_damaged_byte_costs_its_record_only(book: Journal, folder: Path, tmp_path: Path) -> None:
    """For every byte: all others are there, and nothing that was not written; and it is told from a torn end."""
    book.append(PAYLOADS, {"s": 3})
    book.append([b'{"d":4444}'], {"s": 4})
    written = [*PAYLOADS, b'{"d":4444}']
    data = _segments(folder)[0].read_bytes()
    damaged = tmp_path / "1.log"

    for place in range(len(data)):
        damaged.write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
        found = segments.read_segment(damaged)
        hit = [place >= end for end in _ends()].count(True) - 1  # -1: the header
        assert found.payloads == [payload for number, payload in enumerate(written) if number != hit]
        assert found.records_after_damage == len(written) - 1 - hit


def test_an_append_is_read_as_a_whole_or_not_at_all(book: Journal, folder: Path, tmp_path: Path) -> None:
    """For every part of it that a failed write may leave where nothing can be cut: it was refused, all of it."""
    book.append([b"{1}"], {"s": 1})
    before = _segments(folder)[0].stat().st_size
    book.append(PAYLOADS, {"s": 4})
    data = _segments(folder)[0].read_bytes()
    torn = tmp_path / "1.log"

    for length in range(before, len(data)):
        torn.write_bytes(data[:length])
        assert segments.read_segment(torn).payloads == [b"{1}"]
    assert _read(_segments(folder)[0]) == [b"{1}", *PAYLOADS]


def _ends() -> list[int]:
    """Where the header ends, and each record."""
    ends = [len(CURRENT_HEADER)]
    for payload in PAYLOADS:
        ends.append(ends[-1] + RECORD.size + len(payload))
    return ends


def test_pages_of_zeros_are_no_records(book: Journal, folder: Path) -> None:
    """A power cut leaves them where the size was written and the data was not."""
    book.append(PAYLOADS, {"s": 3})
    with _segments(folder)[0].open("ab") as file:
        file.write(bytes(4096))

    assert _all(folder) == PAYLOADS


def test_a_damaged_segment_does_not_cost_the_next(book: Journal, folder: Path) -> None:
    """Each segment ends where it can be read to."""
    book.append([b"{1}"], {"s": 1})
    book.append([b"{2}"], {"s": 2})
    book.rotate()
    book.append([b"{3}"], {"s": 3})
    first = _segments(folder)[0]
    first.write_bytes(first.read_bytes()[:-1])

    assert _all(folder) == [b"{1}", b"{3}"]


def test_a_full_disk_leaves_no_half_record(book: Journal, folder: Path) -> None:
    """A real short write, then a real error: the file is as before, and usable once there is room again."""
    book.append([b"{1}"], {"s": 1})
    size = _segments(folder)[0].stat().st_size

    for room in range(1, 60):
        with limited_file_size(size + room), pytest.raises(OSError, match="File too large"):
            book.append([b"{" + b"2" * 60 + b"}"], {"s": 2})
        assert _segments(folder)[0].stat().st_size == size

    book.append([b"{3}"], {"s": 2})
    assert _all(folder) == [b"{1}", b"{3}"]


def test_nothing_follows_half_a_record(book: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where even the cut fails, the next append begins a new segment."""
    book.append([b"{1}"], {"s": 1})

    def refuse(*_: object) -> None:
        raise OSError("cannot cut")

    with monkeypatch.context() as patch, limited_file_size(80):
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(OSError, match="File too large"):
            book.append([b"{2}", b"{" + b"2" * 60 + b"}"], {"s": 3})

    assert _all(folder) == [b"{1}"]  # at once: we may be killed now
    book.append([b"{3}"], {"s": 2})
    assert _all(folder) == [b"{1}", b"{3}"]
    assert len(_segments(folder)) == 2


def test_a_full_segment_says_so_and_the_next_begins_on_rotation(book: Journal, folder: Path) -> None:
    """Sessions that pin the old ones are named, so that they can be flushed."""
    book.append([b"{" + b"x" * 900 + b"}"], {"a": 1})
    before = book.is_full
    book.append([b"{" + b"x" * 900 + b"}"], {"b": 1})
    assert (before, book.is_full) == (False, True)

    assert book.rotate() == {"a", "b"}
    book.append([b"{}"], {"c": 1})

    assert len(_segments(folder)) == 2
    assert not book.is_full


def test_a_segment_goes_once_all_its_sessions_are_flushed(book: Journal, folder: Path) -> None:
    """Not before, and never before an older one: a `forget` must not outlive what it is about."""
    book.append([b"{1}"], {"a": 10})
    book.append([b"{2}"], {"b": 5})
    book.rotate()
    book.append([b"{3}"], {"a": 20})
    book.rotate()
    book.append([b"{4}"], {"c": 1})

    book.mark_flushed("a", 20)
    book.trim()
    assert _all(folder) == [b"{1}", b"{2}", b"{3}", b"{4}"]
    book.mark_flushed("b", 4)
    book.trim()
    assert len(_segments(folder)) == 3
    book.mark_flushed("b", 5)
    book.trim()
    assert _all(folder) == [b"{4}"]


def test_the_segment_in_use_is_emptied_when_nothing_in_it_is_needed(book: Journal, folder: Path) -> None:
    """A quiet server's text does not lie about for days; and a new number is not needed for that."""
    book.append([b"{1}"], {"a": 1})
    book.mark_flushed("a", 1)
    book.trim()
    book.trim()
    assert [path.stat().st_size for path in _segments(folder)] == [0]

    book.append([b"{2}"], {"a": 2})

    assert _all(folder) == [b"{2}"]


def test_to_delete_is_a_record_in_an_empty_journal_too(book: Journal, folder: Path) -> None:
    """The tables may have the session, and be busy when it is to be deleted from there."""
    book.append_deletions(["a"])
    assert _all(folder) == [b"-a"]

    book.append([b"{1}"], {"b": 1})
    book.append_deletions(["b", "c"])

    assert _all(folder) == [b"-a", b"{1}", b"-b", b"-c"]


def test_what_could_not_be_synced_is_taken_back(book: Journal, folder: Path) -> None:
    """And what comes next is in a new file, as nobody knows what the disk has of the old one."""
    book.append([b"{1}"], {"a": 1})

    book.roll_back(book.append_unsynced([b"{2}"]))
    assert _all(folder) == [b"{1}"]
    book.append([b"{3}"], {"a": 2})

    old, new = _segments(folder)
    limit = TruncationRecord(1, old.stat().st_size).encode()
    assert [_read(old), _read(new)] == [[b"{1}"], [limit, b"{3}"]]
    assert book.rotate() == {"a"}
    book.mark_flushed("a", 2)
    book.trim()
    assert _segments(folder) == []


def test_segments_of_another_life_are_found_in_order(book: Journal, folder: Path) -> None:
    """By number, not by name, and the next number is a new one; other files are none of ours."""
    for name in ("00000009.log", "100000000.log", "00000010.log", "notes.log", "probe"):
        (folder / name).touch()

    found = StoreFiles(folder.with_name("a.db")).segments()
    assert [path.stem for path in found] == ["00000009", "00000010", "100000000"]
    again = Journal(folder)
    again.open(found)
    again.append([b"{}"], {})
    assert (folder / "100000001.log").exists()
    again.close()


def test_nobody_else_may_read_it(book: Journal, folder: Path) -> None:
    """Conversations are private on a shared machine, too."""
    book.append([b"{}"], {})

    assert folder.stat().st_mode & 0o777 == 0o700
    assert _segments(folder)[0].stat().st_mode & 0o777 == 0o600


def test_a_closed_journal_writes_no_more(book: Journal, folder: Path) -> None:
    """Whoever comes late, a `forget` in a server that ends, finds a folder that another process may have by now."""
    book.append([b"{}"], {})
    book.close()
    files = _segments(folder)

    with pytest.raises(OSError, match="closed"):
        book.append_deletions(["s"])
    assert _segments(folder) == files
