"""Which upstream answers: by the settings, and never another than the one that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from askbot_ws.config import load
from askbot_ws.errors import ConfigError
from askbot_ws.server.running import running
from askbot_ws.testing import ScriptedUpstream
from askbot_ws.upstream import weights
from askbot_ws.upstream.choose import DEFAULT_PERSONA, UpstreamChoice, choose_upstream
from askbot_ws.upstream.embedded import EmbeddedUpstream
from askbot_ws.upstream.embedded_model import SYSTEM_PROMPT
from askbot_ws.upstream.openai import OpenAIUpstream

from ..process import reading
from .gguf_files import write_gguf


def chosen(cwd: Path, **environ: str) -> UpstreamChoice:
    return choose_upstream(load({}, environ, cwd))


def test_without_a_key_the_embedded_model_answers(tmp_path: Path) -> None:
    """With what suits it, the guard among it."""
    choice = chosen(tmp_path)

    assert isinstance(choice.upstream, EmbeddedUpstream)
    assert (choice.persona, choice.context_tokens, choice.guard) == (SYSTEM_PROMPT, 2048, True)


def test_with_a_key_the_api_answers(tmp_path: Path) -> None:
    """Without the guard."""
    choice = chosen(tmp_path, OPENAI_API_KEY="sk-x")

    assert isinstance(choice.upstream, OpenAIUpstream)
    assert (choice.persona, choice.guard) == (DEFAULT_PERSONA, False)


@pytest.mark.parametrize("upstream", ["auto", "embedded"])
@pytest.mark.parametrize("variable", ["ASKBOT_MODEL", "ASKBOT_MODELS"])
def test_a_model_s_name_without_an_address_or_a_key_is_refused(tmp_path: Path, upstream: str, variable: str) -> None:
    """The embedded model would answer in its place, and nobody would notice."""
    with pytest.raises(ConfigError, match=rf"{variable}: 'llama3.2' is not .*OPENAI_API_KEY, or OPENAI_BASE_URL"):
        chosen(tmp_path, ASKBOT_UPSTREAM=upstream, **{variable: "llama3.2"})


def test_a_model_s_name_is_refused_where_no_model_is_installed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing is the address, not the embedded model."""
    monkeypatch.setattr(weights, "is_installed", bool)

    with pytest.raises(ConfigError, match=r"ASKBOT_MODEL: 'llama3\.2'"):
        chosen(tmp_path, ASKBOT_MODEL="llama3.2")


def test_the_embedded_model_may_be_named(tmp_path: Path) -> None:
    """It is the one that answers."""
    assert chosen(tmp_path, ASKBOT_MODEL=weights.MODEL_NAME).upstream.model == weights.MODEL_NAME


def test_a_file_answers_in_place_of_the_installed_model(tmp_path: Path) -> None:
    """Over a key that happens to be set too; with the persona of all models and its own context."""
    write_gguf(tmp_path / "other.gguf")

    choice = chosen(tmp_path, ASKBOT_EMBEDDED_MODEL="other.gguf", OPENAI_API_KEY="sk-x")

    assert choice.upstream.model == "other"
    assert (choice.persona, choice.context_tokens, choice.guard) == (DEFAULT_PERSONA, 8192, True)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """At the start, with the setting's name."""
    (tmp_path / "other.gguf").write_bytes(b"<html>")

    with pytest.raises(ConfigError, match=r"ASKBOT_EMBEDDED_MODEL: .*not a GGUF file"):
        chosen(tmp_path, ASKBOT_EMBEDDED_MODEL="other.gguf")


@pytest.mark.parametrize(("persona", "systems"), [(None, ["Be kind."]), ("Be brief.", ["Be brief."]), (" ", [])])
async def test_the_persona_of_the_settings_replaces_the_default_or_switches_it_off(
    tmp_path: Path, persona: str | None, systems: list[str]
) -> None:
    """What is sent to the model is the one, the other, or none."""
    upstream = ScriptedUpstream(["Yes."])
    settings = load({"port": 0, "store": "memory:"}, {} if persona is None else {"ASKBOT_PERSONA": persona}, tmp_path)

    async with running(settings, UpstreamChoice(upstream, persona="Be kind.")) as server, reading(server.url) as reader:
        await reader.answer("Is it so?")

    assert [message.text for message in upstream.prompts[0].messages if message.role == "system"] == systems
