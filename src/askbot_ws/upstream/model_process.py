"""The embedded model's process: llama.cpp's server on a loopback port, alive as long as its stdin.

The parent writes one line of JSON, the order, to stdin; once the model is loaded, it reads one line of JSON,
`{"url": …}`, from stdout. The end of stdin is the order to leave, and comes by itself when the parent dies, however
it dies. llama.cpp's log goes to stderr. This file is run by its path, and so imports nothing of ours: a start
costs the model's time only. It is the only one that uses xllamacpp.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from importlib import import_module
from typing import Any, TypedDict

ERRORS = 1  # llama.cpp's verbosity: its warnings may repeat questions


class Order(TypedDict):
    """What the parent wants."""

    weights: str
    name: str
    key: str
    slots: int
    context: int
    threads: int


def main() -> None:
    """Load, say where, and wait for the end of stdin."""
    answers = _only_for_answers()
    for number in ("SIGINT", "SIGTERM", "SIGHUP"):  # for the parent, which may want to let answers end first
        if hasattr(signal, number):
            signal.signal(getattr(signal, number), signal.SIG_IGN)
    order: Order = json.loads(sys.stdin.buffer.readline())
    leave = threading.Thread(target=_leave_with_stdin, daemon=True)
    leave.start()
    server = import_module("xllamacpp").Server(params_of(order))
    os.write(answers, json.dumps({"url": server.listening_address}).encode() + b"\n")
    leave.join()


def params_of(order: Order) -> Any:  # noqa: ANN401  a type of native code
    """The order in llama.cpp's words."""
    params = import_module("xllamacpp").CommonParams()
    params.model.path, params.model_alias = order["weights"], {order["name"]}
    params.hostnames, params.port = ["127.0.0.1"], 0  # any free port
    params.api_keys = [order["key"]]  # or any page in a local browser could ask: it allows every origin
    params.ui = params.endpoint_slots = False  # the slots' state would show questions
    params.n_parallel, params.n_ctx = order["slots"], order["slots"] * order["context"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = order["threads"]
    params.n_gpu_layers = 0
    params.cache_ram_mib, params.cache_idle_slots = 0, False  # old prompts; up to 8 GiB otherwise
    params.verbosity = ERRORS
    return params


def _only_for_answers() -> int:
    """Keep stdout for our line; what native code prints goes to stderr."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _leave_with_stdin() -> None:
    """Leave at once, also while the model loads or answers: there is nothing to save."""
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
