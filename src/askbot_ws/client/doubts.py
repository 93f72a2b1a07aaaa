"""Doubts: answers that we hold otherwise than they were given, fetched whole from the server's history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from ..dialects.askbot.frames import History, HistoryRequest
from .errors import Damaged
from .pending import Asking


class Doubts:
    """Those of one session; each is asked for once, whoever has it."""

    __slots__ = ("_ask", "_fetched")

    def __init__(self, ask: Callable[[HistoryRequest], asyncio.Future[Any]]) -> None:
        self._ask = ask
        self._fetched: dict[str, asyncio.Future[Any]] = {}  # by turn

    def fetch(self, turn: str, start: int) -> asyncio.Future[Any]:
        """Ask for a turn whose question follows the place `start`."""
        if turn not in self._fetched:
            self._fetched[turn] = self._ask(HistoryRequest(id=uuid4().hex, before=start + 2, limit=1))
        return self._fetched[turn]

    async def settle(self, asking: Asking) -> str:
        """The answer as history has it. Raises `Damaged` where that is not the one that was given either."""
        history: History = await asyncio.shield(self.fetch(asking.turn or "", asking.start))
        for told in history.turns:
            if told.turn == asking.turn and asking.end and asking.end.proves(told.answer):
                return told.answer  # whatever history this is
        raise Damaged
