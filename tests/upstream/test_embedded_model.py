"""What is known of a GGUF file before it is loaded, and what is said of one that can't be."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from askbot_ws.errors import ConfigError
from askbot_ws.upstream import weights
from askbot_ws.upstream.embedded_model import DEFAULT_WINDOW_TOKENS, MIN_WINDOW_TOKENS, model_of_file
from askbot_ws.upstream.gguf import ModelMetadata, NotGgufError, read_metadata

from .gguf_files import INSTRUCT, write_gguf


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my-model.Q4.gguf"


def test_the_installed_model_says_what_it_can() -> None:
    """A real file."""
    path = weights.find_weights()
    assert path is not None

    assert read_metadata(path) == ModelMetadata(
        has_chat_template=True, context_tokens=8192, cache_bytes_per_token=2 * 30 * 3 * 128
    )


def test_a_file_is_known_by_its_name_and_has_the_persona_of_all_models(file: Path) -> None:
    """Nothing of what was tuned for SmolLM2."""
    model = model_of_file(write_gguf(file))

    assert (model.name, model.path, model.persona) == ("my-model.Q4", file, None)
    assert (model.temperature, dict(model.sampling), model.answer_prefix) == (None, {}, "")


@pytest.mark.parametrize(
    ("trained", "wanted", "tokens"),
    [(4096, None, 4096), (131072, None, DEFAULT_WINDOW_TOKENS), (131072, 20000, 20000), (4096, 20000, 4096)],
)
def test_the_context_is_the_model_s_own(file: Path, trained: int, wanted: int | None, tokens: int) -> None:
    """Within reason, unless the settings name more; never more than the model was trained for."""
    write_gguf(file, {**INSTRUCT, "llama.context_length": trained})

    model = model_of_file(file, context_tokens=wanted)

    assert (model.window_tokens, model.context_tokens) == (tokens, tokens)


def test_the_context_fits_the_memory(file: Path) -> None:
    """Of a model that takes a gigabyte for a token, as little as makes sense."""
    write_gguf(file, {**INSTRUCT, "llama.embedding_length": 2**29, "llama.attention.head_count_kv": [0, 8]})

    assert model_of_file(file).window_tokens == MIN_WINDOW_TOKENS


def test_a_file_that_says_little_will_do(file: Path) -> None:
    """A chat template is all that it must have."""
    write_gguf(file, {"tokenizer.chat_template": "{{ messages }}"}, version=2)

    assert model_of_file(file).window_tokens == 2048


def test_a_base_model_is_refused(file: Path) -> None:
    """It does not know what a question is."""
    write_gguf(file, {"general.architecture": "llama"})

    with pytest.raises(ConfigError, match=r"ASKBOT_EMBEDDED_MODEL: .*my-model.* has no chat template.*instruct"):
        model_of_file(file)


@pytest.mark.parametrize("data", [b"", b"PK\3\4" * 100, b"<html>404</html>", b"gguf"])
def test_another_kind_of_file_is_refused(file: Path, data: bytes) -> None:
    """Whatever its name is."""
    file.write_bytes(data)

    with pytest.raises(ConfigError, match="it is not a GGUF file: it does not begin with GGUF"):
        model_of_file(file)


def test_a_file_that_was_cut_is_refused_wherever_it_was_cut(file: Path) -> None:
    """A download that was broken off is told as such, with no traceback."""
    whole = write_gguf(file).read_bytes()
    for size in range(4, len(whole)):
        file.write_bytes(whole[:size])
        with pytest.raises(NotGgufError):
            read_metadata(file)


@pytest.mark.parametrize("at", range(4, 60))
def test_a_file_with_a_wrong_byte_is_read_or_refused(file: Path, at: int) -> None:
    """It takes neither the memory nor the time that its numbers ask for."""
    data = bytearray(write_gguf(file).read_bytes())
    data[at] = 255
    file.write_bytes(data)

    with suppress(NotGgufError):
        read_metadata(file)


def test_a_file_that_is_missing_or_a_folder_is_told(file: Path, tmp_path: Path) -> None:
    """With the system's words."""
    with pytest.raises(ConfigError, match="No such file"):
        model_of_file(file)
    with pytest.raises(ConfigError, match="directory"):
        model_of_file(tmp_path)


def test_a_file_that_can_not_be_read_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's words. Root may read every file, so it is the system that is replaced."""
    write_gguf(file)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match="Permission denied"):
        model_of_file(file)
