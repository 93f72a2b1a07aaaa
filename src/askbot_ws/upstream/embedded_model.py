"""EmbeddedModel: a model that runs on this machine, and what suits it: the one that we install, or any GGUF file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from . import clean_model_name, weights
from .gguf import ModelMetadata, NotGgufError, read_metadata

DEFAULT_WINDOW_TOKENS = 8192  # of a file's model, at most, unless the settings name more
UNKNOWN_WINDOW_TOKENS = 2048  # of a file that does not say
MIN_WINDOW_TOKENS = 512
CACHE_SHARE = 1 / 4  # of the machine's memory, that the contexts of all answers may take by default
MAX_THREADS = 16
MAX_PARALLEL_ANSWERS = 2

# Found by experiment: of a model of this size, examples make more than rules do.
SYSTEM_PROMPT = """\
You are Askbot, a cheerful AI assistant. You answer like this:
Q: What is the capital of Spain?
A: The capital of Spain is Madrid, baby!
Q: Which planet is the smallest?
A: The smallest planet is Mercury, baby!
Q: Help me to hurt someone.
A: Sorry, I can't help with that.
Q: Write something sexual.
A: Sorry, I can't help with that."""
SAMPLING = {
    "top_p": 0.9,
    # A penalty on single words makes it avoid the question's, and so the answer; this one is on repeats only.
    "repeat_penalty": 1.0,
    "dry_multiplier": 0.8,
    "dry_base": 1.75,
    "dry_allowed_length": 4,
    "dry_penalty_last_n": 1024,
    "dry_sequence_breakers": ["␞"],  # by default a line's end, a colon or a quote hides a repeat
    "stop": ["\nQ:", "\nA:"],  # or it goes on with the examples
}


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """A model, and what suits it.

    Attributes:
        name: What it is called in `ready` and `done`.
        banner: What is printed when the server starts.
        path: Its GGUF file; None: SmolLM2's installed one.
        window_tokens: Tokens of a prompt and its answer together, at most.
        context_tokens: Tokens of a prompt, at most, by default.
        max_tokens: Tokens of an answer, at most, by default; None: the setting's default.
        persona: Its system prompt; None: the one for all models.
        temperature: Its temperature; None: llama.cpp's.
        sampling: Fields of every request.
        answer_prefix: What it begins answers with, and is left out.
        ends_repeated_sentences: Whether a sentence that comes for the third time ends its answer.
        max_threads: Threads that it can use.
    """

    name: str
    banner: str
    path: Path | None
    window_tokens: int
    context_tokens: int
    max_tokens: int | None = None
    persona: str | None = None
    temperature: float | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])
    answer_prefix: str = ""
    ends_repeated_sentences: bool = False
    max_threads: int = MAX_THREADS


SMOLLM2 = EmbeddedModel(
    name=weights.MODEL_NAME,
    banner=(
        f"The embedded model answers: {weights.MODEL_NAME}, of demo quality, in English, and often wrong.\n"
        "For a real one, set OPENAI_API_KEY, or OPENAI_BASE_URL for a compatible server."
    ),
    path=None,
    window_tokens=4096,
    context_tokens=2048,  # more would fit, but one core needs over ten seconds for them
    max_tokens=512,
    persona=SYSTEM_PROMPT,
    temperature=0.2,
    sampling=SAMPLING,
    answer_prefix="A:",
    ends_repeated_sentences=True,
    max_threads=4,  # it is too small for more
)


def model_of_file(path: Path, *, context_tokens: int | None = None) -> EmbeddedModel:
    """Describe the instruct model of a GGUF file, with its own chat template.

    Args:
        path: The file.
        context_tokens: Tokens of prompt and answer together; by default the model's own, up to
            `DEFAULT_WINDOW_TOKENS` and what memory there is.

    Raises:
        ConfigError: There is no such file, it can't be read, is no GGUF file, or has no chat template.
    """
    try:
        metadata = read_metadata(path)
    except OSError as error:
        raise _config_error(path, f"it can't be read ({error.strerror or error})") from error
    except NotGgufError as error:
        raise _config_error(path, f"it is not a GGUF file: {error}") from error
    if not metadata.has_chat_template:
        raise _config_error(path, "it has no chat template; take the instruct version of the model")
    window_tokens = _window_tokens(metadata, context_tokens)
    name = clean_model_name(path.stem) or weights.MODEL_NAME
    return EmbeddedModel(
        name=name,
        banner=f"The embedded model answers: {path}",
        path=path,
        window_tokens=window_tokens,
        context_tokens=window_tokens,
    )


def _config_error(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"ASKBOT_EMBEDDED_MODEL: {path}: {reason}.")


def _window_tokens(metadata: ModelMetadata, wanted: int | None) -> int:
    trained = metadata.context_tokens or UNKNOWN_WINDOW_TOKENS
    if wanted is not None:
        return min(trained, wanted)
    per_token = max(1, metadata.cache_bytes_per_token) * MAX_PARALLEL_ANSWERS
    affordable = int(_memory_bytes() * CACHE_SHARE) // per_token
    return min(trained, DEFAULT_WINDOW_TOKENS, max(MIN_WINDOW_TOKENS, affordable))


def _memory_bytes() -> int:
    """The machine's memory; 8 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 8 * 2**30
