"""Upstreams: whatever turns messages into text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

from ..core.prompt import Prompt
from ..core.text import well_formed
from ..errors import UpstreamUnavailable
from ..events import MAX_SEQ, Usage

__all__ = ["Ending", "Finish", "Upstream"]

MAX_MODEL = 200  # code points of a model's name

Finish: TypeAlias = Literal["stop", "length", "refused"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ended well. Providers and users' code make it, so it makes sure that the log can keep it.

    A model's name is made well-formed and cut at 200 code points; an empty one, and a usage that a JSON number can't
    say, count as None. Raises `UpstreamUnavailable` for a reason that there is not: what has ended so has not ended
    well.
    """

    reason: Finish
    model: str | None = None  # as the provider names it
    usage: Usage | None = None

    def __post_init__(self) -> None:
        if self.reason not in get_args(Finish):
            raise UpstreamUnavailable from ValueError(f"an answer can't end with {str(self.reason)[:MAX_MODEL]!r}")
        object.__setattr__(self, "model", model_name(self.model))
        usage: object = self.usage
        sound = usage_of(usage.input_tokens, usage.output_tokens) if isinstance(usage, Usage) else None
        object.__setattr__(self, "usage", sound)


def model_name(name: object) -> str | None:
    """A model's name as the log can keep it; None where it is no text, or an empty one."""
    return well_formed(name, limit=MAX_MODEL) if isinstance(name, str) and name else None


def usage_of(input_tokens: object, output_tokens: object) -> Usage | None:
    """What a provider counted, in tokens; None where either is not an integer from 0 to 2**53 - 1."""
    if type(input_tokens) is not int or type(output_tokens) is not int:  # True is an int, too
        return None
    if not (0 <= input_tokens <= MAX_SEQ and 0 <= output_tokens <= MAX_SEQ):
        return None
    return Usage(input_tokens=input_tokens, output_tokens=output_tokens)


class Upstream(Protocol):
    """A model, or anything that answers like one."""

    @property
    def model(self) -> str:
        """The name of what answers where a question names no model."""
        ...

    async def open(self) -> None:
        """Begin: start what has to run. Raises `ConfigError` where that can never work."""

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Answer: call `on_text` for each piece as it arrives, return when the answer is complete.

        The pieces come by a call rather than by iteration, so that the way from the socket's bytes to the log has
        no task switch in it. Pieces may be empty and may hold half surrogates. Cancelling the task stops the
        provider at once. Raises `UpstreamError`; the pieces so far stand.
        """
        ...

    async def ping(self) -> None:
        """Raises `UpstreamError` where a question would not be answered now. Costs no tokens."""

    async def close(self) -> None:
        """End what `open` began."""
