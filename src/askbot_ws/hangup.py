"""Hangup: SIGHUP is ignored by `askbot serve` from when this is imported until the server reloads its settings at it.

Without that, one that comes during the imports, which take half a second, would end the process.
"""

from __future__ import annotations

import signal
import sys
import threading


def ignore() -> None:
    """Ignore SIGHUP, where the command is `serve`."""
    if sys.argv[1:2] == ["serve"] and sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


if threading.current_thread() is threading.main_thread():
    ignore()
