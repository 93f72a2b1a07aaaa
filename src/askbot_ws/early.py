"""Early: what takes effect when this is imported, before the imports that take half a second.

`askbot serve` ignores SIGHUP and SIGUSR2 until the server acts on them. Else one that comes during the imports would
end the process; and SIGUSR2 would end a server without workers, which has nothing to replace.

The garbage collector leaves the imports alone, of whose 100,000 objects a hundredth is garbage: it would take a tenth
of their time.
"""

from __future__ import annotations

import gc
import signal
import sys
import threading


def ignore_signals() -> None:
    """Ignore SIGHUP and SIGUSR2."""
    if sys.platform != "win32":
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)


gc.set_threshold(100_000)
if sys.argv[1:2] == ["serve"] and threading.current_thread() is threading.main_thread():
    ignore_signals()
