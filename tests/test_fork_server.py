"""What is forked runs as what is started: arguments, environment, folder, output, exit codes and signals."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .fork_server import ForkedProcess, start
from .process import environment

PROGRAM = """
import os, signal, sys, time
print(__name__, sys.argv[1:], os.getcwd(), os.environ.get("GREETING"), os.environ.get("HOME"))
print("an error", file=sys.stderr)
handler = signal.getsignal(signal.SIGTERM)
print(handler is signal.SIG_DFL, signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL, sys.stdin.read())
match sys.argv[1:]:
    case ["sleep"]:
        time.sleep(60)  # it gets a signal before; no longer, where the test is gone
    case ["raise"]:
        raise LookupError("nothing")
    case [code]:
        sys.exit(int(code))
"""


@contextmanager
def forked(folder: Path, program: str, *arguments: str, **environ: str) -> Generator[ForkedProcess]:
    (folder / "program.py").write_text(program, "utf-8")
    with (
        (folder / "errors").open("a") as errors,
        start("program", *arguments, stderr=errors, cwd=folder, env=environ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("arguments", "code"), [(["0"], 0), (["7"], 7), ([], 0), (["raise"], 1)])
def test_it_has_what_it_is_given_and_its_exit_code_is_told(tmp_path: Path, arguments: list[str], code: int) -> None:
    """And nothing of the environment of those who start it."""
    with forked(tmp_path, PROGRAM, *arguments, GREETING="Grüße") as process:
        assert process.stdout.read() == f"__main__ {arguments} {tmp_path} Grüße None\nTrue True \n"
        assert (process.wait(10), process.poll(), process.returncode) == (code, code, code)

    errors = (tmp_path / "errors").read_text("utf-8").splitlines()
    assert errors[0] == "an error"
    assert errors[1:] == [] if code != 1 else errors[-1] == "LookupError: nothing"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    """The negative number is told, as `Popen` does; one that has ended gets none."""
    with forked(tmp_path, PROGRAM, "sleep") as process:
        assert process.stdout.readline()
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(number)
        assert process.wait(10) == -number
        process.send_signal(number)


def test_the_server_ignores_what_it_does_from_its_beginning(tmp_path: Path) -> None:
    """What takes effect at the import of `askbot_ws.early` does in each."""
    source = """
import signal
import askbot_ws.cli
print(*(signal.getsignal(number) is signal.SIG_IGN for number in (signal.SIGHUP, signal.SIGUSR2)))
"""
    for argument, ignored in (("serve", "True True"), ("ask", "False False"), ("serve", "True True")):
        with forked(tmp_path, source, argument, **environment()) as process:
            assert process.stdout.read() == f"{ignored}\n"
            assert process.wait(10) == 0


def test_two_share_nothing(tmp_path: Path) -> None:
    """What one imports or changes, the next has not."""
    source = """
import colorsys
print(hasattr(colorsys, "changed"))
colorsys.changed = True
"""
    for _ in range(2):
        with forked(tmp_path, source) as process:
            assert process.stdout.read() == "False\n"
            assert process.wait(10) == 0
