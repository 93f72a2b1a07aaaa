"""ClientSession: one session's log as this client reads it, over a socket that other sessions may share.

On the wire it has one position for all who read here (`Attachment`): where somebody waits for what lies before it, or
reading was paused because nobody had room, it attaches again from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar, assert_never
from uuid import uuid4

from ..dialects.askbot.frames import (
    Ask,
    Cancel,
    ClientFrame,
    Edit,
    Error,
    Forget,
    Fork,
    History,
    Ready,
    Retry,
    SessionCommand,
    Sessions,
    TitleRequest,
    UnknownEvent,
    encode,
)
from ..errors import AskbotError, SessionNotFound
from ..events import Done, KnownEvent, Question, Thinking, Title, Token
from . import pending
from .attachment import Attachment, AttachState
from .endpoint import ResumePoint
from .errors import Damaged, TimedOut, copy_of, exception_for
from .pending import (
    AnswerRecovery,
    FailedQuestions,
    PendingQuestion,
    PendingRequest,
    PendingRequests,
    encoding_error,
    ignore_result,
)
from .reconnecting_socket import ReconnectingSocket
from .text_stream import ANSWER_LOST_MESSAGE, TextStream, TextStreams
from .view import End, Gap, View

SessionFrame: TypeAlias = Ready | KnownEvent | UnknownEvent | History | Sessions | Error
"""A frame that is about one session, or answers what was asked in one."""
R = TypeVar("R", bound=PendingRequest)


class ClientSession:
    """One session: its view, those who read answers in it, and the requests that are pending. An `AnswerSource`."""

    def __init__(self, socket: ReconnectingSocket, view: View, fork: Fork | None = None) -> None:
        """`fork` is the frame that makes the session; None: it exists, or is to be a new one."""
        self.view: View = view
        self.close_reason: AskbotError | None = None  # None: open
        self.changed: asyncio.Event = asyncio.Event()  # set, and replaced, at each change of the view
        self.unblocked: asyncio.Event = asyncio.Event()  # set when `blocked` may have become False
        self.caught_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # the log was read once
        self.attachment: Attachment = Attachment(socket, fork)
        self.requests: PendingRequests = PendingRequests()
        self._socket = socket
        self._fork = fork
        self._recovery = AnswerRecovery(self.request)
        self._streams = TextStreams()
        self._history_number = 0  # counts the histories that the server has sent, one after another was lost
        self._furthest = view.seq or 0  # the last position that was ever read, in any history
        self._replaying = True  # the log was not read up to where it ended at `ready`
        self._failed_questions = FailedQuestions()
        self._attach_timer: asyncio.TimerHandle | None = None
        self._former_id = ""  # of one that the server no longer has, until that in its place has a name

    @property
    def id(self) -> str:
        """The session's id, once it was entered."""
        return self.view.session or self._former_id

    # --- attaching ---------------------------------------------------------------------------------------------------

    @property
    def can_be_first(self) -> bool:
        """Whether the URL of a connection can name it, or make it: a fork has to be named by its `ready` first."""
        return self._fork is None or self.view.session is not None

    def attach_by_url(self) -> ResumePoint:
        """Return what the next connection is to read of this session, which its URL names."""
        point = self._resume_point()
        self.attachment.begin(point)
        return point

    def attach(self) -> None:
        """Read on, on the connection that is open."""
        self.attachment.send_attach(self._resume_point())
        self.start_ready_timer()

    def start_ready_timer(self) -> None:
        """Limit the time until the server has attached the session, and until its log was read once."""
        self._stop_attach_timer()
        limit = pending.TIME_LIMIT_SECONDS
        position = self.attachment.position
        self._attach_timer = asyncio.get_running_loop().call_later(limit, self._on_attach_limit, position)

    def _stop_attach_timer(self) -> None:
        if self._attach_timer:
            self._attach_timer.cancel()
            self._attach_timer = None

    def _on_attach_limit(self, position: int) -> None:
        """Give up entering, or this connection, on which the server doesn't read the session to us."""
        attached, caught_up = self.attachment.state is AttachState.ATTACHED, self.caught_up.done()
        if self.close_reason or not self._socket.is_ready or (attached and caught_up):
            return
        if attached and self.attachment.position != position:
            self.start_ready_timer()  # events come, but it takes them longer
        elif not caught_up:
            self.close(TimedOut())
        else:
            for request in self.requests.all():
                if not request.acknowledged:
                    self.fail(request, TimedOut())
            self._socket.abort()

    def _resume_point(self) -> ResumePoint:
        if self.view.seq is None:
            return ResumePoint(self.view.session)
        return ResumePoint(self.view.session, self._streams.resume_position(self.view.seq), self.view.log)

    def detach(self) -> None:
        """Have the server send no more of it."""
        self.attachment.send_detach(self.view.session)

    def pause(self) -> None:
        """Detach until a reader has room, or waits for text."""
        self.attachment.pause(self.view.session)

    def resume(self) -> None:
        """Attach again, where a reader waits for text before the position on the wire, or a pause may end."""
        self.unblocked.set()
        if self.close_reason or not self._socket.can_send:
            return
        state, position = self.attachment.state, self.attachment.position
        back = state is AttachState.ATTACHED and self._streams.any_waiting_before(position)
        if back or (state is AttachState.PAUSED and not self.blocked):
            self.attach()

    @property
    def blocked(self) -> bool:
        """Whether the next event would find no room, and nobody waits for it."""
        return self._streams.blocked and not self.requests.has_waiters

    def awaits_reply(self, id: str | None) -> bool:
        """Return whether a frame with this id was sent for this session, and has no reply yet."""
        return id is not None and (id == self.attachment.id or self.requests.get(id) is not None)

    # --- closing -----------------------------------------------------------------------------------------------------

    def on_not_found(self, error: AskbotError) -> None:
        """Close, as the server has no such session; but a session that is still empty becomes a new one."""
        if self._is_empty:
            self.view, self._former_id = View(keep=self.view.keep), self.id
        else:
            self.close(error)

    @property
    def _is_empty(self) -> bool:
        """Whether nothing was stored of the session, as far as is known: servers keep no empty one."""
        return self.view.seq == 0 and self.caught_up.done()

    def close(self, reason: AskbotError) -> None:
        """Close the session: `reason` is raised where answers are read or replies awaited. A second call is ignored."""
        if self.close_reason:
            return
        self.close_reason = reason
        self._stop_attach_timer()
        self.fail_entering(reason)
        for request in self.requests.all():
            self.requests.resolve(request.frame.id, None if request.rule.no_failure == reason.code else reason)
        for stream in self._streams:
            stream.fail(reason)
        self.resume()
        self._notify_changed()

    async def wait_until_caught_up(self) -> None:
        """Wait until the log was read once. Raises a copy of the error for which it can't be."""
        await asyncio.wait([self.caught_up])
        if error := self.caught_up.exception():
            raise copy_of(error)

    def fail_entering(self, error: Exception) -> None:
        """Have entering raise an error, unless the session is entered."""
        if not self.caught_up.done():
            ignore_result(self.caught_up)
            self.caught_up.set_exception(error)

    # --- frames from the server --------------------------------------------------------------------------------------

    def receive(self, frame: SessionFrame) -> None:
        """Apply a frame. Raises `Gap` where the session can go on only on another connection."""
        match frame:
            case Ready():
                self._on_ready(frame)
            case Question() | Token() | Thinking() | Done() | Title():
                if self.attachment.state is not AttachState.ATTACHED:
                    return  # sent before the server knew that we detached; it will be sent again
                self._on_event(frame)
            case UnknownEvent():
                if self.attachment.state is AttachState.ATTACHED and frame.seq > self.attachment.position:
                    self._skip_unknown(frame)
            case History():
                self.view.fold(frame)
                request = self.requests.get(frame.id)
                if request and request.rule.ended_by == frame.type:
                    self.requests.resolve(frame.id, frame)
            case Sessions():
                self.requests.resolve(frame.id, frame)
            case Error():
                self._on_error(frame)
            case _:
                assert_never(frame)
        self._notify_changed()

    def _on_ready(self, ready: Ready) -> None:
        expected = self.attachment.expected_from
        if not self.attachment.complete(ready):
            return  # a history that is new in it is noticed when we attach again
        if self.caught_up.done():
            self._stop_attach_timer()
        if not self.view.continues(ready) or ready.from_ != expected:
            self._switch_history(ready)
        else:
            self.view.note_ready(ready)
        self._replaying = True
        self._on_title(ready.title)
        for request in self.requests.all():
            self._send(request)
        self._check_caught_up()
        if self.blocked:
            self.pause()
        else:
            self.resume()  # a reader may have begun to wait for earlier text meanwhile

    def _check_caught_up(self) -> None:
        if self._replaying and self.attachment.caught_up:
            self._replaying = False
            if not self.caught_up.done():
                self._stop_attach_timer()
                self.caught_up.set_result(None)
            for question in self.requests.questions():
                if question.acknowledged and question.turn is None:
                    self._end_as_lost(question)
            for stream in self._streams:
                if stream.position >= self.attachment.position and stream.question.end:
                    stream.fail_as_lost()

    def _switch_history(self, ready: Ready) -> None:
        """Read another history than before. Requests that have no acknowledgement are sent again, here too."""
        for question in self.requests.questions():
            if turn := self.view.all_turns.get(question.turn or ""):
                question.keep_received(turn.answer)
                question.keep_thinking(turn)
            question.turn = None
        self.view.seq = None
        self.view.fold(ready)
        self._history_number += 1
        self._recovery = AnswerRecovery(self.request)
        for request in self.requests.all():
            request.sent_on = 0
        for stream in self._streams:
            stream.switch_history(ready.from_)

    def _end_as_lost(self, question: PendingQuestion) -> None:
        """End a question that the server had acknowledged, and that is not in the history that it has now."""
        end = question.end_as_lost(self.view.model)
        question.keep_received(str(question.cache or ""))
        for stream in self._streams_of(question):
            stream.keep_received()
        for stream in self._streams_of(question):
            stream.end_as_lost()
        self.requests.resolve(question.frame.id, end)

    def _streams_of(self, question: PendingRequest) -> Iterator[TextStream]:
        return (stream for stream in self._streams if stream.question is question)

    def _on_event(self, event: KnownEvent) -> None:
        if not self.attachment.advance(start=event.start, seq=event.seq):
            return
        if event.seq > self._furthest:
            self._furthest = event.seq
            self._socket.on_progress(self)
        self.view.fold(event)
        for stream in self._streams:  # before anything else: each is at the attachment's position, or full
            stream.receive(event)
        match event:
            case Question():
                self._on_question(event)
            case Done():
                self._on_done(event)
            case Title():
                self._on_title(event.text)
            case Token() | Thinking():
                pass
        if self._replaying:
            self._check_caught_up()

    def _skip_unknown(self, event: UnknownEvent) -> None:
        before, self.attachment.position = self.attachment.position, event.seq
        if event.seq > self._furthest:
            self._furthest = event.seq
            self._socket.on_progress(self)
        self.view.fold(event)
        for stream in self._streams:
            stream.skip_unknown_event(event.seq, after=before)
        self._check_caught_up()

    def _on_question(self, event: Question) -> None:
        question = self.requests.get(event.id)
        if isinstance(question, PendingQuestion) and question.turn is None:
            question.turn, question.start, question.history_number = event.turn, event.start, self._history_number
            question.question = event.text
            question.stop_timer()
            if question.acknowledged:
                for stream in self._streams_of(question):
                    stream.read_again()
            question.acknowledged = True
            if question.cancelled is not None:
                self._send_cancel(question)
        elif self._failed_questions.take(event.id):
            self.request(Cancel(id=uuid4().hex, turn=event.turn))

    def _on_done(self, done: Done) -> None:
        turn = self.view.all_turns.get(done.turn)
        for request in self.requests.all():
            if isinstance(request.frame, Cancel) and request.frame.turn == done.turn:
                self.requests.resolve(request.frame.id, None)
            elif isinstance(request, PendingQuestion) and request.turn == done.turn:
                request.end = End.from_record(done)
                if turn:
                    request.keep_thinking(turn)
                    request.thinking_time = turn.thinking_time
                self.requests.resolve(request.frame.id, request.end)
        if turn and not turn.proven:
            self._recovery.fetch(turn.turn, turn.from_)

    def _on_title(self, title: str | None) -> None:
        """End the requests that have given the session this title; it may have been before a connection was lost."""
        for request in self.requests.all():
            if isinstance(request.frame, TitleRequest) and request.sent_on and request.frame.text == (title or ""):
                self.requests.resolve(request.frame.id, None)

    def _on_error(self, error: Error) -> None:
        request, exception = self.requests.get(error.id), exception_for(error)
        if error.id is not None and error.id == self.attachment.id:
            self._on_attach_refused(exception)
        elif error.code == SessionNotFound.code and self._is_empty and not (request and request.rule.no_failure):
            self.on_not_found(exception)
            raise Gap  # the next connection is to make another one
        elif request is None:
            if error.code == SessionNotFound.code and error.id is None:
                self.close(exception)
        elif error.code == request.rule.no_failure:
            if isinstance(request.frame, Forget):
                self.close(exception)
            self.requests.resolve(error.id, None)
        elif not request.acknowledged:  # else it was sent again, and only its turn's `done` is its end
            self.fail(request, exception)

    def _on_attach_refused(self, error: AskbotError) -> None:
        self.attachment.state = AttachState.DETACHED
        if error.retryable and self.caught_up.done():
            raise Gap  # the server can't read its log right now: try again on the next connection
        if isinstance(error, SessionNotFound):
            self.on_not_found(error)
        else:
            self.close(error)
        if not self.close_reason:
            self.attach()

    def _notify_changed(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    # --- requests to the server --------------------------------------------------------------------------------------

    def ask(self, frame: Ask | Retry | Edit) -> PendingQuestion:
        """Send a question, and keep it until its turn has ended. Raises a copy of `close_reason`."""
        return self._add_request(PendingQuestion(frame, asyncio.get_running_loop().create_future()))

    def request(self, frame: ClientFrame) -> PendingRequest:
        """Send a frame, and keep it until it has ended. Raises a copy of `close_reason`."""
        return self._add_request(PendingRequest(frame, asyncio.get_running_loop().create_future()))

    def _add_request(self, request: R) -> R:
        if self.close_reason:
            raise copy_of(self.close_reason)
        self.requests.add(request)
        if error := encoding_error(request.frame):
            self.requests.resolve(request.frame.id, error)
        elif self.attachment.state is AttachState.ATTACHED:
            self._send(request)
        self.resume()
        return request

    def _send(self, request: PendingRequest) -> None:
        """Send a request once on each connection, under the same id, until it is acknowledged or has ended."""
        if not self._socket.can_send or request.sent_on == self._socket.connection_number:
            return
        if request.may_be_sent:
            frame = request.frame
            data = encode(replace(frame, session=self.view.session) if isinstance(frame, SessionCommand) else frame)
            if len(data) > self.view.limits.frame_bytes:
                self.fail(request, pending.too_long_error(frame))
                return
            request.size = len(data)
            self._socket.send_encoded(data)
        elif not (isinstance(request, PendingQuestion) and request.turn is None):
            return  # its answer may take any time; but whether another history has it is known soon
        request.sent_on = self._socket.connection_number
        request.start_timer(self._on_time_limit)

    def _on_time_limit(self, request: PendingRequest) -> None:
        if self._socket.is_ready and request.sent_on == self._socket.connection_number:
            self.fail(request, TimedOut())

    def fail(self, request: PendingRequest, error: AskbotError) -> None:
        """End a request with an error. A question that gets into the log all the same is cancelled then."""
        if isinstance(request, PendingQuestion):
            self._failed_questions.add(request.frame.id or "")
            for stream in self._streams_of(request):
                stream.fail(error)
        self.requests.resolve(request.frame.id, error)

    def cancel_question(self, question: PendingQuestion) -> None:
        """Stop the answer at the server, unless it has ended; one that is not acknowledged yet, once it is."""
        if question.outcome.done() or self.close_reason:
            return
        if question.cancelled is None or question.cancelled.done():  # else the server is being asked already
            question.cancelled = asyncio.get_running_loop().create_future()
            ignore_result(question.cancelled)
            if question.turn is not None:
                self._send_cancel(question)

    def _send_cancel(self, question: PendingQuestion) -> None:
        request = self.request(Cancel(id=uuid4().hex, turn=question.turn))
        cancelled = question.cancelled

        def finish(outcome: asyncio.Future[Any]) -> None:
            if cancelled is None or cancelled.done():
                return
            if error := outcome.exception():
                cancelled.set_exception(copy_of(error))
            else:
                cancelled.set_result(None)

        request.outcome.add_done_callback(finish)

    # --- reading answers ---------------------------------------------------------------------------------------------

    async def recover(self, question: PendingQuestion) -> str:
        """Return an answer that failed its proof as the server's history has it. Raises `Damaged`."""
        return await self._recovery.recover(question)

    async def read_thinking(self, question: PendingQuestion) -> AsyncIterator[str]:
        """Yield what the model shows of its reasoning as it comes, until the answer begins or nothing more can come."""
        yielded = 0
        while True:
            changed = self.changed
            turn = self.view.all_turns.get(question.turn or "")
            text = turn.read_thinking(yielded) if turn else question.thinking[yielded : question.thinking_before_answer]
            if text:
                yielded += len(text)
                yield text
            elif question.outcome.done() or self.close_reason or (turn and turn.thinking_before_answer is not None):
                return
            else:
                await self._wait_for_change(changed, question)

    async def _wait_for_change(self, changed: asyncio.Event, question: PendingQuestion) -> None:
        """Wait for `changed`; meanwhile the server is read, though readers of answers may have no room."""
        question.waiters += 1
        self.resume()
        try:
            await changed.wait()
        finally:
            question.waiters -= 1

    def open_stream(self, question: PendingQuestion, *, cache: bool) -> TextStream:
        """Return a stream of the answer from its beginning; `cache`: the question keeps what is read from it."""
        position = question.start if question.turn is not None else self.attachment.position
        stream = TextStream(self, question, position=position, cache=cache)
        self._streams.add(stream)
        failure = question.outcome.exception() if question.outcome.done() else None
        if isinstance(error := failure or self.close_reason, AskbotError):
            stream.fail(error)
        elif question.lost:
            stream.end_as_lost()
        elif question.end and question.history_number != self._history_number:
            stream.fail(Damaged(ANSWER_LOST_MESSAGE))  # its position may be another turn's by now
        return stream

    def remove_stream(self, stream: TextStream) -> None:
        """Forget a stream that is closed."""
        self._streams.remove(stream)
        self.resume()
