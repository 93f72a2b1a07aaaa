"""`serving`: a server for tests, which is the same wherever they run."""

from __future__ import annotations

from pathlib import Path

import pytest

from askbot_ws import connect
from askbot_ws.errors import ConfigError, QuestionTooLong
from askbot_ws.testing import ScriptedUpstream, serving

HOSTILE = {"ASKBOT_MAX_QUESTION": "1", "ASKBOT_PERSONA": "Be rude.", "ASKBOT_NOSUCH": "1", "ASKBOT_HOST": "0.0.0.0"}


@pytest.fixture(params=["askbot.toml", "another file", ".env", "the environment"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder and an environment whose settings, if they were read, would start no server, or another one."""
    monkeypatch.chdir(tmp_path)
    lines = "".join(f'{name.removeprefix("ASKBOT_").lower()} = "{value}"\n' for name, value in HOSTILE.items())
    match request.param:
        case "askbot.toml":
            Path("askbot.toml").write_text(lines)
        case "another file":
            Path("other.toml").write_text(lines)
            monkeypatch.setenv("ASKBOT_CONFIG", "other.toml")
        case ".env":
            Path(".env").write_text("".join(f"{name}={value}\n" for name, value in HOSTILE.items()))
        case _:
            for name, value in HOSTILE.items():
                monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("elsewhere")
async def test_neither_files_nor_the_environment_are_read() -> None:
    """In whatever folder a test runs, its server is the same one."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server, connect(server.url) as chat:
        assert server.address.startswith("127.0.0.1:")
        assert (await chat.ask("Why?")).text == "You asked: Why?"

    assert [message.role for message in upstream.prompts[0].messages] == ["user"]


@pytest.mark.usefixtures("elsewhere")
async def test_settings_that_are_given_hold() -> None:
    """Those that are not have the values of `askbot serve`."""
    async with serving(max_question=4, model="mine", persona="Be kind.") as server, connect(server.url) as chat:
        assert (await chat.ask("Why?")).model == "mine"
        with pytest.raises(QuestionTooLong):
            await chat.ask("Why so?")

    with pytest.raises(ConfigError, match="nosuch: there is no such keyword"):
        async with serving(nosuch=1):
            pass


async def test_a_file_that_is_given_is_found_from_where_the_test_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a program's own paths are; None is the default."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kind.txt").write_text("Be kind.")
    upstream = ScriptedUpstream()
    async with serving(upstream, persona="@kind.txt", max_tokens=None) as server, connect(server.url) as chat:
        await chat.ask("Why?")

    assert upstream.prompts[0].messages[0].text == "Be kind."
