"""`make cluster`: a cluster on this machine until Ctrl-C or SIGTERM; nothing of it stays.

What is imported here is what the package itself needs, as it runs where nothing else is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from .child import ClusterError, say
from .cluster import Cluster


async def serve(cluster: Cluster, *, nodes: int) -> int:
    """Serve until a signal comes; a second one kills what has not ended. Returns the exit code."""
    task = asyncio.current_task()
    assert task

    def end() -> None:
        if task.cancelling():
            cluster.kill()
        else:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end)
    try:
        await cluster.start(nodes)
        print(cluster.describe(), flush=True)
        await cluster.watch()
    except ClusterError as error:
        say(f"{error}")
    except asyncio.CancelledError:
        return 0
    finally:
        await cluster.stop()
    return 1


def main() -> int:
    """Return the exit code: 0 where it was told to end, 1 where it could not serve."""
    parser = argparse.ArgumentParser(prog="make cluster", description="Nodes with one Redis behind nginx.")
    parser.add_argument("--nodes", type=int, default=3, help="how many")
    parser.add_argument("--port", type=int, default=8765, help="of the balancer, on 127.0.0.1")
    given = parser.parse_args()
    if given.nodes < 1:
        parser.error("--nodes: it should be at least 1")
    if not 0 < given.port < 65_536:
        parser.error("--port: it should be from 1 to 65535")
    with tempfile.TemporaryDirectory(prefix="askbot-cluster-") as folder:
        return asyncio.run(serve(Cluster(Path(folder), port=given.port), nodes=given.nodes))


if __name__ == "__main__":
    sys.exit(main())
