"""Inbox: what other nodes send to this one: commands that it executes, and the results of those that it sent."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import structlog

from ..errors import AskbotError, Internal, LogMoved, Overloaded, StoreError
from ..hub.placement import OwnedElsewhere, Sessions
from ..store.redis.connections import RedisConnections
from ..store.redis.scripts import publication
from ..store.redis.subscriptions import Subscriptions
from .codec import (
    Executed,
    Failed,
    HandoverQueued,
    Message,
    NotOwner,
    Request,
    Result,
    ResumeRequest,
    decode_message,
    encode_message,
)
from .keys import channel_of

REPLY_SECONDS = 2.0  # after which a request without a result is sent again
RESULT_SECONDS = 60.0  # for which a result is kept: a request that comes again gets it
MAX_EXECUTING = 4096  # commands of other nodes at the same time

log = structlog.get_logger(__name__)


class Inbox:
    """Messages between nodes, over a sharded channel of each. One that is lost is sent again by who waits for it."""

    def __init__(
        self, connections: RedisConnections, node: str, sessions: Sessions, on_handover: Callable[[], None]
    ) -> None:
        """`sessions` are those of this node; `on_handover` is called where a draining node has handed sessions over."""
        self._connections = connections
        self._node = node
        self._sessions = sessions
        self._on_handover = on_handover
        self._loop = asyncio.get_running_loop()
        self._subscriptions = Subscriptions(connections, on_message=self._on_message, on_gap=lambda _: None)
        self._awaited: dict[str, asyncio.Future[Result]] = {}  # by the request's id
        self._results: OrderedDict[str, tuple[float, Result | None]] = OrderedDict()  # until when; None: it runs
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to listen. Raises `StoreError`."""
        await self._subscriptions.subscribe(channel_of(self._node))

    async def request(self, node: str, request: Request | ResumeRequest) -> tuple[Result | None, bool]:
        """Have another node do something.

        Returns the result, None where none came in time, and whether the node may have got it. Raises `StoreError`.
        """
        awaited = self._awaited[request.id] = self._loop.create_future()
        try:
            listeners = await self.send(node, request)
            if listeners:
                await asyncio.wait([awaited], timeout=REPLY_SECONDS)
            return awaited.result() if awaited.done() else None, bool(listeners)
        finally:
            del self._awaited[request.id]

    async def send(self, node: str, message: Message) -> int:
        """Send a message; returns how many got it: 0 or 1. Raises `StoreError`."""
        listeners = await self._connections.run(publication(channel_of(node), encode_message(message)))
        return listeners if isinstance(listeners, int) else 0

    def _on_message(self, _: str, data: bytes) -> None:
        try:
            message = decode_message(data)
        except ValueError:
            log.warning("node_message_rejected", size=len(data))  # of a later version; its sender gives up in time
            return
        match message:
            case Request() | ResumeRequest():
                self._on_request(message)
            case HandoverQueued():
                self._on_handover()
            case _:
                awaited = self._awaited.get(message.id)
                if awaited is not None and not awaited.done():
                    awaited.set_result(message)

    # --- requests of other nodes -------------------------------------------------------------------------------------

    def _on_request(self, request: Request | ResumeRequest) -> None:
        self._drop_old_results()
        if request.id in self._results:
            _, result = self._results[request.id]
            if result is not None:
                self._spawn(self._reply(request, result))
            return
        if len(self._tasks) >= MAX_EXECUTING:
            self._spawn(self._reply(request, Failed(request.id, Overloaded(retry_after=1.0))))
            return
        self._results[request.id] = self._loop.time() + RESULT_SECONDS, None
        self._spawn(self._run(request))

    async def _run(self, request: Request | ResumeRequest) -> None:
        try:
            result: Result = Executed(request.id, await self._execute(request))
        except (OwnedElsewhere, LogMoved):
            result = NotOwner(request.id)
        except AskbotError as error:
            result = Failed(request.id, error)
        except Exception:  # a fault in one command must not end another
            log.exception("forwarded_command_failed")
            result = Failed(request.id, Internal())
        if isinstance(result, NotOwner):
            del self._results[request.id]  # it may be the owner when it is asked again
        else:
            self._results[request.id] = self._loop.time() + RESULT_SECONDS, result
            self._results.move_to_end(request.id)
        await self._reply(request, result)

    async def _execute(self, request: Request | ResumeRequest) -> int:
        if isinstance(request, Request):
            return await self._sessions.execute_forwarded(request.forwarded)
        await self._sessions.take_over(request.session, instead_of=self._node)
        return 0

    async def _reply(self, request: Request | ResumeRequest, result: Result) -> None:
        try:
            await self.send(request.sender, result)
        except StoreError:
            log.debug("node_reply_failed")  # the request is sent again

    def _drop_old_results(self) -> None:
        now = self._loop.time()
        while self._results:
            id, (until, result) = next(iter(self._results.items()))
            if result is None or until > now:
                return
            del self._results[id]

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop listening; commands that run are executed to their end, and their results are sent."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=REPLY_SECONDS)
        await self._subscriptions.close()
