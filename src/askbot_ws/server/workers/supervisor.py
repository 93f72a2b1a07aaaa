"""Supervisor: holds the listening sockets, and starts, watches, replaces and ends the workers that serve on them."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from ...errors import ConfigError
from .channel import ChannelClosed, Facts
from .group import FIRST_ANSWER_SECONDS, LAST_ANSWER_SECONDS, merge_faults
from .totals import Family, Snapshot, add_up, lasting
from .worker_process import COMMAND, WorkerDied, WorkerProcess

STEADY_SECONDS = 10.0  # a worker that lived for so long is started again at once
MIN_BACKOFF_SECONDS = 0.5  # before another one is; doubled each time
MAX_BACKOFF_SECONDS = 30.0
MAX_FIRST_STARTS = 3  # of a worker that ends before it serves, when the server starts
START_SECONDS = 120.0  # for a worker to serve
END_SECONDS = 8.0  # beyond the time that it says, for a worker to end
RELOAD_SECONDS = 10.0

log = structlog.get_logger(__name__)


class StartError(Exception):
    """No worker can be started; the message says why."""


@dataclass(slots=True)
class Plan:
    """What the supervisor keeps running.

    Attributes:
        count: How many workers.
        sockets: On which they listen.
        flags: The settings of the command line, which each worker reads together with the other sources.
        drain: For how long a worker may drain, in seconds, as long as it has not said so itself.
        adopted: Whether systemd has opened the sockets.
        command: What starts a worker, before its number and those of its descriptors.
    """

    count: int
    sockets: Sequence[socket.socket]
    flags: Mapping[str, object]
    drain: float
    adopted: bool = False
    command: Sequence[str] = field(default=COMMAND)


class Supervisor:
    """Keeps workers running. `start` begins, `drain` ends."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._facts: Facts = {
            "flags": {name: value for name, value in plan.flags.items() if value is not None},
            "adopted": plan.adopted,
            "ticket_secret": secrets.token_urlsafe(32),
        }
        self._workers: list[WorkerProcess] = []
        self._ended: Snapshot = []  # counters of those that have ended
        self._early_ends: dict[int, int] = {}  # in a row, by the worker's number
        self._restarts = 0
        self._restarting: set[int] = set()  # numbers of workers that are started in the place of others
        self._ending = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._starts: set[asyncio.Task[None]] = set()  # those of them that start a worker
        self.gave_up: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def workers(self) -> Sequence[WorkerProcess]:
        """The workers whose processes have not ended."""
        return tuple(self._workers)

    async def start(self) -> None:
        """Start all workers, and wait until they serve. Raises `StartError`, or `ConfigError` with what one said."""
        starts = [asyncio.create_task(self._start_first(number)) for number in range(1, self._plan.count + 1)]
        try:
            await asyncio.gather(*starts)
        finally:
            await _cancel(starts)

    async def _start_first(self, number: int) -> None:
        for attempt in range(1, MAX_FIRST_STARTS + 1):
            try:
                await self._start_worker(number)
            except WorkerDied as error:
                log.error("worker_start_failed", worker=number, reason=str(error))  # noqa: TRY400 - the reason says all
                if attempt == MAX_FIRST_STARTS:
                    reason = str(error).rstrip(".")
                    raise StartError(f"worker {number} can't be started: {reason}. Its log lines say why.") from error
                await asyncio.sleep(self._backoff(attempt))
            else:
                return

    async def _start_worker(self, number: int) -> WorkerProcess:
        """Start a worker, and return it once it serves. Raises `ConfigError` and `WorkerDied`."""
        plan = self._plan
        if self._ending.is_set():
            raise WorkerDied("the server ends")
        try:
            worker = await WorkerProcess.start(
                number, plan.sockets, self._facts, on_asked=self._on_asked, command=plan.command
            )
        except OSError as error:
            raise WorkerDied(f"there can be no process: {error.strerror or error}") from error
        self._workers.append(worker)
        self._spawn(self._watch(worker))
        if self._ending.is_set():
            worker.drain()
        try:
            async with asyncio.timeout(START_SECONDS):
                await worker.serving()
        except TimeoutError:
            worker.kill()
            raise WorkerDied(f"it did not serve within {START_SECONDS:.0f} seconds") from None
        log.info("worker_started", worker=number, pid=worker.pid)
        return worker

    async def _watch(self, worker: WorkerProcess) -> None:
        """Wait for a worker's end, keep its counters, and start another one unless it was told to end."""
        served_before = asyncio.create_task(self._has_served(worker))
        code = await worker.exited
        served = await served_before
        self._workers.remove(worker)
        self._ended = add_up([self._ended, lasting(worker.last_metrics)])
        if not served:
            return  # who has started it says so
        if worker.draining or self._ending.is_set():
            log.info("worker_stopped", worker=worker.number, pid=worker.pid, code=code)
        else:
            log.error("worker_exited", worker=worker.number, pid=worker.pid, code=code, lived_s=round(worker.lived, 3))
            self._ensure(worker.number, steady=worker.lived >= STEADY_SECONDS)

    async def _has_served(self, worker: WorkerProcess) -> bool:
        try:
            await worker.serving()
        except (ConfigError, WorkerDied):
            return False
        return True

    def _ensure(self, number: int, *, steady: bool) -> None:
        """Start a worker of this number, unless there is one."""
        if number not in self._restarting and self._worker_of(number) is None:
            self._restarting.add(number)
            restart = self._spawn(self._restart(number, steady=steady))
            self._starts.add(restart)
            restart.add_done_callback(self._starts.discard)
            restart.add_done_callback(lambda _: self._restarting.discard(number))

    def _worker_of(self, number: int) -> WorkerProcess | None:
        return next((worker for worker in self._workers if worker.number == number and not worker.draining), None)

    async def _restart(self, number: int, *, steady: bool) -> None:
        """Start a worker in the place of one that has ended, however often it takes."""
        failures = 0 if steady else self._early_ends.get(number, 0) + 1
        while True:
            self._early_ends[number] = failures
            await asyncio.sleep(self._backoff(failures))
            self._restarts += 1
            try:
                await self._start_worker(number)
            except (ConfigError, WorkerDied) as error:
                if self._ending.is_set():
                    return
                failures += 1
                if isinstance(error, ConfigError) and not any(each.is_serving for each in self._workers):
                    self._give_up(str(error))
                    return
                log.error("worker_start_failed", worker=number, reason=str(error))  # noqa: TRY400 - the reason says all
            else:
                return

    @staticmethod
    def _backoff(failures: int) -> float:
        """Return for how many seconds to wait after so many failures in a row."""
        return min(MAX_BACKOFF_SECONDS, MIN_BACKOFF_SECONDS * 2 ** (failures - 1)) if failures else 0.0

    def _give_up(self, message: str) -> None:
        if not self.gave_up.done():
            self.gave_up.set_result(message)

    # --- what concerns all workers -----------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Have all workers read their settings and certificates again; each logs what comes of it."""
        await self._ask_all("reload", self._serving(), patience=RELOAD_SECONDS, max_seconds=RELOAD_SECONDS)

    async def replace_all(self) -> None:
        """Replace the workers one after the other: a new one serves before the old one drains.

        Where a new one can't be started, the old ones stay.
        """
        log.info("rolling_restart_started", workers=len(self._workers))
        for number in range(1, self._plan.count + 1):
            old = self._worker_of(number)
            if old is None:  # it is being started
                continue
            try:
                await self._start_worker(number)
            except (ConfigError, WorkerDied) as error:
                log.error("rolling_restart_failed", worker=number, reason=str(error))  # noqa: TRY400 - as above
                self._ensure(number, steady=True)
                return
            old.drain()
            await self._wait_for(old)
        log.info("rolling_restart_finished", workers=len(self._workers))

    def stop_spawning(self) -> None:
        """Start no worker any more."""
        self._ending.set()

    async def drain(self) -> bool:
        """Drain all workers at the same time. Returns whether they have ended by themselves in the time they have."""
        self.stop_spawning()
        for worker in self._workers:
            worker.drain()
        return all(await asyncio.gather(*map(self._wait_for, self._workers)))

    async def stop(self) -> None:
        """End all workers at once."""
        self.stop_spawning()
        for worker in self._workers:
            worker.stop()
        await asyncio.gather(*(worker.wait_or_kill(max_seconds=END_SECONDS / 2) for worker in self._workers))

    async def _wait_for(self, worker: WorkerProcess) -> bool:
        own = self._plan.drain if worker.end_seconds is None else worker.end_seconds  # a new one has new settings
        in_time = await worker.wait_or_kill(max_seconds=own + END_SECONDS)
        if not in_time:
            log.error("worker_killed", worker=worker.number, pid=worker.pid, limit_s=own + END_SECONDS)
        return in_time

    async def close(self) -> None:
        """Kill what is left."""
        self.stop_spawning()
        await _cancel(self._starts)  # first: a process that one of them has just made would be missed
        for worker in self._workers:
            worker.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)  # the watches, which note the ends

    def _serving(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers if worker.is_serving]

    # --- what workers ask --------------------------------------------------------------------------------------------

    async def _on_asked(self, word: str, facts: Facts) -> object:
        del facts
        match word:
            case "all metrics":
                return await self.metrics()
            case "all faults":
                return await self.faults()
            case _:
                raise ChannelClosed(word)

    async def metrics(self) -> Snapshot:
        """Return the metrics of all workers added up, with what those have counted that have ended.

        Of a worker that does not answer in `FIRST_ANSWER_SECONDS`, its counters as they were known last.
        """
        serving = self._serving()
        reads = [asyncio.create_task(each.fetch_metrics(max_seconds=FIRST_ANSWER_SECONDS)) for each in serving]
        results = await asyncio.gather(*reads, return_exceptions=True)
        answered = sum(not isinstance(result, BaseException) for result in results)
        totals = add_up([*(worker.last_metrics for worker in self._workers), self._ended])
        return [*totals, *worker_metrics(answered, len(self._workers) - answered, self._restarts)]

    async def faults(self) -> dict[str, str | None]:
        """Return what is wrong in any worker that takes connections."""
        answers = await self._ask_all(
            "faults", self._serving(), patience=FIRST_ANSWER_SECONDS, max_seconds=LAST_ANSWER_SECONDS
        )
        return merge_faults([answer for answer in answers if isinstance(answer, dict)])

    async def _ask_all(
        self, word: str, workers: Sequence[WorkerProcess], *, patience: float, max_seconds: float
    ) -> list[object]:
        """Return the answers that came in `patience` seconds; if none has, wait for the first, up to `max_seconds`."""
        questions = [asyncio.create_task(each.ask(word, max_seconds=max_seconds)) for each in workers]
        if not questions:
            return []
        done, waiting = await asyncio.wait(questions, timeout=patience)
        if waiting and not any(question.exception() is None for question in done):
            more, waiting = await asyncio.wait(
                waiting, timeout=max_seconds - patience, return_when=asyncio.FIRST_COMPLETED
            )
            done |= more
        for question in waiting:
            question.cancel()
        for question in done:
            if (error := question.exception()) is not None and not isinstance(error, ChannelClosed | TimeoutError):
                raise error
        return [question.result() for question in questions if question in done and question.exception() is None]

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait until they have ended."""
    cancelled = tuple(tasks)
    for task in cancelled:
        task.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)


def worker_metrics(answering: int, silent: int, restarts: int) -> Snapshot:
    """Return the metrics of the supervisor's own, of these numbers of workers and of restarts."""
    states = {"answering": answering, "silent": silent}
    return [
        Family(
            name="askbot_workers",
            type="gauge",
            help="Worker processes, by whether they answer.",
            samples=[("askbot_workers", {"state": state}, number) for state, number in states.items()],
        ),
        Family(
            name="askbot_worker_restarts",
            type="counter",
            help="Workers that were started in the place of one that had ended unasked.",
            samples=[("askbot_worker_restarts_total", {}, restarts)],
        ),
    ]
