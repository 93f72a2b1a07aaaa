"""Asked: a question under way, and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from .errors import AskbotError
from .frames import Error, Failure, Reason, Timing, Usage
from .view import Turn, View


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has ended, whatever the reason."""

    text: str
    turn: str
    reason: Reason
    model: str | None
    usage: Usage | None
    timing: Timing | None
    error: Failure | None

    @classmethod
    def of(cls, turn: Turn) -> Answer:
        """The answer of a turn. Raises ValueError where it has not ended."""
        if turn.end is None:
            raise ValueError("the turn has not ended")
        end = turn.end
        return cls(turn.answer, turn.turn, end.reason, end.model, end.usage, end.timing, end.error)


class Shown(Protocol):
    """Whatever has a view, and an event that is set, and replaced, at each change of it."""

    view: View
    changed: asyncio.Event


class Asked:
    """A question under way: iterate over it for its text, await it for the `Answer`; both, if you like."""

    def __init__(self, chat: Shown, id: str, settled: asyncio.Future[Answer]) -> None:
        self._chat = chat
        self._settled = settled
        self.id = id

    def __await__(self) -> Generator[Any, None, Answer]:
        """The answer once it has ended; partial ones too, its `reason` tells. Raises where it could not be asked."""
        return asyncio.shield(self._settled).__await__()

    async def __aiter__(self) -> AsyncIterator[str]:
        """The text, each piece once. Raises in the end where the answer failed; its pieces stand.

        Pulled from the view: who iterates slowly gets longer pieces, and no queue grows.
        """
        given = 0
        while True:
            changed, settled = self._chat.changed, self._settled.done()
            if text := self._so_far()[given:]:
                given += len(text)
                yield text
            elif settled:
                break
            else:
                await changed.wait()
        answer = await self
        if answer.error:
            raise error_of(answer.error)

    def _so_far(self) -> str:
        if self._settled.done():
            return "" if self._settled.exception() else self._settled.result().text
        turn = self._chat.view.asked(self.id)
        return turn.answer if turn else ""


# --- errors ----------------------------------------------------------------------------------------------------------


def _leaves(kind: type[AskbotError]) -> list[type[AskbotError]]:
    below = kind.__subclasses__()
    return [leaf for each in below for leaf in _leaves(each)] if below else [kind]


_BY_CODE: Mapping[str, type[AskbotError]] = MappingProxyType(
    {kind.code: kind for kind in reversed(_leaves(AskbotError))}
)


def error_of(told: Error | Failure) -> AskbotError:
    """The exception that the server tells of by its code."""
    kind = _BY_CODE.get(told.code)
    if kind is None:
        return AskbotError(f"{told.message} ({told.code})", retry_after=told.retry_after)
    error = kind(told.message)
    error.retry_after = told.retry_after
    return error
