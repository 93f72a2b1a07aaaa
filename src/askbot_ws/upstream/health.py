"""Provider health: whether a provider would answer a question, judged by probes and by what questions got.

A key or a model that is refused is a fault of the settings, which does not pass. A provider that is busy, or fails
for a moment, is no reason to send people elsewhere: the next question may well be answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from ..errors import UpstreamError, UpstreamRateLimited, UpstreamUnavailable
from .error_causes import (
    ACCESS_REFUSED,
    ADDRESS_UNKNOWN,
    KEY_REFUSED,
    MODEL_UNKNOWN,
    MODEL_UNSET,
    QUOTA_USED_UP,
    REGION_REFUSED,
)
from .provider_errors import ProviderError

PASSING_FAULT_SECONDS = 60.0  # for which a provider may answer by 5xx and still count as healthy
REFUSAL_SECONDS = 60.0  # for which a refused question counts: then the next one may show that it is mended
SETTINGS_FAULTS = (
    KEY_REFUSED, ACCESS_REFUSED, REGION_REFUSED, QUOTA_USED_UP, MODEL_UNKNOWN, MODEL_UNSET, ADDRESS_UNKNOWN
)  # fmt: skip
SETTINGS_STATUSES = (401, 402, 403, 404)  # not 400: there, what a user wrote may be taken for the provider's words


class ProviderHealth:
    """What is known of a provider, for the model that is asked by default."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` is a monotonic clock, in seconds."""
        self._now = now
        self.has_answered = False  # since the last refusal
        self._faulty_since: float | None = None
        self._refusal: UpstreamError | None = None
        self._refused_at = 0.0

    def note_answer(self) -> None:
        """Note that a question was answered."""
        self.has_answered, self._refusal, self._faulty_since = True, None, None

    def note_failure(self, error: UpstreamError) -> None:
        """Note that a question failed; only what is a fault of the settings counts."""
        cause = error.__cause__
        if isinstance(cause, ProviderError) and cause.cause in SETTINGS_FAULTS:
            status = cause.report.status if cause.report else None
            if status is None or status in SETTINGS_STATUSES:
                self.has_answered, self._refusal, self._refused_at = False, error, self._now()

    @property
    def refusal(self) -> UpstreamError | None:
        """Why questions were refused a moment ago, where that is a fault of the settings; else None."""
        return self._refusal if self._now() - self._refused_at < REFUSAL_SECONDS else None

    def note_probe(self, error: UpstreamError | None) -> UpstreamError | None:
        """Note the outcome of a probe; returns its error, unless that is one that passes."""
        report = error.__cause__.report if error and isinstance(error.__cause__, ProviderError) else None
        if report is None or report.status is None or not isinstance(error, UpstreamUnavailable | UpstreamRateLimited):
            self._faulty_since = None
            return error
        if isinstance(error, UpstreamRateLimited):
            return None
        if self._faulty_since is None:
            self._faulty_since = self._now()
        return error if self._now() - self._faulty_since >= PASSING_FAULT_SECONDS else None


def lists_model(models: bytes, model: str) -> bool:
    """Return whether a list of models has this one; names of the same model that are known to differ count as it."""
    try:
        names = [entry["id"] for entry in orjson.loads(models)["data"]]
    except (LookupError, TypeError, ValueError):
        return False
    found: list[Any] = [name for name in names if isinstance(name, str)]
    return any(name in (model, f"{model}:latest") or name.endswith(f"/{model}") for name in found)
