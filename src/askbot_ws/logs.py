"""Logs: where lines go, and how they look.

For people on a terminal, JSON lines otherwise. Ours from the configured level on, those of other packages from
WARNING on, all through one handler on stderr. Tracebacks come without local variables, as those hold questions
and keys, and the configured key is masked wherever it turns up.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from .config import Settings

OURS = "askbot_ws"


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Set up all logging of this process; again, if called again."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_formatter(settings, terminal=handler.stream.isatty()))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    level = settings.log_level.upper()
    logging.getLogger(OURS).setLevel(level)
    structlog.configure(
        processors=[
            *_common(),
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),  # what is below costs no more than a call
        cache_logger_on_first_use=False,
    )


def lend(settings: Settings) -> None:
    """Hand our lines to the host program's logging, which decides what becomes of them.

    They go to its loggers named `askbot_ws.…`, unless it has set up structlog: then they go where it says.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _masked(_console(colors=False, width=0)[-1], _key(settings)),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _formatter(settings: Settings, *, terminal: bool) -> logging.Formatter:
    console = settings.log_format == "console" or (settings.log_format == "auto" and terminal)
    look = _console(colors=terminal) if console else _json()
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_common(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *look[:-1],
            _masked(look[-1], _key(settings)),
        ],
    )


def _key(settings: Settings) -> str | None:
    return settings.openai_api_key.get_secret_value() if settings.openai_api_key else None


def _console(*, colors: bool, width: int = 30) -> list[Processor]:
    return [structlog.dev.ConsoleRenderer(width, colors=colors, exception_formatter=structlog.dev.plain_traceback)]


def _json() -> list[Processor]:
    return [structlog.processors.format_exc_info, _ordered, structlog.processors.JSONRenderer(ensure_ascii=False)]


def _ordered(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """When and what first, as people read these lines too."""
    first = ("timestamp", "level", "event")
    return dict(sorted(event.items(), key=lambda item: first.index(item[0]) if item[0] in first else len(first)))


def _masked(render: Processor, key: str | None) -> Callable[[WrappedLogger, str, EventDict], str]:
    """A provider may repeat the key in its error: whatever the line is made of, the key is not in it."""

    def masked(logger: WrappedLogger, method: str, event: EventDict) -> str:
        line = str(render(logger, method, event))
        return line.replace(key, "…") if key else line

    return masked
