"""What README says is true: its programs run as they stand, its commands, settings and links exist.

The JavaScript program runs in a browser: tests/browser/test_readme.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from askbot_ws.config import FIELD_OF_VARIABLE
from askbot_ws.dialects.askbot.frames import schema
from askbot_ws.testing import ScriptedUpstream, serving

from .process import ROOT, environment

README = (ROOT / "README.md").read_text()
PORT = ":8765"
BIN = Path(sys.executable).parent


def blocks(language: str) -> list[str]:
    """The code blocks in a language, as they stand."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """The lines of the shell blocks, without what is said about them."""
    lines = "".join(blocks("sh")).splitlines()
    return [re.sub(r"\s+#.*", "", line) for line in lines if line.strip()]


def of_askbot(*words: str) -> list[str]:
    """The commands that call `askbot` so."""
    return [line for line in commands() if re.search(rf"\baskbot {' '.join(words)}\b", line)]


async def run(*command: str, folder: Path = ROOT, stdin: str = "") -> str:
    """Run a program to its end, which is a good one; returns what it wrote."""
    variables = environment(PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=folder, env=variables
    )
    async with asyncio.timeout(30):
        out, errors = await process.communicate(stdin.encode())
    assert process.returncode == 0, errors.decode()
    return out.decode()


# --- programs --------------------------------------------------------------------------------------------------------


def test_there_are_the_programs_that_are_tested_here() -> None:
    """Two clients and a function in Python, a client in JavaScript, a page: a further one wants a test."""
    assert [len(blocks(language)) for language in ("python", "js", "html")] == [3, 1, 1]
    assert README.count("```") == 2 * (3 + 1 + 1 + len(blocks("sh")))


@pytest.mark.parametrize("program", blocks("python")[:2], ids=["the client", "the client without asyncio"])
async def test_the_python_programs_print_the_answer(program: str) -> None:
    """As it comes, to its end."""
    upstream = ScriptedUpstream(["The capital of France ", "is Paris."])
    async with serving(upstream) as server:
        assert PORT in program
        out = await run(sys.executable, "-W", "error", "-c", program.replace(PORT, f":{server.port}"))

    assert out == "The capital of France is Paris."
    assert [message.text for message in upstream.prompts[0].messages if message.role == "user"] == [
        "What is the capital of France?"
    ]


async def test_the_function_answers(tmp_path: Path) -> None:
    """Saved and started as its first line says."""
    program = blocks("python")[2]
    saved = re.match(r"# (\S+\.py): (askbot serve .*)", program)
    assert saved
    (tmp_path / saved[1]).write_text(program)
    server = await asyncio.create_subprocess_exec(
        *shlex.split(saved[2]), "--port", "0", "--store", "memory:",
        stdout=PIPE, stderr=PIPE, cwd=tmp_path, env=environment(PATH=str(BIN)),
    )  # fmt: skip
    try:
        assert server.stdout
        async with asyncio.timeout(30):
            while not (line := (await server.stdout.readline()).decode()).strip().startswith("socket"):
                assert line, "it did not start"
        out = await run("askbot", "ask", "why is the sky blue?", "--url", line.split()[1])
    finally:
        server.terminate()
        await server.communicate()

    assert out.split() == ["WHY", "IS", "THE", "SKY", "BLUE?"]


# --- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", of_askbot("ask"))
async def test_a_question_on_the_command_line_is_answered(line: str) -> None:
    """On stdout; what is piped in is asked about."""
    async with serving(ScriptedUpstream(["Paris."])) as server:
        out = await run("bash", "-c", f"git() {{ echo changed; }}; {line} --url ws://127.0.0.1:{server.port}/v1/chat")
    assert out.strip() == "Paris."


async def test_a_conversation_in_the_terminal_is_held() -> None:
    """`askbot chat`."""
    (line,) = of_askbot("chat")
    async with serving(ScriptedUpstream(["Paris."])) as server:
        out = await run(*shlex.split(line), f"ws://127.0.0.1:{server.port}/v1/chat", stdin="Where?\n")
    assert "Paris." in out


async def test_the_schema_is_printed() -> None:
    """`askbot schema`."""
    (line,) = of_askbot("schema")
    assert json.loads(await run(*shlex.split(line))) == schema()


@pytest.mark.parametrize("line", [line for line in commands() if "askbot " in line])
async def test_commands_and_flags_exist(line: str) -> None:
    """Each, as its command's help has it."""
    words = shlex.split(line.rpartition("|")[2])
    names = [word for word in words[1:] if re.fullmatch(r"[a-z]+", word)][: 2 if words[1] == "model" else 1]
    text = await run("askbot", *names, "--help")
    for flag in (word for word in words if word.startswith("--")):
        assert re.search(rf"{flag}\b", text), f"{flag} is no flag of askbot {' '.join(names)}"


async def test_what_is_made_can_be_made() -> None:
    """The targets of make that README names."""
    targets = {target for line in commands() for target in re.findall(r"\bmake ([a-z]+)", line)}
    assert targets == {"serve", "test"}
    for target in targets:
        assert await run("make", "--dry-run", target)


# --- names -----------------------------------------------------------------------------------------------------------


def test_the_settings_exist() -> None:
    """All variables that README names."""
    named = set(re.findall(r"\b(?:ASKBOT|OPENAI)_[A-Z_]+\b", README))
    assert named
    assert named <= set(FIELD_OF_VARIABLE)


def test_the_links_lead_somewhere() -> None:
    """All files and pictures."""
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


async def test_the_package_index_shows_it_with_links_that_lead_somewhere() -> None:
    """It has none of our files, so links and pictures are whole URLs, each of a file in this repository."""
    told = json.loads(await run(sys.executable, "-m", "hatchling", "metadata"))
    shown = told["readme"]["text"]
    links = [*re.findall(r"\]\(([^)]+)\)", shown), *re.findall(r'(?:src|href)="([^"]+)"', shown)]
    ours = re.escape(told["urls"]["Source"].removeprefix("https://github.com/"))
    address = rf"https://(?:github\.com/{ours}/blob|raw\.githubusercontent\.com/{ours})/main/([^#]+)"
    files = [found[1] for link in links if (found := re.match(address, link))]

    assert [link for link in links if not link.startswith(("http://", "https://", "#"))] == []
    assert len(files) > 10
    assert [file for file in files if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_the_addresses_for_operators_answer(path: str) -> None:
    """As is said of them."""
    assert path in README
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200 OK")
