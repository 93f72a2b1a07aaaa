"""askbot.v1 connection: executes a client's frames and sends their answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never
from urllib.parse import parse_qs

import structlog

from ... import __version__
from ...core import commands
from ...core.access import check_change, check_create, check_list, check_read
from ...core.cursor import REPLAYED_TURNS, can_resume
from ...core.principal import Principal
from ...errors import (
    AskbotError,
    Forbidden,
    FrameError,
    Internal,
    InvalidFrame,
    Overloaded,
    SessionNotFound,
    StoreError,
)
from ...events import MAX_SEQ, Options
from ...hub import Hub, Topic
from ..connection import Connection, ConnectionRates, MessageSocket, SessionReader
from .frames import (
    PROTOCOL,
    Ask,
    Attach,
    Auth,
    Authorized,
    Cancel,
    ClientFrame,
    Detach,
    Edit,
    Forget,
    Fork,
    Frame,
    GoingAway,
    History,
    HistoryRequest,
    Limits,
    Ping,
    Pong,
    Ready,
    Retry,
    SessionEntry,
    Sessions,
    SessionsRequest,
    TitleRequest,
    decode_client,
    encode,
    error_frame,
)

MAX_SESSIONS = 100  # attached to one connection
AUTHENTICATION_SECONDS = 8.0  # for checking the credential of an `auth`
MAX_FRAMES_IN_FLIGHT = 32  # of one connection, executed at the same time
RECONNECT_AFTER_SECONDS = 0.5  # in `going_away`; clients wait a random time beyond it

log = structlog.get_logger(__name__)
NO_SESSION = "*"  # in the place of a session's id: for frames that are about none
SessionFrame: TypeAlias = (
    Ask | Cancel | Retry | Edit | HistoryRequest | Attach | Detach | Fork | TitleRequest | SessionsRequest | Forget
)


@dataclass(frozen=True, slots=True)
class AskbotLimits:
    """The limits of a connection: those that `ready` advertises, and its rates."""

    advertised: Limits
    rates: ConnectionRates


class AskbotConnection(Connection):
    """A client that speaks askbot.v1. Frames of one session are executed in order, those of others concurrently."""

    protocol = PROTOCOL

    def __init__(self, socket: MessageSocket, hub: Hub, principal: Principal, limits: AskbotLimits) -> None:
        super().__init__(socket, hub, principal, limits.rates)
        self._limits = limits.advertised
        self._tasks: dict[asyncio.Task[None], str] = {}  # one for each frame in flight -> its session
        self._last_tasks: dict[str, asyncio.Task[None]] = {}  # session -> the newest of them
        self._forks: set[asyncio.Task[None]] = set()  # those that may attach a further session

    # --- the handshake -----------------------------------------------------------------------------------------------

    async def attach_first(self, query: str) -> None:
        """Attach the session that the handshake's query names, or a new one; closes the connection on errors."""
        given = parse_qs(query)
        session, after, history = (given.get(name, [None])[-1] for name in ("session", "after", "log"))
        try:
            seq = None if after is None else _parse_seq(after)
            session = session or self.principal.session  # a credential for one session needs not name it
            if session is None:
                await self._attach(self.hub.create(self.principal), seq, history, resumed=False)
            elif seq is not None and not self.may_resume(session, seq):
                await self.socket.close(4429, "too many resumes from one place")
            else:
                topic = await self.hub.resume(self.principal, session, after=seq, history=history)
                await self._attach(topic, seq, history, resumed=True)
        except FrameError as error:
            self._send_error(error, None)
            await self.socket.close(1008, error.message[:100])
        except SessionNotFound as error:
            self._send_error(error, None)
            await self.socket.close(4404, error.message)
        except Forbidden as error:
            self._send_error(error, None)
            await self.socket.close(4403, error.message)
        except AskbotError as error:
            self._send_error(error, None)
            await self.socket.close(1013, error.message[:100])

    async def _attach(
        self, topic: Topic, after: int | None, history: str | None, *, resumed: bool, id: str | None = None
    ) -> None:
        """Attach a session: send `ready`, then all events after it, with no gap and no overlap.

        Where the store raises, an earlier reader of the session on this connection stays.
        """
        reader = SessionReader(topic, self.socket, self.hub, self._on_session_closed)
        self.hub.attach(topic, reader)
        try:
            start = await self._replay_start(topic, after, history)
            self._check_session_count(topic.session)  # others may have been attached meanwhile
        except BaseException:
            reader.close()
            raise
        before = self.readers.get(topic.session)
        if before is not None:
            before.close()
        self.readers[topic.session] = reader
        models = self.hub.models_of(self.principal)
        self.send(
            Ready(
                id=id,
                session=topic.session,
                seq=topic.log.head,
                from_=start,
                log=topic.log.history,
                resumed=resumed,
                protocol=PROTOCOL,
                server=f"askbot-ws/{__version__}",
                model=models[0],
                limits=self._limits_of_client(),
                models=models,
                title=topic.title,
                user=self.principal.user,
                expires=self.principal.expires,
            )
        )
        reader.start(start)
        log.debug("session_attached", session=topic.session, from_seq=start, head=topic.log.head, resumed=resumed)

    def _limits_of_client(self) -> Limits:
        """Return what the server accepts of this principal."""
        allowance = self.hub.admission.allowances.of(self.principal.role)
        return replace(
            self._limits,
            max_tokens=allowance.max_tokens,
            temperature=None if allowance.temperature else False,
            questions_per_minute=allowance.rates.questions,
            tokens_per_day=allowance.tokens_per_day,
        )

    def _check_session_count(self, session: str | None) -> None:
        if session not in self.readers and len(self.readers) >= MAX_SESSIONS:
            raise InvalidFrame(f"session: {MAX_SESSIONS} are the most on one connection.")

    async def _replay_start(self, topic: Topic, after: int | None, history: str | None) -> int:
        """Return the `seq` after which to replay: the client's, where that is one of this history."""
        tail = topic.log
        if after is not None and can_resume(after, head=tail.head) and history in (None, tail.history):
            return after
        return await self.hub.store.replay_start(topic.session, turns=REPLAYED_TURNS) if tail.head else 0

    # --- sending -----------------------------------------------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        """Send a frame that is no event of a log."""
        self.socket.write(encode(frame))

    def _on_session_closed(self, reader: SessionReader, error: AskbotError) -> None:
        """Report that a session was deleted, or close the connection where it must be opened again."""
        self.detach(reader)
        if reader.muted and isinstance(error, SessionNotFound):
            return
        self.send(error_frame(error, session=reader.topic.session))
        if error.retryable:
            self._spawn(self.socket.close(1013, error.message[:100]), reader.topic.session)

    def _send_error(self, error: AskbotError, frame: ClientFrame | None, session: str = "") -> None:
        """Send an `error` that answers a frame; without a session, about the only one that is attached."""
        id = error.id if isinstance(error, FrameError) and error.id else frame.id if frame else None
        if not session and len(self.readers) == 1:
            session = next(iter(self.readers))
        self.send(error_frame(error, id=id, session=session or None))

    def announce_drain(self, *, drain_seconds: float) -> None:
        """Send `going_away`; a client that reads a running answer may stay for `drain_seconds`."""
        if self.socket.sent_at > 0:  # not before `ready`, which is the first frame
            busy = any(self.hub.is_busy(session) for session in self.readers)
            self.send(GoingAway(reconnect_after=drain_seconds if busy else RECONNECT_AFTER_SECONDS))

    # --- executing frames --------------------------------------------------------------------------------------------

    async def handle_frame(self, text: str) -> bool:
        """Start executing a frame; returns False where it is invalid."""
        try:
            frame = decode_client(text)
        except FrameError as error:
            self._send_error(error, None)
            return False
        try:
            self.hub.admission.check_frame(self.hub.admission.client_of(self.principal, self.address))
        except AskbotError as error:
            self._send_error(error, frame, getattr(frame, "session", None) or "")
            return True
        if isinstance(frame, Ping):
            self.send(Pong(id=frame.id))
            return True
        if isinstance(frame, Auth):
            return await self._authenticate(frame)
        if isinstance(frame, SessionsRequest):
            await self._start(frame, "", queue=NO_SESSION)
            return True
        session = "" if isinstance(frame, Attach) else self._only_session()
        if frame.session is not None:
            session = frame.session
        elif session is None:
            if self._tasks:
                await asyncio.wait(self._tasks)  # which session is meant depends on their outcome
            session = self._only_session() or ""
        log.debug("frame_received", type=frame.type, session=session or None)
        await self._start(frame, session, queue=session)
        return True

    async def _authenticate(self, frame: Auth) -> bool:
        """Replace the principal, before any further frame; returns False where the credential is not accepted."""
        try:
            async with asyncio.timeout(AUTHENTICATION_SECONDS):
                principal = await self.renew(frame.token)
        except TimeoutError:
            self._send_error(Overloaded("Credentials cannot be checked right now."), frame)
            return True
        except AskbotError as error:
            self._send_error(error, frame)
            return isinstance(error, Overloaded)
        self.send(Authorized(id=frame.id, user=principal.user or "", expires=principal.expires))
        return True

    async def _start(self, frame: SessionFrame, session: str, *, queue: str) -> None:
        """Start executing a frame behind those in flight of its queue; waits while there are too many in all."""
        if isinstance(frame, Ask) and session in self.readers and queue not in self._last_tasks:
            try:
                self.hub.check_load(session, frame.id)
            except Overloaded as error:
                self._send_error(error, frame, session)
                return
        task = self._spawn(self._execute_after(self._last_tasks.get(queue), frame, session), queue)
        if isinstance(frame, Fork):
            self._forks.add(task)
        if len(self._tasks) >= MAX_FRAMES_IN_FLIGHT:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    def _only_session(self) -> str | None:
        """Return the session of a frame that names none; None where frames in flight may still change it."""
        if len(self.readers) != 1 or self._forks:
            return None
        only = next(iter(self.readers))
        return only if {*self._tasks.values()} <= {only, NO_SESSION} else None

    def _spawn(self, work: Coroutine[None, None, None], session: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks[task] = session
        self._last_tasks[session] = task
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        session = self._tasks.pop(task)
        self._forks.discard(task)
        if self._last_tasks.get(session) is task:
            del self._last_tasks[session]

    async def wait_commands(self) -> None:
        """Wait for the frames in flight: the client can't know whether they were executed, and sends them again."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _execute_after(self, before: asyncio.Task[None] | None, frame: SessionFrame, session: str) -> None:
        if before is not None:
            await asyncio.wait([before])
        if not self.socket.writable:  # back-pressure: no more answers for a client that does not read
            await self.wait_writable()
        try:
            await self._execute(frame, session)
        except AskbotError as error:
            if isinstance(error, Internal | StoreError):
                log.warning("command_failed", type=frame.type, exc_info=isinstance(error, Internal))
            self._send_error(error, frame, session)
        except Exception:  # a fault in one connection must not end another
            log.exception("connection_failed")
            await self.socket.close(1011)

    async def _execute(self, frame: SessionFrame, session: str) -> None:
        """Execute a frame about this session, which it may not name itself; empty: none is attached."""
        self._check_allowed(frame, session)
        match frame:
            case Ask() | Cancel() | Retry() | Edit() | TitleRequest():
                self._reader_of(session)
                await self.hub.command(self.principal, session, _command_of(frame), address=self.address)
            case HistoryRequest():
                await self._send_history(self._reader_of(session).topic, frame)
            case Attach():
                await self._attach_another(frame)
            case Detach():
                self.detach(self._reader_of(session))
            case Fork():
                await self._fork(frame, session)
            case SessionsRequest():
                await self._send_sessions(frame)
            case Forget():
                await self._forget(frame)
            case _:
                assert_never(frame)

    def _check_allowed(self, frame: SessionFrame, session: str) -> None:
        """Raise `Forbidden` for a frame that a credential for one session, or for reading only, may not send."""
        match frame:
            case HistoryRequest() | Detach():
                check_read(self.principal, session or self.principal.session or "")
            case Attach() if frame.session is not None:
                check_read(self.principal, frame.session)
            case Attach() | Fork():
                check_create(self.principal)
            case SessionsRequest():
                check_list(self.principal)
            case Ask() | Cancel() | Retry() | Edit() | TitleRequest() | Forget():
                check_change(self.principal, session or self.principal.session or "")
            case _:
                assert_never(frame)

    def _reader_of(self, session: str) -> SessionReader:
        """Return the reader of a session. Raises `SessionNotFound`, or `InvalidFrame` where several could be meant."""
        if session in self.readers:
            return self.readers[session]
        if session:
            raise SessionNotFound("This session is not attached here.")
        if not self.readers:
            raise SessionNotFound("No session is attached.")
        raise InvalidFrame("session: more than one is attached, so say which.")

    async def _attach_another(self, frame: Attach) -> None:
        self._check_session_count(frame.session)
        if frame.session is None:
            topic = self.hub.create(self.principal)
        else:
            topic = await self.hub.resume(self.principal, frame.session, after=frame.after, history=frame.log)
        await self._attach(topic, frame.after, frame.log, resumed=frame.session is not None, id=frame.id)

    async def _fork(self, frame: Fork, session: str) -> None:
        """Fork a session, be it attached or not, and attach the new one."""
        if not session:
            session = self._reader_of(session).topic.session  # raises
        self._check_session_count(None)
        command = commands.Fork(frame.turn, id=frame.id)
        while True:
            forked = await self.hub.fork(
                self.principal, session, command, address=self.address
            )  # raises where the old session is not there
            try:
                topic = await self.hub.open(self.principal, forked.session)
                return await self._attach(topic, None, None, resumed=forked.existed, id=frame.id)
            except SessionNotFound:
                pass  # the fork was deleted meanwhile, so it is made again

    async def _forget(self, frame: Forget) -> None:
        await self.hub.resume(self.principal, frame.session)  # or another node makes it after this one has not found it
        reader = self.readers.get(frame.session)
        if reader is not None:
            reader.muted = True
        try:
            await self.hub.command(self.principal, frame.session, commands.Forget())
        finally:
            if reader is not None:
                reader.muted = False
        self._send_error(SessionNotFound("The session was forgotten."), frame, frame.session)

    async def _send_sessions(self, frame: SessionsRequest) -> None:
        page = await self.hub.list_sessions(self.principal, before=frame.before, limit=frame.limit)
        entries = tuple(
            SessionEntry(
                session=one.session,
                title=one.title or one.question,
                created=one.created,
                updated=one.updated,
                turns=one.turns,
                seq=one.seq,
                running=one.running,
            )
            for one in page.sessions
        )
        self.send(Sessions(id=frame.id, sessions=entries, more=page.more))

    async def _send_history(self, topic: Topic, frame: HistoryRequest) -> None:
        page = await self.hub.history(topic, before=frame.before, limit=frame.limit)
        self.send(History(session=topic.session, id=frame.id, turns=page.turns, more=page.more))


def _command_of(frame: Ask | Cancel | Retry | Edit | TitleRequest) -> commands.Command:
    """Convert a frame to the hub's command."""
    match frame:
        case Cancel():
            return commands.Cancel(turn=frame.turn)
        case TitleRequest():
            return commands.Title(frame.text)
        case Ask() | Retry() | Edit():
            options = Options(model=frame.model, temperature=frame.temperature, max_tokens=frame.max_tokens)
    match frame:
        case Ask():
            return commands.Ask(frame.text, id=frame.id, options=options, when_busy=frame.when_busy)
        case Retry():
            return commands.Retry(frame.turn, id=frame.id, options=options)
        case Edit():
            return commands.Edit(frame.turn, frame.text, id=frame.id, options=options)


def _parse_seq(text: str) -> int:
    """Parse the `after` of a query. Raises `InvalidFrame`."""
    if not re.fullmatch("[0-9]{1,16}", text) or int(text) > MAX_SEQ:
        raise InvalidFrame("after: it should be a whole number, 0 or more.")
    return int(text)
