"""Logs: where log lines go, and their format.

Console lines on a terminal, JSON lines otherwise; of the server from the configured level on, of other packages from
WARNING on, all through one handler on stderr. Tracebacks have no local variables, which may hold questions and keys,
and the configured secrets are masked in every line. A session's id, which opens it where there is no user, is never
logged: the keys `session` and `user` have a hash. What a client sends can neither begin a line nor steer a terminal.
"""

from __future__ import annotations

import hashlib
import logging
import re
import sys
from collections.abc import Callable, Sequence
from io import StringIO
from typing import TextIO

import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from .config import SECRETS, Settings

PACKAGE_LOGGER = "askbot_ws"
HASHED_KEYS = ("session", "user")
CONTROLS = re.compile(  # ends of lines, escape sequences, changes of direction, halves of surrogate pairs
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
QUOTED_BY_CONSOLE = frozenset(" \t=\r\n\"'")  # a value with one of these is shown by its `repr`


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Set up the logging of this process: structlog and the standard library's. It may be called again.

    It replaces the root logger's handlers, so a program that has its own logging calls `use_host_logging` instead.

    Args:
        settings: `log_level` and `log_format` are used, and the secrets, which are masked in every line.
        stream: Where lines are written, by default stderr.

    Example:
        >>> configure(load({"log_format": "json"}))
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_make_formatter(settings, terminal=handler.stream.isatty()))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    level = settings.log_level.upper()
    logging.getLogger(PACKAGE_LOGGER).setLevel(level)
    structlog.configure(
        processors=[
            *_shared_processors(),
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),  # a line below the level costs no more than a call
        cache_logger_on_first_use=False,
    )


def make_audit_logger(settings: Settings) -> structlog.typing.FilteringBoundLogger:
    """Return a logger of a command, whose lines have the format of the server's and go to stderr.

    Nothing of this process's logging is set up: what a command says to people stays as it is.
    """
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    processors = _console_processors(colors=False) if console else _json_processors()
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            _hash_names,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *processors[:-1],
            _mask_secrets(processors[-1], _secrets(settings)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return logger


def use_host_logging(settings: Settings) -> None:
    """Send log lines to the logging of the program that embeds the server, which sets levels and handlers.

    They go to the standard library's loggers `askbot_ws.…`, with the configured key masked; where the program has
    configured structlog, nothing is changed.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _hash_names,
            _escape_controls,
            _mask_secrets(_console_processors(colors=False, width=0)[-1], _secrets(settings)),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def silence() -> None:
    """Write no log lines: for commands, which print what they have to say."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def hash_session(session: str) -> str:
    """Return what stands for a session in logs: the beginning of its id's SHA-256, as the id itself is a secret."""
    return hashlib.sha256(session.encode(errors="surrogatepass")).hexdigest()[:12]


def _hash_names(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace the session and the user of a line by their hashes."""
    for key in HASHED_KEYS:
        value = event.get(key)
        if isinstance(value, str):
            event[key] = hash_session(value)
    return event


def _escape_controls(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Escape control characters in texts, unless the console quotes and escapes them anyhow."""
    for key, value in event.items():
        if isinstance(value, str) and (key == "event" or QUOTED_BY_CONSOLE.isdisjoint(value)):
            event[key] = _escape(value)
    return event


def _escape(text: str) -> str:
    """Return a text in which control characters are written as in a Python string, for instance a backslash and n."""
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def _write_traceback(stream: TextIO, error: ExcInfo) -> None:
    """Write a traceback whose lines are indented, as an error's message may look like a line of the log."""
    plain = StringIO()
    structlog.dev.plain_traceback(plain, error)
    stream.write("\n  ".join([_escape(line) for line in plain.getvalue().split("\n")]))


def _shared_processors() -> list[Processor]:
    """Return the processors for lines of the server and of other packages."""
    return [
        structlog.contextvars.merge_contextvars,
        _hash_names,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _make_formatter(settings: Settings, *, terminal: bool) -> logging.Formatter:
    console = settings.log_format == "console" or (settings.log_format == "auto" and terminal)
    processors = _console_processors(colors=terminal) if console else _json_processors()
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared_processors(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *processors[:-1],
            _mask_secrets(processors[-1], _secrets(settings)),
        ],
    )


def _secrets(settings: Settings) -> list[str]:
    given: list[SecretStr | None] = [getattr(settings, name) for name in SECRETS]
    return [secret.get_secret_value() for secret in given if secret is not None]


def _console_processors(*, colors: bool, width: int = 30) -> list[Processor]:
    return [
        _escape_controls,
        structlog.dev.ConsoleRenderer(width, colors=colors, exception_formatter=_write_traceback),
    ]


def _json_processors() -> list[Processor]:
    return [structlog.processors.format_exc_info, _sort_keys, _render_json]


_json = structlog.processors.JSONRenderer(ensure_ascii=False)


def _render_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """Return a line of JSON; control characters that JSON need not escape are escaped too."""
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", str(_json(logger, method, event)))


def _sort_keys(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put time, level and event first, as people read JSON lines too."""
    first = ("timestamp", "level", "event")
    return dict(sorted(event.items(), key=lambda item: first.index(item[0]) if item[0] in first else len(first)))


def _mask_secrets(render: Processor, secrets: Sequence[str]) -> Callable[[WrappedLogger, str, EventDict], str]:
    """Return a renderer whose lines have "…" in the place of each secret: providers repeat keys in their errors."""

    def masked(logger: WrappedLogger, method: str, event: EventDict) -> str:
        line = str(render(logger, method, event))
        for secret in secrets:
            line = line.replace(secret, "…")
        return line

    return masked
