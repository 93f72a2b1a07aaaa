"""SQLiteStore where writing, syncing or cutting the journal fails: what was refused never comes back."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from askbot_ws.errors import SessionNotFound, StoreError
from askbot_ws.events import Event, Token
from askbot_ws.store import Failures
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import EventFactory, append, flatten, flush, limited_file_size, make_batch, read_merged, try_append
from .files import segments

Fail = Callable[[str], bool]  # whether the call of this name, of those that the operating system is asked for, fails


@contextmanager
def disk(fail: Fail) -> Generator[None]:
    """A disk on which some of these calls fail with EIO; of what is to be written, a part is."""
    real = {name: getattr(os, name) for name in ("write", "ftruncate", "fdatasync", "unlink")}

    def call(name: str, *arguments: object) -> object:
        if not fail(name):
            return real[name](*arguments)
        if name == "write":
            fd, data = arguments
            assert isinstance(data, bytes)
            real["write"](fd, data[: -len(data) // 3])
        raise OSError(errno.EIO, f"{name} failed")

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(os, name, partial(call, name))
        yield


def refused(head: int, session: str = "s") -> list[Event]:
    """Text that nobody may ever see: more than one event, so that a part of it can be whole records."""
    return [
        Token(session=session, turn="t", seq=head + 7, text="refused"),
        Token(session=session, turn="t", seq=head + 14, text=" at all"),
    ]


async def after_a_crash(path: Path, store: SQLiteStore, factory: EventFactory) -> None:
    """What the next process has is what was acknowledged."""
    await store.close_without_flush()
    again = SQLiteStore(path)
    await again.open()
    assert flatten(await read_merged(again, factory.session)) == flatten(factory.events)
    await again.close()


BROKEN = [
    (False, {"write"}),
    (False, {"write", "ftruncate"}),
    (True, {"write"}),
    (True, {"write", "ftruncate"}),
    (True, {"fdatasync"}),
    (True, {"fdatasync", "ftruncate"}),
]


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize(("fsync", "broken"), BROKEN)
async def test_what_was_refused_is_never_replayed(path: Path, broken: set[str], *, fsync: bool, more: bool) -> None:
    """Whether anything follows in its place or not; the disk fails for one append, and may recover within it."""
    store = SQLiteStore(path, fsync=fsync)
    await store.open()
    log, factory = store.create("s"), EventFactory()
    await append(store, factory.question("t"), factory.token("t", "acknowledged "))
    failing = set(broken)

    def once(name: str) -> bool:
        if name in failing:
            failing.discard(name)
            return True
        return False

    with disk(once):
        assert (await try_append(store, *refused(factory.head))).keys() == {"s"}
    assert not failing
    assert log.head == factory.head
    if more:
        await append(store, factory.token("t", "other text, "), factory.token("t", "longer than that"))

    await after_a_crash(path, store, factory)


@pytest.mark.parametrize("fsync", [False, True])
async def test_a_disk_that_takes_nothing_for_a_while_costs_what_was_asked_then(path: Path, *, fsync: bool) -> None:
    """Nothing can be written, synced or cut: every append is refused, no heap of files is left; then all is well."""
    store = SQLiteStore(path, fsync=fsync)
    await store.open()
    log, factory = store.create("s"), EventFactory()
    await append(store, factory.question("t"))
    with disk(lambda name: True):
        for _ in range(20):
            assert await try_append(store, *refused(factory.head))
    assert len(segments(path)) <= 2
    assert log.head == factory.head
    await append(store, factory.token("t", "text"))

    await after_a_crash(path, store, factory)


@contextmanager
def slow_sync(*, fails: bool, then_fails: bool = False) -> Generator[tuple[asyncio.Event, Callable[[], None]]]:
    """The next sync begins (the event), and ends when it is told to; the one after that is as fast as ever."""
    loop, began, go = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    real, calls = os.fdatasync, itertools.count()

    def sync(fd: int) -> None:
        number = next(calls)
        if number == 0:
            loop.call_soon_threadsafe(began.set)
            assert go.wait(10)
        if (fails, then_fails, False)[min(number, 2)]:
            raise OSError(errno.EIO, "sync failed")
        real(fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdatasync", sync)
        yield began, go.set


def synced(outcome: Failures | Awaitable[Failures]) -> asyncio.Future[Failures]:
    """Of an append that waits for the disk: the very future, as who waits for it goes on at once."""
    assert isinstance(outcome, asyncio.Future)
    return outcome


async def _forget(store: SQLiteStore) -> None:
    await store.forget("other")


async def _sweep(store: SQLiteStore) -> None:
    store.release("other")
    await flush(store)
    assert await store.sweep(idle=-1) == 1


async def _flush(store: SQLiteStore) -> None:
    await flush(store)


async def _append(store: SQLiteStore) -> None:
    await append(store, *EventFactory("fresh", head=store.create("fresh").head).turn("t", "x" * 3_000))


MEANWHILE = {"a forget": _forget, "a sweep": _sweep, "a flush": _flush, "an append that fills the segment": _append}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("meanwhile", MEANWHILE)
async def test_a_sync_that_meets_something_else_decides_on_its_own_records_only(
    path: Path, meanwhile: str, *, fails: bool
) -> None:
    """Whatever is done to the journal while the disk takes its time; what was shown then is what is there later."""
    store = SQLiteStore(path, fsync=True, segment_bytes=2_000)
    await store.open()
    log, factory = store.create("s"), EventFactory()
    store.create("other")
    await append(store, factory.question("t"), *EventFactory("other").turn("t", "x" * 1_000))
    with slow_sync(fails=fails) as (began, end):
        text = Token(session="s", turn="t", seq=factory.head + 4, text="text")
        adding = asyncio.ensure_future(try_append(store, text))
        await began.wait()
        doing = asyncio.ensure_future(MEANWHILE[meanwhile](store))
        for _ in range(20):
            await asyncio.sleep(0.002)
        end()
        failures = await adding
        await doing

    assert failures.keys() == ({"s"} if fails else set())
    if not fails:
        factory.token("t", "text")
    assert flatten(log.read_merged(after=0)) == flatten(factory.events)
    await append(store, factory.token("t", "and other text"))

    await after_a_crash(path, store, factory)


@pytest.mark.parametrize("meanwhile", ["a forget", "a sweep"])
async def test_a_failed_sync_takes_back_its_own_records_only(path: Path, meanwhile: str) -> None:
    """A deletion that waits for a sync meets the next append's, which begins at once, and fails."""
    store = SQLiteStore(path, fsync=True)
    await store.open()
    log, factory = store.create("s"), EventFactory()
    store.create("other")
    await append(store, factory.question("t"), *EventFactory("other").turn("t", "text"))
    if meanwhile == "a sweep":
        store.release("other")
        await flush(store)
    failing = Token(session="s", turn="t", seq=factory.head + 4 + 7, text="refused")
    next_append = list[asyncio.Future[Failures]]()
    with slow_sync(fails=False, then_fails=True) as (began, end):
        adding = synced(store.append(make_batch(factory.token("t", "text"))))
        adding.add_done_callback(lambda _: next_append.append(synced(store.append(make_batch(failing)))))
        await began.wait()
        doing = asyncio.ensure_future(store.forget("other") if meanwhile == "a forget" else store.sweep(idle=-1))
        for _ in range(20):
            await asyncio.sleep(0.002)
        end()
        assert await adding == {}
        with contextlib.suppress(StoreError):  # it may be the deletion that meets the fault
            await doing
        [second] = next_append
        refused = await second

    if not refused:
        factory.token("t", "refused")
    assert flatten(log.read_merged(after=0)) == flatten(factory.events)
    await append(store, factory.token("t", "and other text, longer"))

    await after_a_crash(path, store, factory)


async def test_a_forget_that_cannot_be_synced_has_not_happened(path: Path) -> None:
    """With fsync it is an error; the session is as it was, also for whoever was just loading it."""
    store = SQLiteStore(path, fsync=True)
    await store.open()
    factory = EventFactory()
    store.create("s")
    await append(store, *factory.turn("t", "text"))
    store.release("s")
    await flush(store)
    with slow_sync(fails=True) as (began, end):
        forgetting = asyncio.ensure_future(store.forget("s"))
        await began.wait()
        loading = asyncio.ensure_future(store.load("s"))
        for _ in range(20):
            await asyncio.sleep(0.002)
        end()
        with pytest.raises(StoreError):
            await forgetting

    assert (await loading).head == factory.head
    await append(store, *EventFactory(head=factory.head).turn("t2", "more"))
    assert len(await store.turns("s", limit=9)) == 2
    await store.close()


async def test_a_load_that_overlaps_a_forget_finds_nothing(path: Path) -> None:
    """With fsync, where the forget waits for the disk: a log that is handed out can be written to."""
    store = SQLiteStore(path, fsync=True)
    await store.open()
    store.create("s")
    await append(store, *EventFactory().turn("t", "text"))
    store.release("s")
    await flush(store)
    with slow_sync(fails=False) as (began, end):
        forgetting = asyncio.ensure_future(store.forget("s"))
        await began.wait()
        loading = asyncio.ensure_future(store.load("s"))
        for _ in range(20):
            await asyncio.sleep(0.002)
        end()
        await forgetting

    with pytest.raises(SessionNotFound):
        await loading
    await store.close()


async def test_to_release_what_is_being_stored_loses_nothing(path: Path) -> None:
    """A page that asks and goes: its log stays in memory until the disk has it."""
    store = SQLiteStore(path, fsync=True)
    await store.open()
    store.create("s")
    factory = EventFactory()
    await append(store, *factory.turn("t", "text"))
    await flush(store)
    with slow_sync(fails=False) as (began, end):
        adding = asyncio.ensure_future(try_append(store, factory.question("t2")))
        await began.wait()
        store.release("s")
        await flush(store)
        end()
        assert await adding == {}
    assert (await store.load("s")).head == factory.head
    await append(store, factory.done("t2"))

    await after_a_crash(path, store, factory)


@pytest.mark.parametrize("fsync", [False, True])
async def test_what_does_not_fit_costs_only_whose_it_is(path: Path, *, fsync: bool) -> None:
    """Together the tick's events are more than the file may hold; one by one, one of them is."""
    store = SQLiteStore(path, fsync=fsync)
    await store.open()
    big, small = EventFactory("big"), EventFactory("small")
    for factory in (big, small):
        store.create(factory.session)
    await append(store, big.question("t"), small.question("t"))
    with limited_file_size(segments(path)[0].stat().st_size + 500):
        too_much = Token(session="big", turn="t", seq=big.head + 5_000, text="x" * 5_000)
        failures = await try_append(store, too_much, small.token("t", "text"))

    assert failures.keys() == {"big"}
    assert (await store.load("big")).head == big.head
    await after_a_crash(path, store, small)
