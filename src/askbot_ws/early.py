"""Early: what takes effect when this is imported, before the imports that take half a second.

`askbot serve` ignores SIGHUP and SIGUSR2 until the server acts on them. Else one that comes during the imports would
end the process; and SIGUSR2 would end a server without workers, which has nothing to replace.

The garbage collector leaves the imports alone, of whose 120,000 objects a hundredth is garbage: it would take a tenth
of their time. Nor does pydantic look for plug-ins, for which it would read the entry points of all packages that are
installed: another tenth. It does where functions of the user's run in the server.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading

_DISABLE_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"  # pydantic reads it whenever a model is made
_PLUGINS_ALLOWED = _DISABLE_PLUGINS not in os.environ


def ignore_reload_signals() -> None:
    """Ignore SIGHUP and SIGUSR2."""
    if sys.platform != "win32":
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)


def allow_pydantic_plugins() -> None:
    """Let pydantic load plug-ins from now on: what is not the server's own may need them."""
    if _PLUGINS_ALLOWED:
        os.environ.pop(_DISABLE_PLUGINS, None)


gc.set_threshold(200_000)
os.environ.setdefault(_DISABLE_PLUGINS, "__all__")
if sys.argv[1:2] == ["serve"] and threading.current_thread() is threading.main_thread():
    ignore_reload_signals()
