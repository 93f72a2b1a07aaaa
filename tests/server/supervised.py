"""A program: `askbot serve` by workers, each with a store of its own, which `askbot serve` itself refuses.

Its arguments are the number of workers, what starts a worker (a JSON list, or null), and settings of the command line.
"""

from __future__ import annotations

import json
import sys

from askbot_ws.config import load
from askbot_ws.errors import ConfigError
from askbot_ws.logs import configure
from askbot_ws.server.workers.supervising import run_workers
from askbot_ws.server.workers.worker_process import COMMAND


def main() -> int:
    """Run the supervisor."""
    count, command, flags = map(json.loads, sys.argv[1:])
    try:
        settings = load(flags)
        configure(settings)
        return run_workers(settings, flags, lambda: load(flags), count=count, command=command or COMMAND)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
