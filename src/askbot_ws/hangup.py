"""Hangup: SIGHUP and SIGUSR2 are ignored by `askbot serve` from when this is imported until the server acts on them.

Without that, one that comes during the imports, which take half a second, would end the process; and SIGUSR2 would end
a server without workers, which has nothing to replace.
"""

from __future__ import annotations

import signal
import sys
import threading


def ignore() -> None:
    """Ignore both, where the command is `serve`."""
    if sys.argv[1:2] == ["serve"] and sys.platform != "win32":
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)


if threading.current_thread() is threading.main_thread():
    ignore()
