"""Exit signals: SIGINT, SIGTERM and SIGHUP end a command in order, and within a second whatever it waits for."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Self

from .output import ExitCode

LEAVE_SECONDS = 0.8  # for which a command may stop its answer and close its socket
_EXIT_CODES = {
    getattr(signal, name): code
    for name, code in (
        ("SIGINT", ExitCode.INTERRUPTED),
        ("SIGTERM", ExitCode.TERMINATED),
        ("SIGHUP", ExitCode.HUNG_UP),
    )
    if hasattr(signal, name)  # Windows has no SIGHUP
}


class ExitSignals:
    """While it is entered, these signals cancel the task that has entered it.

    `LEAVE_SECONDS` later the process ends in any case, with the terminal as it was: a name that is being resolved and
    a pipe that nobody reads can't be cancelled. Signals that are ignored, as after `nohup`, stay so.
    """

    def __init__(self) -> None:
        self.exit_code: ExitCode | None = None  # set once the command is to end
        self.on_interrupt: Callable[[], bool] | None = None  # handles Ctrl-C; returns whether the command goes on
        self._handlers: dict[int, Any] = {}  # before
        self._restore_terminal = _terminal_restorer()

    def __enter__(self) -> Self:
        """Handle the signals from now on; enter it in the main thread."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._loop.set_exception_handler(self._on_callback_error)
        for number in _EXIT_CODES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                # Not the loop's own handlers: they are never called while it is blocked.
                self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        """Handle them as before; once it has begun, the end stays limited to `LEAVE_SECONDS`."""
        self._loop.set_exception_handler(None)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def leave(self, code: ExitCode) -> None:
        """End the command with this exit code, unless it ends already."""
        if self.exit_code is not None:
            return
        self.exit_code = code
        watchdog = threading.Timer(LEAVE_SECONDS, self._exit)
        watchdog.daemon = True
        watchdog.start()
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task:
            self._task.cancel()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.on_interrupt is None:
            self.leave(_EXIT_CODES[number])
        elif number == signal.SIGINT:
            self._loop.call_soon_threadsafe(self._interrupt, self.on_interrupt)
        else:  # a conversation on a terminal has no result, so leaving it is no failure
            self.leave(ExitCode.SUCCESS)

    def _interrupt(self, on_interrupt: Callable[[], bool]) -> None:
        if not on_interrupt():
            self.leave(ExitCode.SUCCESS)

    def _on_callback_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Leave where a timer could not write: nobody reads the output any more, and no task is told."""
        if "handle" in context and isinstance(context.get("exception"), OSError):
            self.leave(ExitCode.BROKEN_PIPE)
        else:
            loop.default_exception_handler(context)

    def _exit(self) -> None:
        self._restore_terminal()
        os._exit(self.exit_code or ExitCode.SUCCESS)


def _terminal_restorer() -> Callable[[], None]:
    """Return what gives the terminal the modes back that it has now; it does nothing where stdin is none."""
    if not sys.stdin.isatty():
        return lambda: None
    import termios  # noqa: PLC0415 - not everywhere

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def restore() -> None:
        with suppress(termios.error):  # it has hung up
            termios.tcsetattr(terminal, termios.TCSANOW, before)

    return restore
