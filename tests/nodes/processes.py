"""Node processes: `askbot serve` as other processes, with leases that end soon."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.process import KEY, Askbot, environment, forked_server, serve_arguments


@contextmanager
def node_process(folder: Path, store: str, *, upstream: str, **environ: str) -> Generator[Askbot]:
    """`askbot serve`, with leases that end soon."""
    folder.mkdir()
    words = serve_arguments("--store", store, "--model", "scripted-1")
    variables = environment(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=upstream, ASKBOT_DRAIN="10s", **environ)
    with forked_server("tests.nodes.node", *words, folder=folder, env=variables) as server:
        yield server
