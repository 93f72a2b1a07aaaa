"""Model process: llama.cpp's server on a loopback port, which runs until its stdin is closed.

The parent writes one line of JSON, a `ModelProcessConfig`, to stdin; once the model is loaded, it reads one line of
JSON, `{"url": …}`, from stdout; or else `{"error": …}`, and the process exits. It exits, too, when stdin is closed,
which happens by itself when the parent dies, however it dies. llama.cpp's log goes to stderr, by a thread of its own
that may be late until the exit. This file is run by its path, and so imports nothing of ours: a start costs the model's
time only. It is the only one that uses xllamacpp.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from importlib import import_module
from typing import Any, TypedDict

LOG_ERRORS_ONLY = 1  # a verbosity of llama.cpp: its warnings may repeat questions


class ModelProcessConfig(TypedDict):
    """What the parent sends."""

    weights_path: str
    model_name: str
    api_key: str
    parallel_answers: int
    context_tokens: int
    threads: int


def main() -> None:
    """Load the model, write the server's address to stdout, and wait until stdin is closed."""
    stdout = _reserve_stdout()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # for the parent, which may want to let answers end first
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    config: ModelProcessConfig = json.loads(sys.stdin.buffer.readline())
    exit_thread = threading.Thread(target=_exit_when_stdin_closes, daemon=True)
    exit_thread.start()
    try:
        server = import_module("xllamacpp").Server(server_params(config))
    except Exception as error:  # noqa: BLE001  the parent tells it, after llama.cpp's own words
        _write_line(stdout, {"error": f"{type(error).__name__}: {error}"})
        sys.exit(1)
    _write_line(stdout, {"url": server.listening_address})
    exit_thread.join()


def server_params(config: ModelProcessConfig) -> Any:  # noqa: ANN401  a type of native code
    """The parameters of llama.cpp's server."""
    params = import_module("xllamacpp").CommonParams()
    params.model.path, params.model_alias = config["weights_path"], {config["model_name"]}
    params.hostnames, params.port = ["127.0.0.1"], 0  # any free port
    params.api_keys = [config["api_key"]]  # or any page in a local browser could ask: it allows every origin
    params.ui = params.endpoint_slots = False  # the slots' state would show questions
    params.n_parallel, params.n_ctx = config["parallel_answers"], config["parallel_answers"] * config["context_tokens"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config["threads"]
    params.n_gpu_layers = 0
    params.cache_ram_mib, params.cache_idle_slots = 0, False  # old prompts; up to 8 GiB otherwise
    params.verbosity = LOG_ERRORS_ONLY
    return params


def _reserve_stdout() -> int:
    """Return a file descriptor of stdout for our line; what native code prints goes to stderr from now on."""
    stdout = os.dup(1)
    os.dup2(2, 1)
    return stdout


def _write_line(stdout: int, report: dict[str, str]) -> None:
    os.write(stdout, json.dumps(report).encode() + b"\n")


def _exit_when_stdin_closes() -> None:
    """Exit when stdin is closed, also while the model loads or answers: there is nothing to save."""
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
