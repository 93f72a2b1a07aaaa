"""Frames: what goes over the wire is what docs/protocol.md says, "All frames"."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.dialects.askbot.frames import (
    Alive,
    Ask,
    Attach,
    Cancel,
    Detach,
    Edit,
    Error,
    Forget,
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
    UnknownEvent,
    decode_client,
    decode_server,
    encode,
    error_frame,
    fields_of,
    schema,
)
from askbot_ws.errors import FrameError, InvalidFrame, InvalidJSON, RateLimited, UnknownType
from askbot_ws.events import (
    MAX_SEQ,
    Check,
    Done,
    Failure,
    Options,
    Question,
    Record,
    Step,
    Thinking,
    Timing,
    Title,
    Token,
    TurnRecord,
    Usage,
    decode_event,
    make_token,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
lines = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=200)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
sessions = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
seqs = st.integers(0, MAX_SEQ)
seconds = st.integers(0, 10**9).map(lambda ms: ms / 1000)
moments = st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000)
maybe_name = st.none() | names
reasons = st.sampled_from(["stop", "length", "cancelled", "refused", "interrupted", "error"]) | texts
given_options: dict[str, Any] = {
    "model": st.none() | names,
    "temperature": st.none() | st.floats(0, 2),
    "max_tokens": st.none() | st.integers(1, 10**6),
}
question_options = st.builds(Options, **given_options)
usages = st.builds(Usage, input_tokens=st.integers(0, 10**6), output_tokens=st.integers(0, 10**6))
timings = st.builds(Timing, queued=seconds, first_token=st.none() | seconds, total=seconds)
checks = st.builds(Check, chars=st.integers(0, 10**6), sha256=st.from_regex("[0-9a-f]{64}", fullmatch=True))
failures = st.builds(Failure, code=names, message=texts, retryable=st.booleans(), retry_after=st.none() | seconds)
place: dict[str, Any] = {"session": sessions, "seq": seqs, "turn": names}
command: dict[str, Any] = {"id": maybe_name, "session": st.none() | sessions}

events = st.one_of(
    st.builds(
        Question,
        **place,
        id=maybe_name,
        text=texts,
        created=moments,
        replaces=maybe_name,
        options=st.none() | question_options,
    ),
    st.builds(Token, **place, text=texts.filter(bool)),
    st.builds(Thinking, **place, text=texts.filter(bool)),
    st.builds(Title, session=sessions, seq=seqs, text=texts),
    st.builds(
        Done,
        **place,
        reason=reasons,
        model=texts,
        usage=st.none() | usages,
        timing=timings,
        check=checks,
        error=st.none() | failures,
    ),
)
turns = st.builds(
    TurnRecord,
    turn=names,
    id=maybe_name,
    text=texts,
    replaces=maybe_name,
    created=moments,
    options=st.none() | question_options,
    answer=texts,
    steps=st.none() | st.lists(st.builds(Step, type=names, text=texts), max_size=3).map(tuple),
    reason=st.none() | reasons,
    model=st.none() | texts,
    usage=st.none() | usages,
    timing=st.none() | timings,
    check=st.none() | checks,
    error=st.none() | failures,
    from_=seqs,
    seq=seqs,
)
server_frames = events | st.one_of(
    st.builds(
        Ready,
        session=sessions,
        seq=seqs,
        from_=seqs,
        resumed=st.booleans(),
        protocol=texts,
        server=texts,
        model=texts,
        limits=st.builds(Limits, frame_bytes=seqs, question_chars=seqs, waiting_turns=seqs),
        log=texts,
        id=maybe_name,
        title=st.none() | texts,
        user=maybe_name,
        expires=st.none() | moments,
    ),
    st.builds(
        Error,
        code=names,
        message=texts,
        retryable=st.booleans(),
        retry_after=st.none() | seconds,
        id=maybe_name,
        session=st.none() | sessions,
    ),
    st.builds(History, session=sessions, id=maybe_name, turns=st.lists(turns, max_size=3), more=st.booleans()),
    st.builds(
        Sessions,
        id=maybe_name,
        sessions=st.lists(
            st.builds(
                SessionEntry,
                session=sessions,
                title=texts,
                created=moments,
                updated=moments,
                turns=st.integers(0, 10**6),
                seq=seqs,
                running=st.booleans(),
            ),
            max_size=3,
        ).map(tuple),
        more=maybe_name,
    ),
    st.builds(GoingAway, reconnect_after=seconds),
    st.builds(Pong, id=maybe_name),
    st.just(Alive()),
)
client_frames = st.one_of(
    st.builds(
        Ask,
        **command,
        **given_options,
        text=texts,
        when_busy=st.sampled_from(["queue", "reject", "replace"]),
    ),
    st.builds(Cancel, **command, turn=maybe_name),
    st.builds(Retry, **command, **given_options, turn=maybe_name),
    st.builds(Edit, **command, **given_options, turn=names, text=texts),
    st.builds(HistoryRequest, **command, before=st.none() | seqs, limit=st.integers(1, 50)),
    st.builds(Attach, **command, after=st.none() | seqs, log=st.none() | texts),
    st.builds(Detach, **command),
    st.builds(TitleRequest, **command, text=lines),
    st.builds(SessionsRequest, id=maybe_name, before=maybe_name, limit=st.integers(1, 100)),
    st.builds(Forget, id=maybe_name, session=sessions),
    st.builds(Ping, id=maybe_name),
)

DONE = Done(
    session="s",
    seq=9,
    turn="t1",
    reason="error",
    model="m",
    usage=None,
    timing=Timing(queued=0.001, first_token=None, total=2.5),
    check=Check(chars=0, sha256="0" * 64),
    error=Failure(code="internal", message="m", retryable=True, retry_after=1.25),
)
ENTRY = SessionEntry(session="s", title="t", created=0.0, updated=1.0, turns=1, seq=2, running=True)
RECORD = TurnRecord(turn="t1", text="why?", created=0.0, answer="", from_=0, seq=1)

# From the server: a frame with everything, the fields that are always sent, and those that may be left out.
SERVER: list[tuple[Record, str, str]] = [
    (
        Ready(
            session="s",
            seq=1,
            from_=0,
            resumed=True,
            protocol="p",
            server="a",
            model="m",
            limits=Limits(frame_bytes=1, question_chars=1, waiting_turns=1),
            log="l",
            models=("m",),
            id="a",
        ),
        "type session seq from resumed protocol server model limits log models title user expires",
        "id",
    ),
    (
        Question(
            session="s",
            seq=1,
            turn="t1",
            id="q",
            text="why?",
            created=0.0,
            replaces="t0",
            options=Options(max_tokens=5),
        ),
        "type session seq turn text created",
        "id replaces options",
    ),
    (Token(session="s", seq=2, turn="t1", text="a"), "type session seq turn text", ""),
    (Thinking(session="s", seq=2, turn="t1", text="a"), "type session seq turn text", ""),
    (DONE, "type session seq turn reason model usage timing check", "error"),
    (Title(session="s", seq=2, text="a"), "type session seq text", ""),
    (
        Error(code="busy", message="m", retryable=True, retry_after=1.0, id="q", session="s"),
        "type code message retryable retry_after",
        "id session",
    ),
    (History(session="s", id="h", turns=[RECORD], more=False), "type session turns more", "id"),
    (Sessions(id="l", sessions=(ENTRY,), more=None), "type sessions more", "id"),
    (GoingAway(reconnect_after=0.5), "type reconnect_after", ""),
    (Pong(id="p"), "type", "id"),
    (Alive(), "type", ""),
]

# From clients: the least that each frame needs, and what else it may have.
CLIENT: list[tuple[dict[str, object], str]] = [
    ({"type": "ask", "text": "why?"}, "model temperature max_tokens when_busy"),
    ({"type": "cancel"}, "turn"),
    ({"type": "retry"}, "turn model temperature max_tokens"),
    ({"type": "edit", "turn": "t1", "text": "why?"}, "model temperature max_tokens"),
    ({"type": "history"}, "before limit"),
    ({"type": "attach"}, "session after log"),
    ({"type": "detach"}, ""),
    ({"type": "fork", "turn": "t1"}, ""),
    ({"type": "title", "text": "Colours"}, ""),
    ({"type": "sessions"}, "before limit"),
    ({"type": "forget", "session": "s"}, ""),
    ({"type": "ping"}, ""),
]


def wire(frame: Record) -> Any:
    return json.loads(encode(frame))


@given(frame=server_frames)
def test_server_frames_arrive_as_they_were_sent(frame: Record) -> None:
    """Encode, decode: the same."""
    assert decode_server(encode(frame)) == frame


@given(frame=client_frames)
def test_client_frames_arrive_as_they_were_sent(frame: Record) -> None:
    """Encode, decode: the same, as text too."""
    assert decode_client(encode(frame)) == decode_client(encode(frame).decode()) == frame


@given(event=events)
def test_events_come_back_from_the_log_as_they_were(event: Record) -> None:
    """A store keeps encoded frames."""
    assert decode_event(encode(event)) == event


@given(frame=server_frames)
def test_times_are_whole_milliseconds_and_moments_are_utc(frame: Record) -> None:
    """Everywhere, in nested objects too."""
    pairs: list[tuple[str, Any]] = []
    json.loads(encode(frame), object_pairs_hook=pairs.extend)

    for key, value in pairs:
        if key in {"retry_after", "queued", "first_token", "total", "reconnect_after"}:
            assert value is None or type(value) is int
        elif key in {"created", "updated"} or (key == "expires" and value is not None):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value)


def test_a_time_is_converted_here_and_nowhere_else() -> None:
    """Seconds inside, milliseconds outside; RFC 3339."""
    done = wire(DONE)
    question = wire(Question(session="s", seq=1, turn="t1", text="?", created=1_700_000_000.123))

    assert done["timing"] == {"queued": 1, "first_token": None, "total": 2500}
    assert done["error"] == {"code": "internal", "message": "m", "retryable": True, "retry_after": 1250}
    assert question["created"] == "2023-11-14T22:13:20.123Z"


def test_the_short_way_to_a_slice_makes_the_same_slice() -> None:
    """Every field is there."""
    assert make_token("s", "t1", 5, "abc") == Token(session="s", turn="t1", seq=5, text="abc")


@pytest.mark.parametrize(
    ("frame", "always", "optional"), SERVER, ids=[frame.__class__.__name__ for frame, *_ in SERVER]
)
def test_server_frames_have_the_fields_of_the_table(frame: Record, always: str, optional: str) -> None:
    """Those that are optional are absent, not null, where they have no value."""
    assert set(wire(frame)) == {*always.split(), *optional.split()}
    bare = replace(frame, **dict.fromkeys(optional.split()))
    assert set(wire(bare)) == set(always.split())


def test_unknown_usage_is_null() -> None:
    """Not absent: the table says so."""
    assert wire(DONE)["usage"] is None


def test_history_says_all_of_a_turn() -> None:
    """What its `done` would say is null while it runs."""
    (turn,) = wire(History(session="s", turns=[RECORD], more=True))["turns"]

    fields = "turn id text replaces created options answer reason model usage timing check error from seq"
    assert set(turn) == set(fields.split())
    assert {name for name, value in turn.items() if value is None} == {
        "id",
        "replaces",
        "options",
        "reason",
        "model",
        "usage",
        "timing",
        "check",
        "error",
    }


@pytest.mark.parametrize(("least", "more"), CLIENT, ids=[str(least["type"]) for least, _ in CLIENT])
def test_client_frames_need_what_the_table_says_and_no_more(least: dict[str, object], more: str) -> None:
    """A field that is missing is named, the id is repeated; fields that we do not know are ignored."""
    frame = decode_client(json.dumps(least | {"id": "f1", "from the future": [1]}))
    assert set(fields_of(type(frame))) | {"session"} == {*least, *more.split(), "id", "session"}
    assert frame.id == "f1"

    for name in set(least) - {"type"}:
        with pytest.raises(InvalidFrame, match=rf"^{name}: ") as caught:
            decode_client(json.dumps({key: value for key, value in least.items() if key != name} | {"id": "f1"}))
        assert caught.value.id == "f1"


@pytest.mark.parametrize("text", ["x" * 201, "a\nb", "a\tb", "\x1b[31m", "\x7f", "\u2028", "\u0085"])
def test_a_title_is_one_line_of_at_most_200_characters(text: str) -> None:
    """Lists show it, terminals too; code points count, and an empty one takes the name away."""
    for fits in ("", "🙂" * 200, "Colours: \u202bred, blue"):
        assert decode_client(json.dumps({"type": "title", "text": fits})) == TitleRequest(text=fits)

    with pytest.raises(
        InvalidFrame, match=r"^text: (String should have at most 200|It should have no control)"
    ) as caught:
        decode_client(json.dumps({"type": "title", "id": "f1", "text": text}))
    assert caught.value.id == "f1"


def test_a_question_says_only_the_options_that_were_given() -> None:
    """`options`, as far as they were given; what is left out is not null."""
    question = Question(session="s", seq=1, turn="t1", text="?", created=0.0, options=Options(temperature=0.5))

    assert wire(question)["options"] == {"temperature": 0.5}
    assert decode_event(encode(question)) == question


def test_the_smallest_question() -> None:
    """PROTOCOL's own example, with its defaults."""
    assert decode_client('{"type":"ask","text":"Why is the sky blue?"}') == Ask(text="Why is the sky blue?")
    assert (Ask(text="").when_busy, HistoryRequest().limit) == ("queue", 50)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ("", InvalidJSON, "not JSON"),
        ("{", InvalidJSON, "not JSON"),
        ('{"type":"ask","text":"\\ud800"}', InvalidJSON, "not JSON"),
        ("[" * 5000, InvalidJSON, "not JSON"),
        ("[]", InvalidFrame, "JSON object"),
        ("1", InvalidFrame, "JSON object"),
        ("null", InvalidFrame, "JSON object"),
        ('"ask"', InvalidFrame, "JSON object"),
        ("{}", InvalidFrame, "^type: "),
        ('{"type":"dance"}', UnknownType, "ask, attach, cancel"),
        ('{"type":5}', UnknownType, "types are"),
        ('{"type":null}', UnknownType, "types are"),
        ('{"type":"ask","text":5}', InvalidFrame, "^text: "),
        ('{"type":"ask","text":"a","when_busy":"never"}', InvalidFrame, "^when_busy: "),
        ('{"type":"ask","text":"a","temperature":3}', InvalidFrame, "^temperature: "),
        ('{"type":"ask","text":"a","temperature":NaN}', FrameError, "temperature|JSON"),
        ('{"type":"ask","text":"a","max_tokens":0}', InvalidFrame, "^max_tokens: "),
        ('{"type":"ask","text":"a","max_tokens":"9"}', InvalidFrame, "^max_tokens: "),
        ('{"type":"ask","text":"a","id":""}', InvalidFrame, "^id: "),
        ('{"type":"ask","text":"a","id":7}', InvalidFrame, "^id: "),
        ('{"type":"ask","text":"a","session":"no spaces"}', InvalidFrame, "^session: "),
        ('{"type":"history","limit":51}', InvalidFrame, "^limit: "),
        ('{"type":"history","before":-1}', InvalidFrame, "^before: "),
        ('{"type":"attach","session":"s","after":9007199254740992}', InvalidFrame, "^after: "),
        ('{"type":"attach","session":"s","after":1e400}', FrameError, "after|JSON"),
        ('{"type":"attach","session":""}', InvalidFrame, "^session: "),
        ('{"type":"attach","log":5}', InvalidFrame, "^log: "),
        ('{"type":"retry","model":""}', InvalidFrame, "^model: "),
        ('{"type":"edit","turn":"t1","text":"a","temperature":-1}', InvalidFrame, "^temperature: "),
    ],
)
def test_a_bad_frame_is_named_by_its_fault(data: str, error: type[FrameError], message: str) -> None:
    """The right code, and the field's name."""
    with pytest.raises(error, match=message):
        decode_client(data)


@pytest.mark.parametrize("data", ['{"type":"dance","id":"f1"}', '{"id":"f1"}', '{"type":"edit","id":"f1"}'])
def test_the_id_of_a_bad_frame_is_repeated(data: str) -> None:
    """As far as it can be read."""
    with pytest.raises(FrameError) as caught:
        decode_client(data)
    assert caught.value.id == "f1"


@pytest.mark.parametrize("id", ['""', "5", '"' + "x" * 65 + '"', "null", "{}"])
def test_a_bad_id_is_not(id: str) -> None:
    """It could not be anybody's."""
    with pytest.raises(FrameError) as caught:
        decode_client('{"type":"dance","id":' + id + "}")
    assert caught.value.id is None


@given(data=st.text(st.characters(exclude_categories=["Cs"])) | st.binary())
def test_whatever_arrives_is_a_frame_or_a_frame_error(data: str | bytes) -> None:
    """Nothing else ever leaves the decoder."""
    with suppress(FrameError):
        decode_client(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    frame=st.fixed_dictionaries(
        {"type": st.sampled_from([least["type"] for least, _ in CLIENT])},
        optional=dict.fromkeys(
            [
                "id",
                "session",
                "text",
                "turn",
                "model",
                "temperature",
                "max_tokens",
                "when_busy",
                "before",
                "limit",
                "after",
                "log",
            ],
            json_values,
        ),
    )
)
def test_whatever_the_fields_hold_it_is_a_frame_or_a_frame_error(frame: dict[str, object]) -> None:
    """Also for JSON that is nearly right."""
    with suppress(InvalidFrame, InvalidJSON):
        decode_client(json.dumps(frame))


@pytest.mark.parametrize(
    "place", ["", ',"session":"s"', ',"seq":5', ',"session":"s","seq":"5"', ',"session":5,"seq":5']
)
def test_a_reader_skips_frames_from_the_future_but_not_broken_ones(place: str) -> None:
    """Unknown types without a place in a log are None; unknown fields are ignored."""
    assert decode_server('{"type":"fireworks"' + place + "}") is None
    assert decode_server('{"type":"alive","colour":"red"}') == Alive()
    with pytest.raises(FrameError):
        decode_server('{"type":"token"}')


@given(session=sessions, seq=seqs, kind=texts, more=json_values)
def test_an_event_from_the_future_has_a_place(session: str, seq: int, kind: str, more: object) -> None:
    """docs/protocol.md, promise 8: a reader stands where the event says, whatever else it has."""
    event = {"type": f"future {kind}", "session": session, "seq": seq, "turn": more, "text": more, "id": more}

    assert decode_server(json.dumps(event)) == UnknownEvent(session=session, seq=seq)


def test_a_word_from_the_future_is_no_decoding_error() -> None:
    """docs/protocol.md, promise 8: it is an end, or an error, like any other; in history and the log too."""
    done = wire(DONE) | {"reason": "evaporated", "error": wire(DONE)["error"] | {"code": "evaporated"}}
    turn = wire(History(session="s", turns=[RECORD], more=False))["turns"][0] | {"reason": "evaporated"}
    error = {"type": "error", "code": "evaporated", "message": "m", "retryable": True}

    read = decode_server(json.dumps(done))
    assert isinstance(read, Done)
    assert (read.reason, read.error and read.error.code) == ("evaporated", "evaporated")
    assert decode_event(encode(read)) == read
    history = decode_server(json.dumps({"type": "history", "session": "s", "turns": [turn], "more": False}))
    assert isinstance(history, History)
    assert history.turns[0].reason == "evaporated"
    assert decode_server(json.dumps(error)) == Error(code="evaporated", message="m", retryable=True)


def test_an_earlier_server_does_not_name_its_log() -> None:
    """Nor the frame that its `ready` answers: a client reads it all the same."""
    ready = {name: value for name, value in wire(SERVER[0][0]).items() if name not in {"log", "id"}}

    read = decode_server(json.dumps(ready))
    assert isinstance(read, Ready)
    assert (read.log, read.id) == ("", None)


def test_an_error_says_what_the_exception_says() -> None:
    """The code, safe words, and whom it answers."""
    frame = error_frame(RateLimited(retry_after=2.0), id="q", session="s")

    assert wire(frame) == {
        "type": "error",
        "code": "rate_limited",
        "message": "Too many requests.",
        "retryable": True,
        "retry_after": 2000,
        "id": "q",
        "session": "s",
    }


@given(text=texts.filter(bool))
def test_a_slice_begins_as_many_code_points_before_its_end(text: str) -> None:
    """And any other event one before."""
    for kind in (Token, Thinking):
        assert kind(session="s", seq=1000, turn="t", text=text).start == 1000 - len(text)
    assert DONE.start == DONE.seq - 1


# --- the schema ------------------------------------------------------------------------------------------------------

KEYWORDS = {
    "$schema",
    "$ref",
    "$defs",
    "title",
    "description",
    "type",
    "const",
    "enum",
    "anyOf",
    "oneOf",
    "items",
    "properties",
    "required",
    "default",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "pattern",
    "format",
    "additionalProperties",
    "discriminator",
}


def subschemas(node: Any) -> list[Any]:
    found = [node]
    for key, inner in node.items():
        if key in {"properties", "$defs"}:
            for each in inner.values():
                found += subschemas(each)
        elif key in {"anyOf", "oneOf"}:
            for each in inner:
                found += subschemas(each)
        elif key == "items":
            found += subschemas(inner)
    return found


SCHEMA = schema()
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


def fits(value: Any, node: Any) -> bool:
    """As much of a JSON Schema validator as these schemas need."""
    kind = node.get("type")
    return (
        (kind is None or (isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))))
        and ("$ref" not in node or fits(value, SCHEMA["$defs"][node["$ref"].removeprefix("#/$defs/")]))
        and ("anyOf" not in node or any(fits(value, each) for each in node["anyOf"]))
        and ("oneOf" not in node or sum(fits(value, each) for each in node["oneOf"]) == 1)
        and value in node.get("enum", [value])
        and value == node.get("const", value)
        and all(name in value for name in node.get("required", []))
        and all(fits(value[name], each) for name, each in node.get("properties", {}).items() if name in value)
        and ("items" not in node or all(fits(each, node["items"]) for each in value))
    )


def test_the_schema_is_one_and_all_of_its_references_resolve() -> None:
    """Draft 2020-12, by keywords that it has."""
    whole = schema()
    assert whole["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for node in subschemas(whole):
        assert set(node) <= KEYWORDS
        if "$ref" in node:
            assert node["$ref"].removeprefix("#/$defs/") in whole["$defs"]


def test_the_schema_has_every_frame_on_its_side() -> None:
    """One definition each."""
    whole = schema()

    def kinds(side: str) -> list[str]:
        names = [each["$ref"].removeprefix("#/$defs/") for each in whole["$defs"][side]["oneOf"]]
        return sorted(whole["$defs"][name]["properties"]["type"]["const"] for name in names)

    assert kinds("client") == sorted(str(least["type"]) for least, _ in CLIENT)
    assert kinds("server") == sorted(wire(frame)["type"] for frame, _, _ in SERVER)


@pytest.mark.parametrize(("frame", "always", "sometimes"), SERVER, ids=lambda value: getattr(value, "type", ""))
def test_the_schema_requires_what_is_always_sent(frame: Record, always: str, sometimes: str) -> None:
    """And what is left out is never null: whoever generates types from it gets those of the wire."""
    definition = schema()["$defs"][type(frame).__name__]

    assert sorted(definition["required"]) == sorted(always.split())
    for name in sometimes.split():
        assert {"type": "null"} not in definition["properties"][name].get("anyOf", [])


def test_a_frame_without_a_type_does_not_fit_the_schema() -> None:
    """As the server does not take it."""
    for least, _ in CLIENT:
        typeless = {key: value for key, value in least.items() if key != "type"}
        assert not fits(typeless, {"$ref": "#/$defs/client"})


@given(frame=server_frames)
def test_what_the_server_sends_fits_the_schema(frame: Record) -> None:
    """Whoever generates types from it can trust them."""
    assert fits(wire(frame), {"$ref": "#/$defs/server"})


@pytest.mark.parametrize(("least", "more"), CLIENT, ids=[str(least["type"]) for least, _ in CLIENT])
def test_what_a_client_may_send_fits_the_schema(least: dict[str, object], more: str) -> None:
    """The least of it, without the fields that have defaults; and nothing less."""
    del more
    assert fits(least, {"$ref": "#/$defs/client"})
    assert not fits(
        {key: value for key, value in least.items() if key != "type"} | {"type": "x"}, {"$ref": "#/$defs/client"}
    )


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"error","code":"x","message":"m","retryable":true,"retry_after":N}',
        '{"type":"going_away","reconnect_after":N}',
    ],
)
def test_a_duration_that_no_number_can_hold_is_a_frame_error(frame: str) -> None:
    """An integer of JSON may have any number of digits."""
    with pytest.raises(InvalidFrame):
        decode_server(frame.replace("N", "1" + "0" * 400))


@pytest.mark.parametrize("text", [5, b"bytes", {"a": 1}])
@pytest.mark.filterwarnings("default")
def test_a_field_of_another_type_is_not_encoded(text: object) -> None:
    """Whatever warnings do here."""
    with pytest.raises(ValueError, match="Expected `str`"):
        encode(Ask(id="q", text=cast("str", text)), strict=True)
