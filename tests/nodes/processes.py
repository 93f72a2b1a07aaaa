"""Node processes: `askbot serve` as other processes, with leases that end soon."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests import fork_server
from tests.process import KEY, Askbot, environment, url_of


@contextmanager
def node_process(folder: Path, store: str, *, upstream: str, **environ: str) -> Generator[Askbot]:
    """`askbot serve`, with leases that end soon."""
    folder.mkdir()
    log = folder / "askbot.log"
    words = ["serve", "--port", "0", "--log-format", "json", "--store", store, "--model", "scripted-1"]
    variables = environment(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=upstream, ASKBOT_DRAIN="10s", **environ)
    with (
        log.open("a") as errors,
        fork_server.start("tests.nodes.node", *words, stderr=errors, cwd=folder, env=variables) as process,
    ):
        try:
            yield Askbot(process, url_of(process, log), log)
        finally:
            process.kill()
