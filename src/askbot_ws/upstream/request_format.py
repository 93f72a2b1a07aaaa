"""RequestFormat: which fields a model takes, and under which names; learned from what it refuses.

    CompletionRequest --encode(format)--> body --> provider --refuses a field--> adapted_format --> encode again ...

A format is proposed from one request's error alone. Whoever sends the next request keeps it for the model, if that one
succeeds: an error may name a field only because it repeats what a user wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import orjson

from ..core.prompt import Message, Prompt
from .error_report import ErrorReport

MaxTokensField: TypeAlias = Literal["max_tokens", "max_completion_tokens"]

MAX_REFUSED_TEMPERATURES = 100  # that are remembered of a model
_OTHER_NAME: dict[MaxTokensField, MaxTokensField] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
_SYSTEM_BEGINNING = b'{"role":"system",'
_ABOUT_A_VALUE = re.compile(  # another name would only hide the limit from a server that ignores what it does not know
    r"too (?:large|big|high|many|long)|at most|exceed|(?:less|greater)[ _]than|at least|maximum|minimum|<=|>=|range"
    r"|bounds|between|(?:above|below)_m(?:ax|in)|must be (?!used)",
    re.IGNORECASE,
)
_ABOUT_ROLES = re.compile(
    r"roles? must alternate|system (?:role|message|prompt|instruction)|role\W{0,20}system|\brole\b.{0,60}\bsystem\b"
    r"|roles are supported|developer instruction|first message must be"
    r"|\brole\b.{0,60}\buser\b|\bsystem\b.{0,60}\brole\b|alternate between|(?:start|begin)s? with a user",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class RequestFormat:
    """What a model takes.

    Attributes:
        max_tokens_field: The name of the field with the maximum length of the answer.
        stream_options: Those that are sent, by name and value; none: the field is left out.
        refused_temperatures: Those that are left out. One that is out of a model's range says nothing of others.
        merges_system: Whether the system message goes into the first user message.
    """

    max_tokens_field: MaxTokensField = "max_tokens"
    stream_options: tuple[tuple[str, bool], ...] = (("include_usage", True),)
    refused_temperatures: frozenset[float] = frozenset()
    merges_system: bool = False


OPENAI_FORMAT = RequestFormat(
    max_tokens_field="max_completion_tokens",
    # Random characters, of which each chunk has others, hide its length on the network; they also make it costly.
    stream_options=(("include_usage", True), ("include_obfuscation", False)),
)


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A request for a completion, before it has a format. `fields` are sent as they are."""

    prompt: Prompt
    model: str
    temperature: float | None
    max_tokens: int | None
    fields: Mapping[str, Any]

    def encode(self, format: RequestFormat) -> bytes:
        """The request's body, in JSON."""
        fields: dict[str, Any] = {**self.fields, "model": self.model, "stream": True}
        if format.stream_options:
            fields["stream_options"] = dict(format.stream_options)
        if self.sends_temperature(format):
            fields["temperature"] = self.temperature
        if self.max_tokens is not None:
            fields[format.max_tokens_field] = self.max_tokens
        prompt = _merge_system(self.prompt) if format.merges_system else self.prompt
        return b"".join((orjson.dumps(fields)[:-1], b',"messages":[', *prompt.pieces, b"]}"))

    def sends_temperature(self, format: RequestFormat) -> bool:
        """Whether there is a temperature, and the model takes it."""
        return self.temperature is not None and self.temperature not in format.refused_temperatures

    @property
    def has_system(self) -> bool:
        """Whether the prompt begins with a system message."""
        return next((piece for piece in self.prompt.pieces if piece), b"").startswith(_SYSTEM_BEGINNING)


def adapted_format(format: RequestFormat, request: CompletionRequest, report: ErrorReport) -> RequestFormat | None:
    """The format without one thing that the provider refuses and that the request has sent; None where there is none.

    What the provider names in a field of the error comes before what it only mentions.
    """
    message, fields = report.message, set(report.fields)
    found: list[tuple[int, Callable[[], RequestFormat]]] = []  # where it is named, and what to do about it
    for names, pattern, adapt in _adaptations(format, request, report):
        mentioned = pattern.search(message)
        if names & fields:
            found.append((-1, adapt))
        elif mentioned:
            found.append((mentioned.start(), adapt))
    return min(found, key=lambda item: item[0])[1]() if found else None


_Adaptation: TypeAlias = tuple[set[str], re.Pattern[str], Callable[[], RequestFormat]]


def _adaptations(format: RequestFormat, request: CompletionRequest, report: ErrorReport) -> Iterator[_Adaptation]:
    """The names, the pattern and the change for each thing that the request has sent and can do without."""
    message = report.message
    if options := format.stream_options:
        names = {name for name, _ in options} | {"stream_options"}
        yield names, _words(names), lambda: replace(format, stream_options=_fewer(options, message))
    if request.sends_temperature(format) and request.temperature is not None:
        has_room = len(format.refused_temperatures) < MAX_REFUSED_TEMPERATURES
        refused = (format.refused_temperatures if has_room else frozenset[float]()) | {request.temperature}
        yield {"temperature"}, _words({"temperature"}), lambda: replace(format, refused_temperatures=refused)
    name = format.max_tokens_field
    if request.max_tokens is not None and not _ABOUT_A_VALUE.search(f"{report.words} {message}"):
        yield {name}, _words({name}), lambda: replace(format, max_tokens_field=_OTHER_NAME[name])
    if request.has_system and not format.merges_system:
        yield {"role", "roles"}, _ABOUT_ROLES, lambda: replace(format, merges_system=True)


def _fewer(options: tuple[tuple[str, bool], ...], message: str) -> tuple[tuple[str, bool], ...]:
    """The options without the last; without any, where the message names the first."""
    return () if _words({options[0][0]}).search(message) else options[:-1]


def _words(names: set[str]) -> re.Pattern[str]:
    """A pattern of the names, in other spellings too: `maxTokens`, `Temperature`."""
    parts = "|".join(sorted(names)).replace("_", "_?")
    return re.compile(rf"(?<!\w)(?:{parts})(?!\w)", re.IGNORECASE)


def _merge_system(prompt: Prompt) -> Prompt:
    """The prompt with the system message's text before that of the first user message."""
    messages = prompt.messages
    if len(messages) < 2 or (messages[0].role, messages[1].role) != ("system", "user"):
        return prompt
    first = Message("user", f"{messages[0].text}\n\n{messages[1].text}")
    return Prompt.of([first, *messages[2:]], prompt.options)
