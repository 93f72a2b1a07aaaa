"""The Python client, against a small server that loses connections as the tests say."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from askbot_ws.client import Chat, Closed, Damaged, State, connect
from askbot_ws.client.endpoint import ResumePoint, resume_url
from askbot_ws.core.log_tail import LogTail, merge
from askbot_ws.core.turn_records import turn_records
from askbot_ws.dialects.askbot.frames import (
    Ask,
    Cancel,
    ClientFrame,
    Edit,
    Error,
    Forget,
    GoingAway,
    History,
    HistoryRequest,
    Limits,
    Ready,
    Retry,
    decode_client,
    encode,
)
from askbot_ws.errors import (
    AskbotError,
    Forbidden,
    QuestionEmpty,
    SessionNotFound,
    TurnNotFound,
    Unauthorized,
    UpstreamStalled,
)
from askbot_ws.events import Check, Done, Event, Failure, Question, Reason, Record, Thinking, Timing, Token

PIECES = ("Be", "cause", " of ✨")
ANSWER = "".join(PIECES)


class Cut(Exception):
    """This connection is to be lost here."""


@dataclass
class Server:
    """One session, its log, and a script of accidents."""

    log: LogTail = field(default_factory=lambda: LogTail("s"))
    cuts: list[int] = field(default_factory=list[int])  # frames that each connection sends before it is lost
    closes: list[int] = field(default_factory=list[int])  # codes with which each connection is closed at once
    ignoring: int = 0  # how many connections ignore all frames
    silent: bool = False  # send nothing after `ready`
    hold: bool = False  # answers do not end by themselves
    wrong: bool = False  # slices differ from what was answered
    loses_log: bool = False  # the log is lost with the connection
    failure: Failure | None = None
    thoughts: tuple[str, ...] = ()  # what it thinks before it answers
    thinks_on: bool = False  # it never gets to the answer
    afterthought: str = ""  # what it thinks once the answer has begun
    first: list[Record] = field(default_factory=list[Record])  # frames after the first `ready`
    queries: list[dict[str, str]] = field(default_factory=list[dict[str, str]])  # of each connection's URL
    received: list[ClientFrame] = field(default_factory=list[ClientFrame])
    sockets: list[ServerConnection] = field(default_factory=list[ServerConnection])
    port: int = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def handle(self, socket: ServerConnection) -> None:
        request = socket.request
        assert request
        self.sockets.append(socket)
        self.queries.append({name: values[-1] for name, values in parse_qs(urlsplit(request.path).query).items()})
        if self.closes and (code := self.closes.pop(0)):
            await socket.close(code)
            return
        left = self.cuts.pop(0) if self.cuts else 1_000_000
        try:
            await self.serve_session(socket, left)
        except Cut:
            self.log = LogTail("s") if self.loses_log else self.log
            socket.transport.abort()
        except ConnectionClosed:
            pass

    async def serve_session(self, socket: ServerConnection, left: int) -> None:
        async def send(frame: Record) -> None:
            nonlocal left
            if left == 0:
                raise Cut
            left -= 1
            await socket.send(encode(frame), text=True)

        after = int(self.queries[-1].get("after", 0))
        start = after if self.log.start <= after <= self.log.head else self.log.start
        await send(self.ready(start))
        while self.first:
            await send(self.first.pop(0))
        for event in merge(self.log.events, after=start):
            await send(event)
        if left == 0:
            raise Cut
        ignoring = self.ignoring > 0
        self.ignoring -= 1
        async for data in socket:
            if not ignoring:
                await self.apply(decode_client(data), send)

    def ready(self, start: int) -> Ready:
        limits = Limits(frame_bytes=1_048_576, question_chars=8000, waiting_turns=1)
        return Ready(
            session=self.log.session,
            seq=self.log.head,
            from_=start,
            resumed=start > 0,
            protocol="askbot.v1",
            server="scripted",
            model="m",
            limits=limits,
        )

    async def apply(self, frame: ClientFrame, send: Callable[[Record], Any]) -> None:
        self.received.append(frame)
        match frame:
            case Ask(text=""):
                await send(Error(code="question_empty", message="Empty.", retryable=False, id=frame.id))
            case Edit(turn="t99"):
                await send(Error(code="turn_not_found", message="Which?", retryable=False, id=frame.id))
            case Ask() | Edit():
                await self.answer(send, frame.id, frame.text)
            case Retry():
                await self.answer(send, frame.id, "Again", replaces=frame.turn or "t1")
            case Cancel():
                await self.end(send, frame.turn or "", "cancelled")
            case HistoryRequest():
                before = frame.before or 1_000_000
                turns = [turn for turn in turn_records(self.log.events) if turn.from_ + 1 < before][-frame.limit :]
                await send(History(session="s", id=frame.id, turns=turns, more=False))
            case Forget():
                gone = Error(code="session_not_found", message="Gone.", retryable=False, id=frame.id, session="s")
                await send(gone)
            case _:
                pass

    async def answer(
        self, send: Callable[[Record], Any], id: str | None, text: str, *, replaces: str | None = None
    ) -> None:
        """Log it all at once, then show it: what is cut off here comes with the replay."""
        if any(isinstance(event, Question) and event.id == id for event in self.log.events):
            return
        turn, begun = f"t{self.log.head + 1}", self.log.head
        question = Question(session="s", seq=begun + 1, turn=turn, id=id, text=text, created=0.0, replaces=replaces)
        self.log.append(question)
        frames: list[Event] = [question]
        frames += [self.think(turn, thought) for thought in self.thoughts]
        for piece in () if self.thinks_on else PIECES:
            token = Token(session="s", seq=self.log.head + len(piece), turn=turn, text=piece)
            self.log.append(token)
            shown = "x" * len(piece) if self.wrong else piece
            frames.append(Token(session="s", seq=token.seq, turn=turn, text=shown))
        if self.afterthought:
            frames.append(self.think(turn, self.afterthought))
        if not (self.hold or self.thinks_on):
            frames.append(self.done(turn, "error" if self.failure else "stop"))
        if not self.silent:
            for frame in frames:
                await send(frame)

    def think(self, turn: str, text: str) -> Thinking:
        thinking = Thinking(session="s", seq=self.log.head + len(text), turn=turn, text=text)
        self.log.append(thinking)
        return thinking

    async def end(self, send: Callable[[Record], Any], turn: str, reason: Reason) -> None:
        if any(isinstance(event, Done) and event.turn == turn for event in self.log.events):
            await send(Error(code="turn_not_found", message="It has ended.", retryable=False, id=self.received[-1].id))
        else:
            await send(self.done(turn, reason))

    def done(self, turn: str, reason: Reason) -> Done:
        answer = "".join(event.text for event in self.log.events if isinstance(event, Token) and event.turn == turn)
        done = Done(
            session="s",
            seq=self.log.head + 1,
            turn=turn,
            reason=reason,
            model="m",
            usage=None,
            timing=Timing(queued=0.0, first_token=0.1, total=0.2),
            check=Check(chars=len(answer), sha256=hashlib.sha256(answer.encode()).hexdigest()),
            error=self.failure,
        )
        self.log.append(done)
        return done

    @property
    def questions(self) -> list[str]:
        return [event.text for event in self.log.events if isinstance(event, Question)]


@asynccontextmanager
async def running(server: Server) -> AsyncGenerator[Server]:
    async with serve(server.handle, "127.0.0.1", 0, ping_interval=None) as listening:
        server.port = next(iter(listening.sockets)).getsockname()[1]
        yield server


def at_once(_: int) -> float:
    return 0.0


@asynccontextmanager
async def conversation(server: Server, **options: Any) -> AsyncGenerator[Chat]:
    async with asyncio.timeout(10), running(server), connect(server.url, delay=at_once, **options) as chat:
        yield chat


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - a scripted server has no events to wait for
        await asyncio.sleep(0.005)


async def text_of(chat: Chat, question: str = "Why?") -> str:
    return "".join([text async for text in chat.ask(question)])


# --- asking ----------------------------------------------------------------------------------------------------------


async def test_an_answer_comes_in_pieces_and_as_a_whole() -> None:
    """Iterate, await, or both."""
    async with conversation(Server()) as chat:
        stream = chat.ask("Why?")
        pieces = [text async for text in stream]
        answer = await stream

    assert "".join(pieces) == ANSWER
    assert (answer.text, answer.turn, answer.reason, answer.model, answer.error) == (ANSWER, "t1", "stop", "m", None)
    assert answer.timing
    assert answer.timing.total == 0.2


@pytest.mark.parametrize("cut", range(1, 7))
async def test_a_connection_lost_after_any_frame_costs_nothing(cut: int) -> None:
    """docs/protocol.md, promises 1 and 3: each piece once, and one question, wherever it breaks."""
    async with conversation(server := Server(cuts=[cut])) as chat:
        assert await text_of(chat) == ANSWER
        assert await text_of(chat, "And then?") == ANSWER

    assert server.questions == ["Why?", "And then?"]
    assert all(query["session"] == "s" for query in server.queries[1:])


async def test_what_a_conversation_knows_once_it_is_entered_is_not_known_before() -> None:
    """Its id, what the server accepts, and its models: an error rather than None. They stay once it is closed."""
    async with running(Server()) as server:
        chat = connect(server.url)
        read: list[Callable[[], object]] = [
            lambda: chat.id,
            lambda: chat.view.ready,
            lambda: chat.view.model,
            lambda: chat.view.models,
            lambda: chat.view.limits,
            lambda: chat.view.head,
        ]
        for each in read:
            with pytest.raises(Closed, match="has not begun"):
                each()
        states: list[State] = [chat.state]
        assert connect(server.url, session="s").id == "s"
        async with chat:
            states.append(chat.state)
        assert [each() for each in read[:5]] == ["s", chat.view.ready, "m", chat.view.ready.models, chat.view.limits]
        assert [*states, chat.state] == ["connecting", "open", "closed"]


async def test_an_answer_has_what_its_turn_has() -> None:
    """While it runs, what is known of its end is None; the question of a retry is the turn's."""
    async with running(Server(hold=True)) as server, connect(server.url) as chat:
        stream = chat.ask("Why?")
        await anext(aiter(stream))
        (turn,) = chat.turns
        assert (turn.question, turn.status, turn.end) == ("Why?", "answering", None)
        assert {turn.reason, turn.model, turn.usage, turn.timing, turn.check, turn.error} == {None}
    async with running(Server()) as server, connect(server.url) as chat:
        await chat.ask("Why?")
        answer = await chat.retry()
        (turn,) = chat.turns
        assert (turn.turn, turn.id, turn.status) == (answer.turn, answer.id, "ended")
        for name in ("question", "answer", "reason", "model", "usage", "timing", "error", "thinking"):
            assert getattr(turn, name) == getattr(answer, name), name
        assert answer.question == "Again"  # as that server logs it
        assert turn.check == (turn.end and turn.end.check)


async def test_connections_that_carry_one_event_each_are_enough() -> None:
    """Each goes on where the one before ended."""
    server = Server(cuts=[2] * 8)
    async with conversation(server) as chat:
        assert await text_of(chat) == ANSWER

    assert server.questions == ["Why?"]
    positions = [int(query["after"]) for query in server.queries[1:]]
    assert positions == sorted(positions)


async def test_a_question_whose_acknowledgement_was_lost_is_sent_again_with_its_id() -> None:
    """The server ignores it then; the replayed `question` is the acknowledgement."""
    server = Server(silent=True)
    async with conversation(server, silence=0.1) as chat:
        assert await text_of(chat) == ANSWER

    asks = [frame for frame in server.received if isinstance(frame, Ask)]
    assert len({ask.id for ask in asks}) == 1
    assert server.questions == ["Why?"]


async def test_a_question_that_was_never_heard_is_sent_again() -> None:
    """It was lost with the connection."""
    async with conversation(server := Server(ignoring=2), silence=0.05) as chat:
        assert await text_of(chat) == ANSWER

    assert server.questions == ["Why?"]


async def test_a_question_that_is_refused_raises_by_its_code() -> None:
    """Nothing was asked, the conversation goes on."""
    async with conversation(Server()) as chat:
        with pytest.raises(QuestionEmpty, match="Empty"):
            await chat.ask("")
        with pytest.raises(QuestionEmpty):
            await text_of(chat, "")
        with pytest.raises(TurnNotFound):
            await chat.edit("t99", "What?")
        assert await text_of(chat) == ANSWER


async def test_an_answer_that_fails_keeps_its_pieces() -> None:
    """Iterating raises at the end, awaiting returns the error: the text so far is kept either way."""
    failure = Failure(code="upstream_stalled", message="It stopped.", retryable=True, retry_after=2.0)
    async with conversation(Server(failure=failure)) as chat:
        stream, pieces = chat.ask("Why?"), list[str]()

        async def collect() -> None:
            async for text in stream:
                pieces.append(text)

        with pytest.raises(UpstreamStalled, match="It stopped") as caught:
            await collect()
        answer = await stream

    assert caught.value.retry_after == 2.0
    assert ("".join(pieces), answer.text, answer.reason, answer.error) == (ANSWER, ANSWER, "error", failure)


async def test_an_error_from_the_future_is_told_with_its_code() -> None:
    """A code that this version does not know is still an error."""
    failure = Failure(code="brand_new", message="Something new.", retryable=False)
    async with conversation(Server(failure=failure)) as chat:
        with pytest.raises(AskbotError, match=r"Something new. \(brand_new\)"):
            await text_of(chat)


async def test_an_answer_that_fails_its_proof_is_fetched_whole() -> None:
    """`check` is the proof (docs/protocol.md, promise 6); history has what was answered."""
    async with conversation(server := Server(wrong=True)) as chat:
        assert (await chat.ask("Why?")).text == ANSWER

    (request,) = (frame for frame in server.received if isinstance(frame, HistoryRequest))
    assert (request.before, request.limit) == (2, 1)


async def test_pieces_that_fail_their_proof_are_told_in_the_end() -> None:
    """They can't be taken back; awaiting the question gives what was answered."""
    async with conversation(Server(wrong=True)) as chat:
        stream = chat.ask("Why?")
        with pytest.raises(Damaged):
            assert [text async for text in stream]
        assert (await stream).text == ANSWER


async def test_an_answer_that_was_received_whole_is_given_though_the_server_lost_it() -> None:
    """It has ended, so it is not asked again. A second reading is one of the server's log, which has it no more."""
    async with conversation(server := Server()) as chat:
        stream = chat.ask("Why?")
        await until(lambda: any(turn.end for turn in chat.view.turns))
        server.log, server.cuts = LogTail("s"), [1]
        for socket in server.sockets:
            socket.transport.abort()
        await until(lambda: not chat.view.turns)
        assert await text_of(chat, "And?") == ANSWER
        assert [text async for text in stream] == [ANSWER]
        assert (await stream).text == ANSWER
        with pytest.raises(Damaged):
            assert [text async for text in stream]


# --- thinking --------------------------------------------------------------------------------------------------------

THOUGHTS = ("Hm", ", why? ✨ ", "So.")


@pytest.mark.parametrize("cut", range(1, 10))
async def test_thinking_is_read_before_the_answer_and_is_no_part_of_it(cut: int) -> None:
    """Each piece once, wherever the connection breaks; the proof is of the answer alone."""
    async with conversation(Server(thoughts=THOUGHTS, cuts=[cut])) as chat:
        stream = chat.ask("Why?")
        assert "".join([text async for text in stream.thinking()]) == "".join(THOUGHTS)
        assert "".join([text async for text in stream]) == ANSWER
        answer = await stream

    assert (answer.text, answer.thinking, answer.thinking_time) == (ANSWER, "".join(THOUGHTS), 0.1)


async def test_thinking_can_be_left_out_or_read_when_it_is_over() -> None:
    """Awaiting needs none of it; whoever reads it later gets it all."""
    async with conversation(Server(thoughts=THOUGHTS), keep=1) as chat:
        stream = chat.ask("Why?")
        assert await text_of(chat, "And?") == ANSWER
        assert (await stream).text == ANSWER
    async with conversation(Server(thoughts=THOUGHTS)) as chat:
        stream = chat.ask("Why?")
        answer = await stream
        assert "".join([text async for text in stream.thinking()]) == answer.thinking == "".join(THOUGHTS)


async def test_what_is_thought_once_the_answer_has_begun_is_only_in_the_whole() -> None:
    """Whenever it is read: as it comes, when it is over, or where the view has dropped the turn."""
    whole = "".join(THOUGHTS) + "Or not?"
    for keep in (None, 1000):
        async with conversation(Server(thoughts=THOUGHTS, afterthought="Or not?"), keep=keep) as chat:
            stream = chat.ask("Why?")
            answer = await stream
            assert (answer.text, answer.thinking) == (ANSWER, whole)
            await chat.ask("And?")
            assert "".join([text async for text in stream.thinking()]) == "".join(THOUGHTS)


async def test_an_answer_without_thinking_has_none() -> None:
    """Nothing to iterate over; a refusal is raised where the answer is read."""
    async with conversation(Server()) as chat:
        stream = chat.ask("Why?")
        assert [text async for text in stream.thinking()] == []
        answer = await stream
        refused = chat.ask("")
        assert [text async for text in refused.thinking()] == []
        with pytest.raises(QuestionEmpty):
            await refused

    assert (answer.thinking, answer.thinking_time) == ("", None)


async def test_a_time_limit_in_the_middle_of_thinking_stops_the_answer() -> None:
    """Leaving the loop doesn't: what follows is the answer."""
    async with conversation(server := Server(thoughts=THOUGHTS, thinks_on=True)) as chat:
        stream = chat.ask("Why?")
        async for _ in stream.thinking():
            break

        async def read() -> str:
            return "".join([text async for text in stream.thinking()])

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 0.05)
        await until(lambda: any(isinstance(frame, Cancel) for frame in server.received))

    assert len([frame for frame in server.received if isinstance(frame, Cancel)]) == 1


async def test_thinking_ends_with_the_conversation() -> None:
    """Nobody waits for ever for what can't come any more."""
    async with conversation(Server(thoughts=THOUGHTS, thinks_on=True)) as chat:
        stream = chat.ask("Why?")
        async for _ in stream.thinking():
            break
    assert "".join([text async for text in stream.thinking()]) == "".join(THOUGHTS)


# --- commands --------------------------------------------------------------------------------------------------------


async def test_a_cancel_ends_the_running_answer() -> None:
    """What was said so far stays; a second cancel finds nothing, and that is fine."""
    async with conversation(Server(hold=True)) as chat:
        stream = chat.ask("Why?")
        async for _ in stream:
            break
        await chat.cancel()
        await chat.cancel()
        await chat.cancel("t1")
        answer = await stream

    assert (answer.text, answer.reason) == (ANSWER, "cancelled")


async def test_a_question_cancelled_before_it_arrived_is_cancelled_when_it_does() -> None:
    """Whether the server received it can't be known, so it is asked, and stopped."""
    async with conversation(Server(hold=True)) as chat:
        stream = chat.ask("Why?")
        await chat.cancel()
        assert (await stream).reason == "cancelled"


async def test_retry_and_edit_replace_what_they_are_about() -> None:
    """The new turn is shown in the place of the old one."""
    async with conversation(Server()) as chat:
        await chat.ask("Why?")
        again = await chat.retry()
        assert [turn.turn for turn in chat.view.turns] == [again.turn]
        assert (await chat.edit(again.turn, "What?")).text == ANSWER


async def test_retry_and_edit_take_options_as_ask_does() -> None:
    """What is not given is left out: then it is as it was for that turn."""
    async with conversation(server := Server()) as chat:
        await chat.ask("Why?")
        await chat.retry(model="m2", temperature=0.5)
        await chat.edit("t1", "What?", max_tokens=5)
        await chat.retry("t1")

    _, *again = (frame for frame in server.received if isinstance(frame, Ask | Retry | Edit))
    assert [(frame.model, frame.temperature, frame.max_tokens) for frame in again] == [
        ("m2", 0.5, None),
        (None, None, 5),
        (None, None, None),
    ]


async def test_history_brings_older_turns_into_the_view() -> None:
    """Before the oldest that is shown."""
    server = Server()
    async with conversation(server) as chat:
        await chat.ask("One?")
        place = (await chat.ask("Two?")).turn
        async with connect(server.url, session="s", after=int(place[1:]) - 1) as other:
            await other.ask("Three?")
            assert [turn.question for turn in other.view.turns] == ["Two?", "Three?"]
            await other.history(limit=1)
            assert [turn.question for turn in other.view.turns] == ["One?", "Two?", "Three?"]


async def test_a_forgotten_conversation_is_over() -> None:
    """Deleted everywhere: asking on is an error."""
    async with conversation(Server()) as chat:
        await chat.ask("Why?")
        await chat.forget()
        with pytest.raises(SessionNotFound):
            chat.ask("Still there?")


# --- coming and going ------------------------------------------------------------------------------------------------


async def test_a_silent_connection_is_given_up() -> None:
    """A dead socket says nothing, not even that it is dead; the server would have said `alive`."""
    states: list[State] = []
    async with conversation(server := Server(silent=True, cuts=[]), silence=0.05, on_state=states.append):
        await until(lambda: len(server.queries) >= 3)

    assert states[:4] == ["connecting", "open", "waiting", "connecting"]
    assert states[-1] == "closed"


async def test_a_server_that_goes_away_is_left_when_it_says() -> None:
    """What is asked in between waits for the next connection."""
    states: list[State] = []
    server = Server(first=[GoingAway(reconnect_after=0.1)])
    async with conversation(server, on_state=states.append) as chat:
        await until(lambda: states[-1:] == ["open"] and not server.first)
        await asyncio.sleep(0.02)
        begun = asyncio.get_running_loop().time()
        assert await text_of(chat) == ANSWER
        waited = asyncio.get_running_loop().time() - begun

    assert 0.05 < waited < 2
    assert len(server.queries) == 2
    assert server.questions == ["Why?"]


@pytest.mark.parametrize("cut", range(2, 6))
async def test_an_acknowledged_question_whose_log_was_lost_is_interrupted(cut: int) -> None:
    """It is not asked again, as nobody pays twice; the text that was received is kept, however it is read."""
    async with conversation(server := Server(cuts=[cut], loses_log=True)) as chat:
        stream = chat.ask("Why?")
        text = "".join([text async for text in stream])
        answer = await stream
        again = "".join([text async for text in stream])
        assert chat.view.turns == []
        assert await text_of(chat, "And?") == ANSWER

    assert text == again == answer.text == "".join(PIECES[: cut - 2])
    assert answer.reason == "interrupted"
    assert server.questions == ["And?"]


async def test_a_frame_beyond_a_gap_has_the_client_come_back() -> None:
    """It is asked for again from the place that was reached; one that comes twice changes nothing."""
    beyond = Token(session="s", seq=50, turn="t1", text="lost?")
    server = Server(first=[beyond])
    async with conversation(server) as chat:
        assert await text_of(chat) == ANSWER
        assert len(server.queries) == 2
        await server.sockets[-1].send(encode(server.log.events[0]), text=True)
        assert await text_of(chat, "And?") == ANSWER
        assert [turn.question for turn in chat.view.turns] == ["Why?", "And?"]


async def test_a_session_that_is_not_there_is_an_error() -> None:
    """4404: the user names another session, or begins a new one."""
    server = Server(closes=[4404])
    with pytest.raises(SessionNotFound):
        async with conversation(server, session="gone"):
            pass


async def test_a_new_session_that_was_lost_while_empty_begins_anew() -> None:
    """The server keeps nothing of a session in which nothing was asked, so nothing is lost with it."""
    async with conversation(server := Server(cuts=[1], closes=[0, 4404])) as chat:
        assert await text_of(chat) == ANSWER

    assert server.queries == [{}, {"session": "s", "after": "0"}, {}]


@pytest.mark.parametrize(("code", "error"), [(4401, Unauthorized), (4403, Forbidden)])
async def test_some_closes_are_for_good(code: int, error: type[AskbotError]) -> None:
    """Whoever waits gets the reason raised."""
    async with conversation(Server(cuts=[1], closes=[0, code])) as chat:
        with pytest.raises(error):
            await text_of(chat)
        with pytest.raises(error):
            chat.ask("Again?")


@pytest.mark.parametrize("code", [1000, 1008, 1009, 1011, 1012, 1013, 4408, 4429])
async def test_other_closes_are_come_back_from(code: int) -> None:
    """1012 is a restart, 4408 a reader too slow for too long."""
    async with conversation(server := Server(cuts=[1], closes=[0, code])) as chat:
        assert await text_of(chat) == ANSWER

    assert len(server.queries) == 3


async def test_leaving_ends_what_still_waits() -> None:
    """Nobody waits for ever for a conversation that was left."""
    async with conversation(Server(hold=True)) as chat:
        stream = chat.ask("Why?")
    with pytest.raises(Closed):
        await stream
    with pytest.raises(Closed):
        await chat.cancel("t1")


async def test_a_server_that_is_not_there_is_told_at_once() -> None:
    """Only a conversation that has begun is worth waiting for."""
    async with running(Server()) as server:
        url = server.url
    with pytest.raises(Closed, match="no answer from"):
        async with connect(url):
            pass
    with pytest.raises(Closed, match="no answer from"):
        async with connect("nonsense"):
            pass


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://host", "ws://host/v1/chat?session=s&after=3"),
        ("https://host/", "wss://host/v1/chat?session=s&after=3"),
        ("ws://host/other?tenant=a&after=1", "ws://host/other?tenant=a&after=3&session=s"),
    ],
)
def test_the_url_says_where_to_resume(url: str, expected: str) -> None:
    """The rest of the URL stays the user's."""
    assert resume_url(url, ResumePoint("s", 3)) == expected
