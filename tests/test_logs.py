"""Logs: where lines go, and what is never in them."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import SecretStr

from askbot_ws.config import Settings
from askbot_ws.logs import configure, hash_session


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, ours = root.handlers[:], root.level, logging.getLogger("askbot_ws").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("askbot_ws").setLevel(ours)
    structlog.reset_defaults()


def test_a_line_is_an_object_with_its_time() -> None:
    """RFC 3339 in UTC; facts as keys."""
    stream = io.StringIO()
    configure(Settings(), stream)

    structlog.get_logger("askbot_ws.hub").info("turn_ended", reason="stop", text="✨")

    line = json.loads(stream.getvalue())
    assert [*line][:3] == ["timestamp", "level", "event"]
    assert line["timestamp"].endswith("Z")
    assert (line["event"], line["level"], line["logger"]) == ("turn_ended", "info", "askbot_ws.hub")
    assert (line["reason"], line["text"]) == ("stop", "✨")


def test_other_packages_are_heard_when_they_warn() -> None:
    """Their lines look like ours; their chatter stays away at every level of ours."""
    stream = io.StringIO()
    configure(Settings(log_level="debug"), stream)

    logging.getLogger("websockets.server").info("connection open")
    logging.getLogger("websockets.server").warning("odd %s", "thing")
    structlog.get_logger("askbot_ws.hub").debug("woken")

    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert events == ["odd thing", "woken"]


def test_the_level_is_kept_to() -> None:
    """Less important lines are not written."""
    stream = io.StringIO()
    configure(Settings(log_level="error"), stream)

    structlog.get_logger("askbot_ws.hub").warning("told")

    assert stream.getvalue() == ""


@pytest.mark.parametrize("look", ["console", "json"])
def test_tracebacks_have_no_secrets(look: str) -> None:
    """Neither the key, which a provider may repeat, nor local variables, which hold questions."""
    stream = io.StringIO()
    configure(Settings.model_validate({"log_format": look, "openai_api_key": SecretStr("sk-123")}), stream)
    question = "what nobody may read"

    def ask(text: str) -> None:
        raise ValueError(f"Incorrect key: sk-123, {len(text)}")

    try:
        ask(question)
    except ValueError:
        structlog.get_logger("askbot_ws.upstream").exception("upstream_failed")

    assert "Incorrect key: …" in stream.getvalue()
    assert question not in stream.getvalue()


@pytest.mark.parametrize("look", ["console", "json"])
def test_a_session_is_logged_as_a_hash(look: str) -> None:
    """Always the same, so that its lines can be found; nobody can open the session by it."""
    stream = io.StringIO()
    configure(Settings.model_validate({"log_format": look}), stream)

    structlog.get_logger("askbot_ws.hub").info("turn_ended", session="xq3Vb0Zs4kKQkXb3oYk9wA")

    assert hash_session("xq3Vb0Zs4kKQkXb3oYk9wA") == hashlib.sha256(b"xq3Vb0Zs4kKQkXb3oYk9wA").hexdigest()[:12]
    assert hash_session("xq3Vb0Zs4kKQkXb3oYk9wA") in stream.getvalue()
    assert "xq3Vb0Zs" not in stream.getvalue()
