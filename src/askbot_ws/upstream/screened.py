"""ScreenedUpstream: wraps an upstream, and answers what a check refuses itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from ..core.prompt import Prompt
from ..errors import UpstreamUnavailable
from . import Ending, QuestionCheck, Upstream
from .isolation import run_in_own_task
from .provider_errors import ensure_printable

NOT_JUDGED = "The question could not be checked."

log = structlog.get_logger(__name__)


class ScreenedUpstream:
    """An upstream that is asked only what all checks let pass."""

    def __init__(self, upstream: Upstream, checks: Sequence[QuestionCheck], *, timeout: float, fail_open: bool) -> None:
        """`timeout` is how many seconds each check has; `fail_open`: what it can't judge passes."""
        self._upstream = upstream
        self._checks = checks
        self._timeout = timeout
        self._fail_open = fail_open

    @property
    def model(self) -> str:
        """The wrapped upstream's model."""
        return self._upstream.model

    async def open(self) -> None:
        """Open the checks and the wrapped upstream."""
        for check in self._checks:
            await check.open()
        await self._upstream.open()

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Answer a prompt: with a check's text and reason "refused" where that refuses its question.

        Raises `UpstreamUnavailable` where a check could not judge it, unless that lets it pass.
        """
        for check in self._checks:
            text = await self._judge(check, prompt)
            if text is not None:
                on_text(text)
                return Ending("refused", model=self.model)
        return await self._upstream.stream(prompt, on_text)

    async def _judge(self, check: QuestionCheck, prompt: Prompt) -> str | None:
        try:
            async with asyncio.timeout(self._timeout):
                return await run_in_own_task(lambda: check.refusal(prompt))
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises
            if not self._fail_open:
                raise UpstreamUnavailable(NOT_JUDGED) from ensure_printable(error.__cause__ or error)
            log.warning("guard_failed", check=type(check).__name__, cause=type(error).__name__)
            return None

    async def ping(self) -> None:
        """Check that the wrapped upstream would answer now. Raises `UpstreamError` where it would not."""
        await self._upstream.ping()

    async def close(self) -> None:
        """Close the checks and the wrapped upstream."""
        for check in self._checks:
            await check.close()
        await self._upstream.close()
