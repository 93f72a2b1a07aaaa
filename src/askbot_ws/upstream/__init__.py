"""Upstreams: what answers a prompt with text. `Upstream` is the protocol, `Ending` how an answer ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

from ..core.prompt import Prompt
from ..core.text import to_well_formed
from ..errors import UpstreamUnavailable
from ..events import MAX_SEQ, Usage

__all__ = ["Asker", "Ending", "FinishReason", "ThinkingText", "Upstream"]

MAX_MODEL_NAME_CHARS = 200  # code points

FinishReason: TypeAlias = Literal["stop", "length", "refused"]
"""Why a model ended its answer: it is complete, it reached a limit of tokens, or the content was refused."""


class ThinkingText(str):
    """A piece of the model's reasoning, as opposed to its answer.

    An upstream passes reasoning to `on_text` as `ThinkingText("…")`, in order with the answer's text, which is a plain
    `str`. A user's function yields it in the same way. What `str` makes of it (a slice, a concatenation) is a plain
    `str` again: wrap it anew.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ended without an error.

    Providers and users' code make it, so it is validated. The model's name is made well-formed and cut at 200 code
    points; an empty name, and a usage that is not two integers from 0 to 2^53 - 1, become None.

    Attributes:
        reason: "stop" where the model had no more to say, "length" where a token limit cut it, "refused" where the
            model or a content filter refused to answer.
        model: The model's name as the provider has it.
        usage: The tokens of prompt and answer, as the provider counted them.

    Raises:
        UpstreamUnavailable: `reason` is none of those three.
    """

    reason: FinishReason
    model: str | None = None
    usage: Usage | None = None

    def __post_init__(self) -> None:
        if self.reason not in get_args(FinishReason):
            raise UpstreamUnavailable from ValueError(
                f"an answer can't end with {str(self.reason)[:MAX_MODEL_NAME_CHARS]!r}"
            )
        object.__setattr__(self, "model", clean_model_name(self.model))
        usage: object = self.usage
        valid_usage = parse_usage(usage.input_tokens, usage.output_tokens) if isinstance(usage, Usage) else None
        object.__setattr__(self, "usage", valid_usage)


def clean_model_name(name: object) -> str | None:
    """A model's name, made well-formed and cut at 200 code points; None where it is no text, or empty."""
    return to_well_formed(name, limit=MAX_MODEL_NAME_CHARS) if isinstance(name, str) and name else None


def parse_usage(input_tokens: object, output_tokens: object) -> Usage | None:
    """The tokens that a provider counted; None where either is not an integer from 0 to 2**53 - 1."""
    if type(input_tokens) is not int or type(output_tokens) is not int:  # True is an int, too
        return None
    if not (0 <= input_tokens <= MAX_SEQ and 0 <= output_tokens <= MAX_SEQ):
        return None
    return Usage(input_tokens=input_tokens, output_tokens=output_tokens)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks a question, as a guard of your own is told (docs/limits.md).

    Attributes:
        user: The user's name; None: an anonymous client.
        role: The user's role; None: none.
    """

    user: str | None
    role: str | None


class QuestionCheck(Protocol):
    """What judges a question before the model is asked."""

    async def open(self) -> None:
        """Get ready. Raises `ConfigError` where it can never work as it is configured."""

    async def refusal(self, prompt: Prompt) -> str | None:
        """Return the text that answers `prompt.question` in place of the model; None where the model may answer.

        Whatever it raises: the question could not be judged.
        """
        ...

    async def close(self) -> None:
        """Release what `open` acquired."""


class Upstream(Protocol):
    """A model, or anything that answers like one.

    One upstream answers all sessions: `stream` runs once for each answer, many of them at the same time.
    """

    @property
    def model(self) -> str:
        """The name of the model that answers where a question names none."""
        ...

    async def open(self) -> None:
        """Start what has to run. Called once, before anything else.

        Raises:
            ConfigError: It can never work as it is configured. A provider that is down just now is no such error.
        """

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Answer a prompt, and return once the answer is complete. Cancelling the task stops the provider at once.

        Pieces come by a call rather than by iteration, so that there is no task switch between the socket's bytes and
        the log.

        Args:
            prompt: What is asked: `prompt.messages`, oldest first, each with a `role` ("system", "user" or "assistant")
                and a `text`; and `prompt.options`, whose `model`, `temperature` and `max_tokens` are None where the
                question gives none.
            on_text: Called with each piece of text as it arrives: `ThinkingText` for reasoning, any other `str` for
                the answer. Pieces may be empty and may hold half surrogates.

        Returns:
            How the answer ended, the model's name and the usage.

        Raises:
            UpstreamError: The answer failed. The pieces that came before it stand.
        """
        ...

    async def ping(self) -> None:
        """Check that a question would be answered now, as a rule without using tokens.

        Raises:
            UpstreamError: It would not.
        """

    async def close(self) -> None:
        """Stop what `open` started. Called once; no answer is running then."""
