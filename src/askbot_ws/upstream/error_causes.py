"""ErrorCause: why a provider failed or refused, judged from its status, its codes and its words.

A code or a type is a word that programs are meant to read, so a part of it is enough. A sentence may repeat what a user
wrote, so its patterns are whole phrases, and where they are wrong the user is told another reason, no more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from ..errors import ContextTooLong, UpstreamError, UpstreamRateLimited, UpstreamRejected, UpstreamUnavailable
from .error_report import ErrorReport


@dataclass(frozen=True, slots=True)
class ErrorCause:
    """A reason for which a provider gives no answer.

    Attributes:
        name: Its name in the log.
        error: The class of the error that clients are told.
        message: A sentence for clients; None: that of the class.
        hint: What the operator can do.
    """

    name: str
    error: type[UpstreamError]
    message: str | None
    hint: str


CONTENT_FILTERED = ErrorCause(
    "content_filtered", UpstreamRejected, "The model's content filter refused the question.", "Nothing."
)
CONTEXT_TOO_LONG = ErrorCause(
    "context_too_long",
    ContextTooLong,
    None,
    "Set ASKBOT_CONTEXT_TOKENS to what the model, or the key's tier, can read.",
)
QUOTA_USED_UP = ErrorCause(
    "quota_used_up",
    UpstreamRejected,
    "The model's quota is used up.",
    "Add credit, or raise the limit, at the provider.",
)
RATE_LIMITED = ErrorCause(
    "rate_limited", UpstreamRateLimited, None, "Lower ASKBOT_MAX_TURNS, or ask the provider for a higher limit."
)
KEY_REFUSED = ErrorCause(
    "key_refused", UpstreamRejected, "The API key was not accepted.", "Set OPENAI_API_KEY to a key of this provider."
)
REGION_REFUSED = ErrorCause(
    "region_refused",
    UpstreamRejected,
    "The model is not offered where this server is.",
    "Run the server in a country that the provider serves, or set OPENAI_BASE_URL to another provider.",
)
ACCESS_REFUSED = ErrorCause(
    "access_refused",
    UpstreamRejected,
    "This server has no access to the model.",
    "Give the key access to the model at the provider, or set ASKBOT_MODEL to one that it may use.",
)
MODEL_UNKNOWN = ErrorCause(
    "model_unknown", UpstreamRejected, "The provider has no such model.", "Set ASKBOT_MODEL to one that it lists."
)
ADDRESS_UNKNOWN = ErrorCause(
    "address_unknown",
    UpstreamRejected,
    "The model's address is not right.",
    "Set OPENAI_BASE_URL to the address whose /chat/completions the provider answers; redirects to other hosts, or "
    "from https to http, are not followed.",
)
FIELD_REFUSED = ErrorCause(
    "field_refused",
    UpstreamRejected,
    None,
    "The provider refuses a field of the request, or its value: see ASKBOT_TEMPERATURE and ASKBOT_MAX_TOKENS.",
)
REJECTED = ErrorCause(
    "rejected", UpstreamRejected, None, "Set ASKBOT_LOG_CONTENT=on for a while: `text` is then what the provider says."
)
MODEL_UNSET = ErrorCause("model_unset", UpstreamRejected, "No model is configured.", "Set ASKBOT_MODEL.")
FAILED = ErrorCause(
    "failed",
    UpstreamUnavailable,
    None,
    "Nothing, if it passes; else ask the provider, or see the log of the model's server.",
)

_PROMPT_FIELDS = {"messages", "body", "content", "contents", "prompt", "input", "inputs", "text", "parts", "role"}

_Table: TypeAlias = tuple[tuple[ErrorCause, tuple[str, ...]], ...]
_WORDS: _Table = (
    (
        CONTENT_FILTERED,
        (
            "content_?(filter|policy|moderation)",
            "moderation|guardrail|safety|responsible_?ai|sensitive_?(word|content)",
            "data_?inspection|prohibited_?content",
        ),
    ),
    (
        CONTEXT_TOO_LONG,
        (
            "context_?(length|size|window|limit)|exceed_?context",
            "(prompt|request|input)_?too_?(long|large)|string_above_max_length",
        ),
    ),
    (
        QUOTA_USED_UP,
        (
            "insufficient_?(user_?)?(quota|balance|credit|fund)|exceeded_?current_?quota",
            "billing|payment|arrear|budget_?exceeded",
        ),
    ),
    (RATE_LIMITED, ("rate_?limit|throttl|too_?many_?requests|resource_?exhausted|capacity_?exceeded",)),
    (REGION_REFUSED, ("unsupported_?country|country_?region",)),
    (
        KEY_REFUSED,
        (
            "(invalid|incorrect|missing|expired)_?api_?key|api_?key_?(invalid|expired)",
            "authenticat|unauthorized",
        ),
    ),
    (MODEL_UNKNOWN, ("model_?not_?(found|exist)|(invalid|unknown)_?model|deployment_?not_?found",)),
    (ACCESS_REFUSED, (r"permission|access_?denied|\bforbidden",)),
)
_KEY = r"(?:(?:api|auth(?:entication|orization)?|access)[ _-]?(?:key|token)|credentials)"
_PROMPT = (
    r"(?<!\w)(?:(?:prompt|input)(?:_tokens)?|inputs|request|messages?|conversation|sequence|entity|payload|body|string"
    r"|text)\b"
)
_PROMPT_OR_TOKENS = rf"(?:{_PROMPT}|(?<!\w)tokens?\b)"
_PHRASES: _Table = (
    (
        RATE_LIMITED,
        (
            r"throttl(?:ed|ing)|too many requests|too many tokens, please|(?:tokens|requests) per min",
            r"rate.?limit(?:error)?\b.{0,20}\b(?:reached|exceeded|hit|error)|exceed\w*\b.{0,40}\brate.?limit",
        ),
    ),
    (
        CONTENT_FILTERED,
        (
            r"content.?(?:filter|policy|management policy|moderation)|content exists risk|requires moderation",
            r"responsible ai|safety system|(?:usage|acceptable use) (?:policy|policies|guidelines)",
            r"blocked by\b.{0,40}\b(?:safety|guardrail|policy)",
            r"guardrails?\b.{0,40}\b(?:blocked|intervened)|guardrail_intervened",
            r"\b(?:unsafe|sensitive|inappropriate|harmful|prohibited)\b.{0,20}\b(?:content|words?)\b",
            rf"{_PROMPT}.{{0,60}}\b(?:flagged|high risk|inappropriate|blocked)",
        ),
    ),
    (
        QUOTA_USED_UP,
        (
            r"(?:insufficient|not enough|out of)[ _](?:quota|balance|credits?|funds)|quota\b.{0,20}\bused up",
            r"reached your\b.{0,30}\busage limit",
            r"credit balance|credits? (?:left|remaining)|billing (?:details|hard|soft|limit|not active)",
        ),
    ),
    (
        CONTEXT_TOO_LONG,
        (
            r"context.?(?:length|size|window|limit)|maximum context|too many (?:input |prompt |total )?tokens",
            rf"{_PROMPT}.{{0,40}}\btoo (?:long|large|big)",
            rf"{_PROMPT}.{{0,40}}\b(?:longer|larger) than the (?:maximum|model|limit|context|allowed)",
            rf"{_PROMPT_OR_TOKENS}.{{0,80}}\bexceed|exceed\w*\b.{{0,80}}\b(?:tokens?|length)",
            rf"{_PROMPT_OR_TOKENS}.{{0,60}}\bmust (?:have less than|be (?:<=?|less|at most|smaller|shorter))",
            r"(?:maximum|max) (?:input|prompt|sequence|model) (?:length|tokens)|range of input length",
            rf"reduce the (?:length|size|number)\b.{{0,20}}{_PROMPT_OR_TOKENS}",
        ),
    ),
    (
        REGION_REFUSED,
        (
            r"(?:country|region|territory|location)\b.{0,60}\bnot (?:supported|available|allowed)",
            r"not (?:supported|available) (?:in|from) your",
        ),
    ),
    (
        KEY_REFUSED,
        (
            rf"(?:invalid|incorrect|wrong|missing|expired|no|provide|valid)\W+(?:\w+\W+){{0,3}}?{_KEY}",
            rf"{_KEY}\b.{{0,40}}\b(?:invalid|not (?:valid|found)|incorrect|missing|expired|leaked|required)",
        ),
    ),
    (
        MODEL_UNKNOWN,
        (
            r"model\b.{0,120}\b(?:does not exist|doesn't exist|not found|decommissioned|no longer available)",
            r"model (?:identifier|id|name) is invalid",
            r"no such model|(?:unknown|invalid) model\b|not a valid model|no endpoints found",
        ),
    ),
)


@cache
def _compile(table: _Table) -> list[tuple[ErrorCause, re.Pattern[str]]]:
    """Compile the patterns at the first error: that takes a twentieth of the time in which a server starts."""
    return [(cause, re.compile("|".join(parts), re.IGNORECASE | re.DOTALL)) for cause, parts in table]


_LIMIT_AND_REQUESTED = re.compile(r"\blimit\W{1,3}([0-9][0-9,]*).{0,80}\brequested\W{1,3}([0-9][0-9,]*)", re.IGNORECASE)
_BAD_REQUEST_WORD = re.compile(r"invalid_?request|bad_?request|invalid_?argument|validation", re.IGNORECASE)
_OF_STATUS = {
    401: KEY_REFUSED,
    402: QUOTA_USED_UP,
    403: ACCESS_REFUSED,
    404: ADDRESS_UNKNOWN,
    405: ADDRESS_UNKNOWN,
    408: FAILED,
    409: FAILED,
    424: FAILED,
    425: FAILED,
    429: RATE_LIMITED,
}


def find_cause(report: ErrorReport) -> ErrorCause:
    """Why the provider gives no answer."""
    status = report.status
    if status is not None and (300 <= status < 400 or status in (401, 402)):
        return _OF_STATUS.get(status, ADDRESS_UNKNOWN)
    return _by_words(report) or _by_status(report)


def _by_words(report: ErrorReport) -> ErrorCause | None:
    if _is_over_limit_itself(report.message):
        return CONTEXT_TOO_LONG
    words, message = _snake_case(report.words), report.message
    found = [cause for cause, pattern in _compile(_WORDS) if pattern.search(words)]
    found += [cause for cause, pattern in _compile(_PHRASES) if pattern.search(message)]
    return next((cause for cause in found if _fits(cause, report.status)), None)


def _fits(cause: ErrorCause, status: int | None) -> bool:
    """Whether a status allows a cause: 429 and a server's faults leave few."""
    if status == 429:
        return cause in (RATE_LIMITED, QUOTA_USED_UP)
    return status is None or status < 500 or cause in (RATE_LIMITED, CONTEXT_TOO_LONG)


def _by_status(report: ErrorReport) -> ErrorCause:
    status = report.status
    if status in _OF_STATUS:
        return _OF_STATUS[status]
    if status >= 500 if status else not _BAD_REQUEST_WORD.search(_snake_case(report.words)):
        return FAILED
    others = [name for name in report.fields if name not in _PROMPT_FIELDS and not name.isdecimal()]
    return FIELD_REFUSED if others else REJECTED


def _is_over_limit_itself(message: str) -> bool:
    """Whether one request is larger than what a limit of tokens a minute ever allows: waiting does not help."""
    numbers = _LIMIT_AND_REQUESTED.search(message)
    if numbers is not None:
        limit, requested = (int(number.replace(",", "")) for number in numbers.groups())
        return requested > limit
    return "request too large" in message.lower()


def _snake_case(words: str) -> str:
    """`RateLimitError` as `Rate_Limit_Error`, and so with hyphens, points and colons."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[-.:/]", "_", words)
