"""What nodes send to one another arrives as it was, and what is of no version that is known breaks nothing."""

from __future__ import annotations

import orjson
import pytest

from askbot_ws import errors
from askbot_ws.core.commands import Ask, Cancel, Command, Edit, Forget, Retry, Title
from askbot_ws.core.principal import ANONYMOUS, Principal
from askbot_ws.errors import AskbotError, FrameError, QueueFull, StoreError
from askbot_ws.events import Options
from askbot_ws.hub.placement import ForwardedCommand
from askbot_ws.nodes.codec import (
    Executed,
    Failed,
    HandoverQueued,
    NotOwner,
    Request,
    decode_message,
    encode_message,
    is_repeatable,
)

COMMANDS: list[Command] = [
    Ask("why? 왜? \x00", id="q", options=Options(model="m", temperature=0.5, max_tokens=7), when_busy="replace"),
    Ask("why?"),
    Retry("t3", id="q", options=Options(max_tokens=1)),
    Retry(),
    Edit("t3", "what?"),
    Cancel("t3"),
    Cancel(),
    Forget(),
    Title(""),
]
PRINCIPAL = Principal("ann", frozenset({"admin", "tickets"}), "staff", 1_790_000_000.5, "s-1", True, "key-1")  # noqa: FBT003


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_command_arrives_as_it_was_sent(command: Command) -> None:
    """With whoever sends it, from where: the owner decides as if the client were connected there."""
    for principal in (PRINCIPAL, ANONYMOUS):
        request = Request("r1", "node-a", ForwardedCommand(principal, "s-1", command, "::1"))
        assert decode_message(encode_message(request)) == request


def test_results_arrive() -> None:
    """And the notice that there is something to take over."""
    for message in (Executed("r1", 12), NotOwner("r1"), HandoverQueued()):
        assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("name", [name for name in errors.__all__ if issubclass(getattr(errors, name), AskbotError)])
def test_an_error_is_the_same_error_at_the_node_that_sent_the_command(name: str) -> None:
    """Its class, its words and whether it may be tried again: a client does not notice where it was raised."""
    made: type[AskbotError] = getattr(errors, name)
    sent = made("It is so.", id="q") if issubclass(made, FrameError) else made("It is so.", retry_after=1.5)
    sent.__cause__ = ValueError("a driver's words")
    encoded = encode_message(Failed("r1", sent))
    received = decode_message(encoded)

    assert b"driver" not in encoded
    assert isinstance(received, Failed)
    error = received.error
    assert (type(error), error.code, error.message) == (made, sent.code, "It is so.")
    assert (error.retryable, error.retry_after, getattr(error, "id", None)) == (
        sent.retryable,
        sent.retry_after,
        getattr(sent, "id", None),
    )


def test_an_error_that_only_one_program_has_arrives_as_what_it_is_a_kind_of() -> None:
    """A class of a later version, for instance."""

    class QueueOfPatienceFull(QueueFull):
        pass

    received = decode_message(encode_message(Failed("r1", QueueOfPatienceFull("Wait.", retryable=False))))

    assert isinstance(received, Failed)
    assert (type(received.error), received.error.message, received.error.retryable) == (QueueFull, "Wait.", False)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"\xff", b"{}", b'{"type":"later"}', b'{"type":"request","id":"r"}', b'{"type":"failed","id":"r"}'],
)
def test_what_is_no_message_of_this_version_is_refused(data: bytes) -> None:
    """By one kind of exception, whatever it is."""
    with pytest.raises(ValueError, match="no message"):
        decode_message(data)


def test_a_command_of_a_later_version_is_refused() -> None:
    """Its name, or a value that a field may have then."""
    fields = orjson.loads(encode_message(Request("r1", "a", ForwardedCommand(ANONYMOUS, "s", Ask("why?"), ""))))
    for change in ({"name": "Later"}, {"command": {"text": 1}}, {"principal": {"rights": ["later"]}}):
        with pytest.raises(ValueError, match="no message"):
            decode_message(orjson.dumps(fields | change))


def test_a_text_that_cannot_be_encoded_is_refused_as_the_store_would() -> None:
    """Half of a surrogate pair."""
    with pytest.raises(StoreError):
        encode_message(Request("r1", "a", ForwardedCommand(ANONYMOUS, "s", Ask("\ud800"), "")))


def test_only_what_would_be_done_once_is_repeated_at_another_node() -> None:
    """A question without an id would be asked twice; a cancel without a turn would end the next one."""
    repeatable = [is_repeatable(command) for command in COMMANDS]

    assert repeatable == [True, False, True, False, False, True, False, True, True]
    assert not is_repeatable(Edit("t3", "what?"))
    assert is_repeatable(Edit("t3", "what?", id="q"))
