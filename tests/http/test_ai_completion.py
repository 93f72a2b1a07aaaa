"""`POST /aiCompletion`: a question in JSON, answered by a stream of bare text."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from askbot_ws.core.guard import refusal
from askbot_ws.errors import (
    LogMoved,
    StoreError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamStalled,
    UpstreamUnavailable,
)
from askbot_ws.http.ai_completion import STATUS_BY_CODE
from askbot_ws.server.app import Server
from askbot_ws.testing import ScriptedUpstream, Step, serving
from askbot_ws.upstream import Ending, ThinkingText

from ..process import ROOT, Askbot, ProviderProcess, Story, address, askbot, eventually, reading, resident
from .raw_requests import BrokenOffError, Response, chunk_of, head_of, lines, request, response_of

PATH = "/aiCompletion"


async def complete(server: Server, prompt: str = "Why?", **headers: str) -> Response:
    """A question as the page asks it."""
    body = json.dumps({"userPrompt": prompt})
    return await request(server.port, PATH, method="POST", body=body, Content_Type="application/json", **headers)


@asynccontextmanager
async def completing(port: int, prompt: str = "Why?", *fields: str) -> AsyncGenerator[asyncio.StreamReader]:
    """A question of which the answer is read by hand. Leaving breaks the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
    body = json.dumps({"userPrompt": prompt}).encode()
    fields = ("Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {len(body)}", *fields)
    writer.write(lines("POST", PATH, *fields) + body)
    try:
        async with asyncio.timeout(20):
            yield reader
    finally:
        writer.transport.abort()


async def sessions_of(server: Server) -> int:
    """How many there are in memory, once what is over has left."""
    await eventually(lambda: not server.acceptor.state.tasks)
    return server.hub.session_count


# --- the answer ------------------------------------------------------------------------------------------------------


async def test_the_answer_is_a_stream_of_bare_text() -> None:
    """Each piece as it comes, in chunks; nobody on the way is to hold it back, guess at it or keep it."""
    gates = [asyncio.Event() for _ in range(3)]
    script: list[Step] = []
    for gate, piece in zip(gates, ("Because ", "of the Föhn ", "🌬."), strict=True):
        script += [gate, piece]
    async with serving(ScriptedUpstream(script)) as server, completing(server.port) as reader:
        gates[0].set()
        head = await head_of(reader)
        assert (head.status, head.headers["transfer-encoding"]) == (200, "chunked")
        assert head.headers["content-type"] == "text/plain; charset=utf-8"
        assert head.headers["cache-control"] == "no-store"
        assert head.headers["x-accel-buffering"] == "no"
        assert head.headers["x-content-type-options"] == "nosniff"
        assert (await chunk_of(reader)).decode() == "Because "
        gates[1].set()
        assert (await chunk_of(reader)).decode() == "of the Föhn "
        gates[2].set()
        assert (await chunk_of(reader)).decode() == "🌬."
        assert await chunk_of(reader) == b""


async def test_reasoning_is_no_part_of_it() -> None:
    """Bare text is the answer alone, wherever the model thinks."""
    think = ThinkingText
    async with serving(ScriptedUpstream([think("hm"), "So", think("sure?"), " it is."], [think("hm")])) as server:
        assert [(await complete(server)).body for _ in range(2)] == [b"So it is.", b""]


async def test_the_question_is_asked_alone_and_forgotten() -> None:
    """Each in a session of its own; nothing of it stays."""
    upstream = ScriptedUpstream(["One."], ["Two."], [])
    async with serving(upstream) as server:
        answers = [await complete(server, prompt) for prompt in ("First?", "Second?", "Nothing?")]
        assert [answer.body for answer in answers] == [b"One.", b"Two.", b""]
        assert await sessions_of(server) == 0
        assert all("askbot-session" not in answer.headers for answer in answers)

    assert [[message.text for message in prompt.messages] for prompt in upstream.prompts] == [
        ["First?"],
        ["Second?"],
        ["Nothing?"],
    ]


async def test_nothing_of_a_forgotten_session_is_on_the_disk(tmp_path: Path) -> None:
    """Neither the question nor the answer, in no file of the store."""
    async with serving(ScriptedUpstream(["UNHEARD-OF"]), store=f"sqlite:///{tmp_path}/askbot.db") as server:
        assert (await complete(server, "UNASKED?")).body == b"UNHEARD-OF"
        assert await sessions_of(server) == 0

    kept = everything_in(tmp_path)
    assert b"UNHEARD" not in kept
    assert b"UNASKED" not in kept


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_an_answer_that_was_cut_by_its_length_is_an_answer() -> None:
    """As for the article's relay."""
    async with serving(ScriptedUpstream(["Half", Ending("length")])) as server:
        response = await complete(server)

    assert (response.status, response.body) == (200, b"Half")


async def test_a_long_answer_comes_whole() -> None:
    """A megabyte, which memory does not keep for one who reads it slowly."""
    text = "".join(f"word{number} " for number in range(100_000))
    pieces = [text[place : place + 5000] for place in range(0, len(text), 5000)]
    async with serving(ScriptedUpstream(pieces)) as server:
        assert (await complete(server)).body.decode() == text


async def test_a_client_of_http_1_0_gets_the_whole_answer() -> None:
    """It knows no chunks; nginx asks like this unless it is told otherwise."""
    upstream = ScriptedUpstream(["So ", 0.05, "it is."], ["So ", UpstreamStalled()])
    async with serving(upstream) as server:
        for status, body in ((200, b"So it is."), (502, b"")):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            head = lines("POST", PATH, "Content-Type: application/json", "Content-Length: 18")
            writer.write(head.replace(b"HTTP/1.1", b"HTTP/1.0", 1) + b'{"userPrompt":"?"}')
            response = await response_of(reader)
            assert response.status == status
            assert "transfer-encoding" not in response.headers
            assert response.body == body or status != 200
            assert await reader.read() == b""
            writer.close()


# --- sessions that are kept ------------------------------------------------------------------------------------------


async def test_a_session_that_is_named_is_continued() -> None:
    """`new` makes one, whose id the answer has; it is a session like others."""
    upstream = ScriptedUpstream(["One."], ["Two."], ["Three."])
    async with serving(upstream) as server:
        first = await complete(server, "First?", Askbot_Session="new")
        session = first.headers["askbot-session"]
        second = await complete(server, "Second?", Askbot_Session=session)
        assert second.headers["askbot-session"] == session
        async with reading(address(server.port), Story(session=session)) as reader:
            await reader.until(lambda _: len(reader.story.turns) == 2 and reader.story.last.done is not None)
            assert (await reader.answer("Third?")).answer == "Three."

    assert [message.text for message in upstream.prompts[-1].messages] == [
        "First?",
        "One.",
        "Second?",
        "Two.",
        "Third?",
    ]


async def test_a_question_behind_another_gets_its_own_answer() -> None:
    """In one session they are answered in turn; each client hears its own."""
    gate = asyncio.Event()
    async with serving(ScriptedUpstream(["One."], ["So ", gate, "two."], ["Three."])) as server:
        session = (await complete(server, Askbot_Session="new")).headers["askbot-session"]
        async with completing(server.port, "Second?", f"Askbot-Session: {session}") as reader:
            assert (await head_of(reader)).status == 200
            third = asyncio.create_task(complete(server, "Third?", Askbot_Session=session))
            assert await chunk_of(reader) == b"So "
            gate.set()
            assert await chunk_of(reader) == b"two."
            assert (await third).body == b"Three."


async def test_a_session_that_there_is_not_is_404() -> None:
    """No such, an impossible one, one that was forgotten; two of them are a mistake."""
    async with serving() as server:
        for session in ("nothing-like-it", "../../etc", "x" * 65, ""):
            response = await complete(server, Askbot_Session=session)
            assert (response.status, response.json["code"]) == (404, "session_not_found"), session
        async with completing(server.port, "Why?", "Askbot-Session: new", "Askbot-Session: new") as reader:
            assert (await response_of(reader)).status == 400
        assert await sessions_of(server) == 0


# --- questions that are not taken ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("", 400, "JSON"), ("{", 400, "JSON"), ('{"userPrompt": "\\ud800"}', 400, "JSON"), ("[]", 400, "object"),
        ('"Why?"', 400, "object"), ("null", 400, "object"), ("{}", 400, "userPrompt: it is missing"),
        ('{"userprompt": "Why?"}', 400, "missing"), ('{"userPrompt": null}', 400, "missing"),
        ('{"userPrompt": 7}', 400, "should be a text"), ('{"userPrompt": ["Why?"]}', 400, "should be a text"),
        ('{"userPrompt": ""}', 400, "empty"), ('{"userPrompt": " \\n\\u200b"}', 400, "empty"),
        (json.dumps({"userPrompt": "x" * 8001}), 413, "8000 are the most"),
        (json.dumps({"userPrompt": "x" * 2**20}), 413, "1048576 bytes"),
        ("[" * 100_000, 400, "JSON"),
    ],
)  # fmt: skip
async def test_a_bad_question_is_told_why(body: str, status: int, words: str) -> None:
    """In JSON, and nothing is asked."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server:
        response = await request(server.port, PATH, method="POST", body=body, Content_Type="application/json")
        assert await sessions_of(server) == 0

    assert response.status == status
    assert words in response.json["error"]
    assert response.headers["content-type"] == "application/json"
    assert upstream.prompts == []


async def test_only_json_is_taken_for_json() -> None:
    """A form is not, which a page may send without being asked whether it may; to say nothing is to say JSON."""
    async with serving() as server:
        for kind, status in (
            ("application/json; charset=utf-8", 200), ("APPLICATION/JSON", 200), ("application/problem+json", 200),
            ("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("", 415),
        ):  # fmt: skip
            response = await request(server.port, PATH, method="POST", body='{"userPrompt": "?"}', Content_Type=kind)
            assert response.status == status, kind
        assert (await request(server.port, PATH, method="POST", body='{"userPrompt": "?"}')).status == 200


async def test_it_is_there_to_be_posted_to() -> None:
    """Whoever opens it in a browser is told so."""
    async with serving() as server:
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            response = await request(server.port, PATH, method=method)
            assert (response.status, response.headers["allow"]) == (405, "OPTIONS, POST")


async def test_a_server_that_has_enough_to_do_says_when_to_come_again() -> None:
    """503 with Retry-After: all answers that may run are running and none may wait, or the server drains."""
    async with serving(ScriptedUpstream(["So ", 60.0]), limits=True, max_turns=1, max_queued=0) as server:
        async with completing(server.port) as reader:
            assert (await head_of(reader)).status == 200
            response = await complete(server)
            assert (response.status, response.headers["retry-after"]) == (503, "5")
            assert response.json["code"] == "overloaded"
        server.hub.refuse_turns()
        response = await complete(server)
        assert (response.status, response.headers["retry-after"]) == (503, "1")


async def test_a_queue_that_is_full_says_when_to_come_again() -> None:
    """429, in a session that is kept."""
    async with serving(ScriptedUpstream(["One."], ["So ", 60.0]), max_waiting=0) as server:
        session = (await complete(server, Askbot_Session="new")).headers["askbot-session"]
        async with completing(server.port, "Second?", f"Askbot-Session: {session}") as reader:
            assert (await head_of(reader)).status == 200
            response = await complete(server, Askbot_Session=session)
            assert (response.status, response.headers["retry-after"]) == (429, "1")


async def test_a_store_that_takes_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is asked."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server:

        def full(*_: object) -> None:
            raise StoreError

        monkeypatch.setattr(server.hub.store, "append", full)
        response = await complete(server)

    assert response.status == 500
    assert response.json["error"] == StoreError.default
    assert upstream.prompts == []


# --- answers that fail -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "status", "code"),
    [
        (UpstreamUnavailable(), 502, "upstream_unavailable"),
        (UpstreamRejected(), 502, "upstream_rejected"),
        (UpstreamStalled(), 502, "upstream_stalled"),
        (UpstreamRateLimited(retry_after=7.2), 429, "upstream_rate_limited"),
        (RuntimeError("secret"), 500, "internal"),
        (Ending("refused"), 403, "refused"),
    ],
)
async def test_an_error_before_the_first_text_has_a_status(step: Step, status: int, code: str) -> None:
    """With its words, and with when to come again; never with what the provider said."""
    async with serving(ScriptedUpstream([step])) as server:
        response = await complete(server)
        assert await sessions_of(server) == 0

    assert (response.status, response.json["code"]) == (status, code)
    assert "secret" not in response.json["error"]
    assert response.headers.get("retry-after") == ("8" if status == 429 else None)


async def test_what_the_guard_refuses_has_a_status_and_its_sentence() -> None:
    """Not a text that breaks off."""
    upstream = ScriptedUpstream()
    async with serving(upstream, guard="on") as server:
        response = await complete(server, "Hello!")
        assert await sessions_of(server) == 0

    assert (response.status, response.json) == (403, {"error": refusal("Hello!"), "code": "refused"})
    assert upstream.prompts == []


@pytest.mark.parametrize("step", [UpstreamUnavailable(), RuntimeError("secret"), Ending("refused")])
async def test_an_answer_that_fails_in_the_middle_has_no_end(step: Step) -> None:
    """The client can tell it from a whole one; and the log has one line for it, the turn's."""
    with capture_logs() as logged:
        async with serving(ScriptedUpstream(["So ", step])) as server, completing(server.port) as reader:
            assert (await head_of(reader)).status == 200
            assert await chunk_of(reader) == b"So "
            with pytest.raises(BrokenOffError):
                await chunk_of(reader)
            assert await sessions_of(server) == 0

    assert [line["event"] for line in logged].count("turn_ended") == 1
    assert "request_failed" not in [line["event"] for line in logged]


async def test_somebody_else_may_stop_an_answer() -> None:
    """On a connection to the session: the answer has no end then, or it is a conflict."""
    async with serving(ScriptedUpstream(["One."], ["So ", 60.0], [60.0])) as server:
        session = (await complete(server, Askbot_Session="new")).headers["askbot-session"]
        async with reading(address(server.port), Story(session=session)) as other:
            async with completing(server.port, "Second?", f"Askbot-Session: {session}") as reader:
                assert await chunk_of_answer(reader) == b"So "
                await other.send(type="cancel")
                with pytest.raises(BrokenOffError):
                    await chunk_of(reader)
            third = asyncio.create_task(complete(server, "Third?", Askbot_Session=session))
            await other.until(lambda frame: frame["type"] == "question" and frame["text"] == "Third?")
            await other.send(type="cancel")
            assert (await third).status == 409


async def chunk_of_answer(reader: asyncio.StreamReader) -> bytes:
    """The first."""
    assert (await head_of(reader)).status == 200
    return await chunk_of(reader)


# --- clients that leave, and that do not read ------------------------------------------------------------------------


@pytest.mark.parametrize("script", [["So ", 60.0], [60.0]], ids=["in the middle", "before it begins"])
@pytest.mark.parametrize("session", ["", "Askbot-Session: new"], ids=["forgotten", "kept"])
async def test_leaving_stops_the_model(script: list[Step], session: str) -> None:
    """At once, wherever it is."""
    upstream = ScriptedUpstream(script)
    async with serving(upstream) as server:
        async with completing(server.port, "Why?", *filter(None, [session])) as reader:
            if len(script) > 1:
                assert await chunk_of_answer(reader) == b"So "
            else:
                await eventually(lambda: len(upstream.prompts) == 1)
        await eventually(lambda: upstream.stopped == 1, 5)
        await eventually(lambda: not server.acceptor.state.tasks)


async def test_leaving_does_not_stop_the_questions_of_others() -> None:
    """In a session that several use."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream(["One."], ["So ", gate, "it is."])
    async with serving(upstream) as server:
        session = (await complete(server, Askbot_Session="new")).headers["askbot-session"]
        async with reading(address(server.port), Story(session=session)) as other:
            await other.ask("Second?")
            await other.until("token")
            async with completing(server.port, "Third?", f"Askbot-Session: {session}"):
                await other.until(lambda frame: frame["type"] == "question" and frame["text"] == "Third?")
            await other.until(lambda frame: frame["type"] == "done" and frame["reason"] == "cancelled")
            gate.set()
            await other.until(lambda frame: frame["type"] == "done" and frame["reason"] == "stop")

    assert upstream.stopped == 0


async def test_clients_that_stop_reading_cost_no_memory(tmp_path: Path, provider: ProviderProcess) -> None:
    """Ten of them, with half a megabyte each: what they have not taken is in the log, once; then they are given up."""
    with askbot(tmp_path, "--reader-timeout", "2s", upstream=provider.url) as server:
        port = int(server.http.rpartition(":")[2])
        await asked(server, "say:Warm.")
        before = resident(server.process.pid)
        writers: list[asyncio.StreamWriter] = []
        for _ in range(10):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            body = b'{"userPrompt": "burst:50000"}'
            fields = ("Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {len(body)}")
            writer.write(lines("POST", PATH, *fields) + body)
            writers.append(writer)
        await eventually(lambda: len([line for line in server.lines() if line["event"] == "turn_ended"]) > 10, 60)
        grown = resident(server.process.pid) - before
        for writer in writers:
            writer.transport.abort()

    assert grown < 32 * 2**20


async def asked(server: Askbot, prompt: str) -> Response:
    """A question to the real server."""
    port, body = int(server.http.rpartition(":")[2]), json.dumps({"userPrompt": prompt})
    return await request(port, PATH, method="POST", body=body, Content_Type="application/json")


async def test_an_answer_that_a_fault_ends_is_forgotten_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session is let go of and opened anew; nothing of it stays on the disk either."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream(["UNHEARD-OF", gate, "More."])
    async with serving(upstream, store=f"sqlite:///{tmp_path}/askbot.db") as server:

        def moved(entries: Mapping[str, object]) -> dict[str, StoreError]:
            monkeypatch.undo()
            return dict.fromkeys(entries, LogMoved())

        async with completing(server.port, "UNASKED?") as reader:
            assert await chunk_of_answer(reader) == b"UNHEARD-OF"
            monkeypatch.setattr(server.hub.store, "append", moved)
            gate.set()
            with pytest.raises(BrokenOffError):
                await chunk_of(reader)
        assert await sessions_of(server) == 0

    kept = everything_in(tmp_path)
    assert b"UNHEARD" not in kept
    assert b"UNASKED" not in kept


# --- pages of other origins ------------------------------------------------------------------------------------------


async def test_a_page_of_this_machine_may_ask() -> None:
    """From any port; what it may send is asked before, and it may read the session's id."""
    async with serving(origins="https://chat.example") as server:
        for origin in (
            "http://localhost:3000", "https://localhost", "http://127.0.0.1:5500", "http://[::1]:80", "https://chat.example",
        ):  # fmt: skip
            asking = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
            preflight = await request(server.port, PATH, method="OPTIONS", Origin=origin, **asking)
            assert preflight.status == 204
            assert preflight.headers["access-control-allow-origin"] == origin
            assert preflight.headers["access-control-allow-methods"] == "POST"
            assert preflight.headers["access-control-allow-headers"] == "Authorization, Content-Type, Askbot-Session"
            answer = await complete(server, Origin=origin, Askbot_Session="new")
            assert answer.status == 200
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["access-control-expose-headers"] == "Askbot-Session"
            assert "Origin" in answer.headers["vary"]


async def test_a_page_may_read_why_it_is_refused() -> None:
    """Whoever refuses it: the guard, the model, or the server before either."""
    origin = "http://localhost:3000"
    async with serving(ScriptedUpstream([UpstreamUnavailable()]), max_frame=5000) as server:
        for response in (
            await complete(server, "", Origin=origin),
            await complete(server, Origin=origin),
            await complete(server, "x" * 6000, Origin=origin),
        ):
            assert response.status in (400, 502, 413)
            assert response.json["error"]
            assert response.headers["access-control-allow-origin"] == origin


async def test_a_page_of_another_site_may_not_ask() -> None:
    """Neither with a question before, nor without; nothing is asked of the model."""
    upstream = ScriptedUpstream()
    async with serving(upstream, max_frame=5000) as server:
        for origin in (
            "https://evil.example",
            "null",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
        ):
            for response in (
                await request(server.port, PATH, method="OPTIONS", Origin=origin, Access_Control_Request_Method="POST"),
                await complete(server, Origin=origin),
                await complete(server, "x" * 6000, Origin=origin),
            ):
                assert response.status in (403, 413)
                assert "access-control-allow-origin" not in response.headers

    assert upstream.prompts == []


# --- the docs --------------------------------------------------------------------------------------------------------


async def test_the_command_of_the_docs_asks() -> None:
    """docs/http.md, with the port of this server; and every status that it tells of is one that we send."""
    page = (ROOT / "docs/http.md").read_text("utf-8")
    (command,) = re.findall(r"^```sh\n(curl .*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    words = shlex.split(command)
    (kind,) = [word for word in words if word.startswith("Content-Type: ")]
    async with serving(ScriptedUpstream(["Paris."])) as server:
        assert words[2] == f"http://127.0.0.1:8765{PATH}"
        about = {"Content_Type": kind.removeprefix("Content-Type: ")}
        answer = await request(server.port, PATH, method="POST", body=words[words.index("-d") + 1], **about)

    assert answer.body == b"Paris."
    told = {int(status) for status in re.findall(r"^\| (\d{3}) \|", page, flags=re.MULTILINE)}
    assert told - {415} <= {status.value for status in STATUS_BY_CODE.values()}
