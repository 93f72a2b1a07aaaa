"""What would be published to npm: exactly what is meant, importable, and as its types say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from askbot_ws import __version__
from askbot_ws.testing import ScriptedUpstream, serving

from ..process import ROOT, address
from .npm import CLIENT, MODULES, needs, outcome, packed, project, run

PACKAGE = json.loads((CLIENT / "package.json").read_text())
TYPES = ROOT / "tests/js/types"
STRICT = "--noEmit --strict --noUnusedLocals --module nodenext --target es2022 --lib es2022,dom --types react,node"


def modules() -> set[str]:
    """What can be imported."""
    return {to["default"].removeprefix("./") for to in PACKAGE["exports"].values() if "default" in to}


def imported(name: str) -> set[str]:
    """The files of ours that one imports."""
    return set(re.findall(r'(?:from |(?:await|=) import\()"\./([^"]+)"', (CLIENT / name).read_text()))


async def test_exactly_what_is_meant_would_be_published(tmp_path: Path) -> None:
    """The modules, what they import, their types, and three files about them; not the page."""
    wanted = modules()
    while more := {needed for name in wanted for needed in imported(name)} - wanted:
        wanted |= more
    types = {path.name for path in CLIENT.glob("*.d.ts")}
    _, said = await packed(tmp_path)

    assert {file["path"] for file in said["files"]} == wanted | types | {"package.json", "README.md", "LICENSE"}
    assert said["size"] < 67_000


def test_the_package_is_of_this_version_and_licence_and_needs_nothing() -> None:
    """React only where it is used."""
    assert PACKAGE["version"] == __version__
    assert (CLIENT / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert "dependencies" not in PACKAGE
    assert set(PACKAGE["peerDependencies"]) == {"react"}
    assert PACKAGE["peerDependenciesMeta"] == {"react": {"optional": True}}


def test_every_module_has_its_types() -> None:
    """`exports` names both, and both are there."""
    for to in PACKAGE["exports"].values():
        assert all((CLIENT / path).is_file() for path in ([to] if isinstance(to, str) else to.values())), to
    assert {name.removesuffix(".js") for name in modules()} | {"frames"} == {
        path.name.removesuffix(".d.ts") for path in CLIENT.glob("*.d.ts")
    }


async def test_every_export_can_be_imported_where_there_is_no_page(tmp_path: Path) -> None:
    """From the tarball, in Node; a server that renders imports the element and the hook too."""
    names = [name for name, to in PACKAGE["exports"].items() if "default" in to]
    program = """
        for (const name of JSON.parse(process.argv[1]))
            console.log(name, Object.keys(await import("askbot-ws" + name.slice(1))).join());
    """
    out = await run("node", "--input-type=module", "--eval", program, json.dumps(names), folder=await project(tmp_path))

    assert dict(line.split(" ") for line in out.splitlines()) == {
        ".": "connect,delay",
        "./view": "countCodePoints,empty,points,shown,view",
        "./rows": "rows,running",
        "./element": "AskBot",
        "./react": "useAskbot",
        "./markdown": "render,update",
    }


async def test_without_react_all_but_the_hook_works(tmp_path: Path) -> None:
    """It is an optional peer."""
    await project(tmp_path)
    (tmp_path / "node_modules/react").unlink()
    start = ("node", "--input-type=module", "--eval")
    assert await run(*start, "import 'askbot-ws'; import 'askbot-ws/element'", folder=tmp_path) == ""
    code, _, errors = await outcome(*start, "import 'askbot-ws/react'", folder=tmp_path)
    assert code == 1
    assert "react" in errors


# --- types -----------------------------------------------------------------------------------------------------------


async def tsc(folder: Path, name: str) -> tuple[int, str]:
    """What the compiler says of one of our files, in a project that has the package installed."""
    needs(MODULES / "typescript")
    await project(folder)
    (folder / name).write_text((TYPES / name).read_text())
    code, out, errors = await outcome("node", MODULES / "typescript/bin/tsc", *STRICT.split(), name, folder=folder)
    assert errors == ""
    return code, out


async def test_what_is_declared_is_there(tmp_path: Path) -> None:
    """A program that uses all of it passes tsc, and then runs against a real server."""
    assert await tsc(tmp_path, "uses.ts") == (0, "")
    async with serving(ScriptedUpstream()) as server:
        assert await run("node", "uses.ts", address(server.port), folder=tmp_path) == ""


async def test_mistakes_are_found_each_in_its_line(tmp_path: Path) -> None:
    """All that are marked, and no others."""
    lines = (TYPES / "mistakes.ts").read_text().splitlines()
    marked = {place for place, line in enumerate(lines, 1) if line.endswith("// wrong")}
    code, out = await tsc(tmp_path, "mistakes.ts")

    assert code != 0
    assert {int(place) for place in re.findall(r"^mistakes\.ts\((\d+),", out, re.MULTILINE)} == marked, out
    assert marked


# --- rendering without a page ----------------------------------------------------------------------------------------


async def test_a_server_renders_the_hook_and_connects_to_nothing(tmp_path: Path) -> None:
    """Nor does it look at a storage. What it shows before there is a connection is what the page begins with too."""
    program = """
        for (const name of ["localStorage", "sessionStorage"])
          Object.defineProperty(globalThis, name, { get() { process.exit(2); } });
        import { createElement } from "react";
        import { renderToString } from "react-dom/server";
        import { useAskbot } from "askbot-ws/react";
        const never = class { constructor() { throw new Error("connected"); } };
        const Bot = () => {
          const bot = useAskbot({ url: "ws://127.0.0.1:1/v1/chat", WebSocket: never });
          const { turns, state, session, running, connection: { cause }, models, draft } = bot;
          return createElement("p", null, JSON.stringify([turns, state, session, running, cause, models, draft]));
        };
        process.stdout.write(renderToString(createElement(Bot)).replaceAll("&quot;", '"'));
    """
    out = await run("node", "--input-type=module", "--eval", program, folder=await project(tmp_path))
    assert out == '<p>[[],"connecting",null,false,null,null,""]</p>'


@pytest.mark.parametrize("name", ["react", "react-dom"])
def test_the_tests_and_the_example_have_the_same_react(name: str) -> None:
    """Or they would test two."""
    here = json.loads((ROOT / "tests/js/package.json").read_text())["devDependencies"]
    there = json.loads((ROOT / "examples/react/package.json").read_text())["dependencies"]
    assert here[name] == there[name]
