"""The journal: what is in it after anything that can happen to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from askbot_ws.store.sqlite import journal
from askbot_ws.store.sqlite.journal import HEADER, Journal

from .story import file_limit

PAYLOADS = [b'{"a":1}', b"{}", b'{"long":"' + b"x" * 300 + b'"}']


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a.db.journal"


@pytest.fixture
def book(folder: Path) -> Iterator[Journal]:
    book = Journal(folder, segment_bytes=1000)
    assert book.open() == []
    yield book
    book.close()


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def _all(folder: Path) -> list[bytes]:
    return [payload for path in _segments(folder) for payload in journal.read(path)]


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
    book.append(PAYLOADS, {"s": 3})
    data = _segments(folder)[0].read_bytes()
    ends = [0]
    for payload in PAYLOADS:
        ends.append(ends[-1] + HEADER.size + len(payload))
    torn = tmp_path / "torn.log"

    for length in range(len(data) + 1):
        torn.write_bytes(data[:length])
        assert list(journal.read(torn)) == PAYLOADS[: sum(end <= length for end in ends[1:])]


def test_a_damaged_byte_costs_its_record_and_what_follows(book: Journal, folder: Path, tmp_path: Path) -> None:
    """For every byte: what comes before is there, and nothing that was not written."""
    book.append(PAYLOADS, {"s": 3})
    data = _segments(folder)[0].read_bytes()
    damaged = tmp_path / "damaged.log"

    for place in range(len(data)):
        damaged.write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
        found = list(journal.read(damaged))
        assert found == PAYLOADS[: len(found)]
        assert len(found) < len(PAYLOADS)


def test_pages_of_zeros_are_no_records(book: Journal, folder: Path) -> None:
    """A power cut leaves them where the size was written and the data was not."""
    book.append(PAYLOADS, {"s": 3})
    with _segments(folder)[0].open("ab") as file:
        file.write(bytes(4096))

    assert _all(folder) == PAYLOADS


def test_a_damaged_segment_does_not_cost_the_next(book: Journal, folder: Path) -> None:
    """Each segment ends where it can be read to."""
    book.append([b"{1}", b"{2}"], {"s": 2})
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
        with file_limit(size + room), pytest.raises(OSError, match="File too large"):
            book.append([b"{" + b"2" * 60 + b"}"], {"s": 2})
        assert _segments(folder)[0].stat().st_size == size

    book.append([b"{3}"], {"s": 2})
    assert _all(folder) == [b"{1}", b"{3}"]


def test_nothing_follows_half_a_record(book: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where even the cut fails, the next append begins a new segment."""
    book.append([b"{1}"], {"s": 1})

    def refuse(*_: object) -> None:
        raise OSError("cannot cut")

    with monkeypatch.context() as patch, file_limit(20):
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(OSError, match="cannot cut"):
            book.append([b"{" + b"2" * 60 + b"}"], {"s": 2})

    book.append([b"{3}"], {"s": 2})
    assert _all(folder) == [b"{1}", b"{3}"]
    assert len(_segments(folder)) == 2


def test_a_full_segment_says_so_and_the_next_begins_on_rotation(book: Journal, folder: Path) -> None:
    """Sessions that pin the old ones are named, so that they can be settled."""
    book.append([b"{" + b"x" * 900 + b"}"], {"a": 1})
    before = book.full
    book.append([b"{" + b"x" * 900 + b"}"], {"b": 1})
    assert (before, book.full) == (False, True)

    assert book.rotate() == {"a", "b"}
    book.append([b"{}"], {"c": 1})

    assert len(_segments(folder)) == 2
    assert not book.full


def test_a_segment_goes_once_all_its_sessions_are_settled(book: Journal, folder: Path) -> None:
    """Not before, and never before an older one: a `forget` must not outlive what it is about."""
    book.append([b"{1}"], {"a": 10})
    book.append([b"{2}"], {"b": 5})
    book.rotate()
    book.append([b"{3}"], {"a": 20})
    book.rotate()
    book.append([b"{4}"], {"c": 1})

    book.settle("a", 20)
    book.trim()
    assert _all(folder) == [b"{1}", b"{2}", b"{3}", b"{4}"]
    book.settle("b", 4)
    book.trim()
    assert len(_segments(folder)) == 3
    book.settle("b", 5)
    book.trim()
    assert _all(folder) == [b"{4}"]


def test_the_segment_in_use_is_emptied_when_nothing_in_it_is_needed(book: Journal, folder: Path) -> None:
    """A quiet server's text does not lie about for days; and a new number is not needed for that."""
    book.append([b"{1}"], {"a": 1})
    book.settle("a", 1)
    book.trim()
    book.trim()
    assert [path.stat().st_size for path in _segments(folder)] == [0]

    book.append([b"{2}"], {"a": 2})

    assert _all(folder) == [b"{2}"]


def test_to_forget_is_a_record_where_there_are_records(book: Journal, folder: Path) -> None:
    """In an empty journal there is nothing that a replay could bring back."""
    book.forget(["nobody"])
    assert _segments(folder) == []

    book.append([b"{1}"], {"a": 1})
    book.forget(["a", "b"])

    assert _all(folder) == [b"{1}", b"-a", b"-b"]


def test_what_could_not_be_synced_is_taken_back(book: Journal, folder: Path) -> None:
    """And what comes next is in a new file, as nobody knows what the disk has of the old one."""
    book.append([b"{1}"], {"a": 1})
    end = book.end
    book.append([b"{2}"], {"a": 2})

    book.retract(end, {"a": 1})
    book.append([b"{3}"], {"a": 2})

    assert [list(journal.read(path)) for path in _segments(folder)] == [[b"{1}"], [b"{3}"]]
    assert book.rotate() == {"a"}
    book.settle("a", 2)
    book.trim()
    assert _segments(folder) == []


def test_segments_of_another_life_are_found_in_order(book: Journal, folder: Path) -> None:
    """By number, not by name, and the next number is a new one; other files are none of ours."""
    for name in ("00000009.log", "100000000.log", "00000010.log", "notes.log", "probe"):
        (folder / name).touch()

    left = Journal(folder)

    assert [path.stem for path in left.open()] == ["00000009", "00000010", "100000000"]
    left.append([b"{}"], {})
    assert (folder / "100000001.log").exists()
    left.close()


def test_nobody_else_may_read_it(book: Journal, folder: Path) -> None:
    """Conversations are private on a shared machine, too."""
    book.append([b"{}"], {})

    assert folder.stat().st_mode & 0o777 == 0o700
    assert _segments(folder)[0].stat().st_mode & 0o777 == 0o600
