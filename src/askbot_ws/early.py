"""Early: what takes effect when this is imported, before the imports that take half a second.

`askbot serve` ignores SIGHUP and SIGUSR2 until the server acts on them. Else one that comes during the imports would
end the process; and SIGUSR2 would end a server without workers, which has nothing to replace.

The garbage collector leaves the imports alone, of whose 100,000 objects a hundredth is garbage: it would take a tenth
of their time. Nor does pydantic look for plug-ins, for which it would read the entry points of all packages that are
installed: that would take another tenth. It does where PYDANTIC_DISABLE_PLUGINS is set to an empty value.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from types import ModuleType
from typing import cast


def ignore_signals() -> None:
    """Ignore SIGHUP and SIGUSR2."""
    if sys.platform != "win32":
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)


def import_structlog() -> None:
    """Import structlog without rich, with which it would draw tracebacks: a server draws none, and starts sooner."""
    if "rich" not in sys.modules:
        sys.modules["rich"] = cast(ModuleType, None)  # as if it were not installed
        import structlog  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]

        del sys.modules["rich"]


gc.set_threshold(100_000)
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
if sys.argv[1:2] == ["serve"] and threading.current_thread() is threading.main_thread():
    ignore_signals()
