"""Settings: everything that can be set, in one list.

Flags over the environment over `.env` over a TOML file over the defaults. All of it is checked at the start, and
every fault is told at once. The flags, the help and the docs are generated from the fields here.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from .errors import ConfigError
from .values import (
    ApiKey,
    BaseUrl,
    Count,
    Duration,
    DurationOrNever,
    DurationOrZero,
    Host,
    Hosts,
    Lower,
    Origins,
    Parts,
    Persona,
    Size,
    SizeOrZero,
    Store,
    Upstream,
    default_store,
    is_loopback,
    written,
)

__all__ = ["Settings", "load"]

PREFIX = "ASKBOT_"
FILE = "askbot.toml"
FILE_VARIABLE = "ASKBOT_CONFIG"
OWN_NAMES = {"openai_api_key": "OPENAI_API_KEY", "openai_base_url": "OPENAI_BASE_URL"}


class Settings(BaseModel):
    """All settings of a server, checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    # where
    host: Host = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8765, ge=0, le=65535, description="Port to listen on; 0 is any free one.")
    allow_anonymous: bool = Field(default=False, description="Let anybody in, on addresses other than loopback too.")
    hosts: Hosts = Field(
        default=(), description="Names that clients call the server by, comma separated; each may have a port."
    )
    origins: Origins = Field(default=(), description="Foreign web origins that may connect, comma separated; * is any.")

    # what is kept
    store: Store = Field(
        default_factory=default_store,
        description="Where sessions are kept: memory:, sqlite:///relative/path or sqlite:////absolute/path.",
    )
    fsync: bool = Field(default=False, description="Survive power cuts too, not only killed processes; slower.")
    session_ttl: Duration = Field(default=30 * 86400, description="Delete sessions that rested for so long.")
    memory: SizeOrZero = Field(default=64 * 1024**2, description="Bytes of idle sessions to keep in memory.")

    # the model
    upstream: Upstream = Field(
        default="auto",
        description="What answers: openai, embedded, package.module:function, or auto: whatever is there.",
    )
    model: str | None = Field(default=None, description="The model to ask.")
    models: Parts = Field(default=(), description="Further models that a question may choose, comma separated.")
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="How freely the model chooses words, 0 to 2."
    )
    max_tokens: int = Field(default=1024, ge=1, le=1_000_000, description="The most tokens that an answer may have.")
    persona: Persona | None = Field(default=None, description="The system prompt: a text, or @path of a file with one.")
    context_tokens: Count | None = Field(
        default=None, description="The most tokens of a conversation to show the model."
    )
    openai_api_key: ApiKey | None = Field(default=None, description="The API's key.")
    openai_base_url: BaseUrl | None = Field(default=None, description="The API's URL.")
    transport: Annotated[Literal["auto", "direct", "openai"], Lower] = Field(
        default="auto", description="How the API is called: by our own HTTP client, or by the openai package's."
    )
    connect_timeout: Duration = Field(default=10, description="How long to wait for the API's connection.")
    stall_timeout: Duration = Field(default=60, description="How long an answer may pause before it has failed.")
    retries: int = Field(default=2, ge=0, le=10, description="How often to try again before the first token.")

    # questions and turns
    max_question: Count = Field(default=8000, description="The most characters that a question may have.")
    max_waiting: int = Field(default=8, ge=0, description="How many questions of a session may wait.")
    max_turns: Count = Field(default=1000, description="How many answers may run at once.")
    abandon_after: DurationOrNever = Field(
        default=None, description="Cancel answers that nobody reads for so long, or never."
    )
    drain: DurationOrZero = Field(
        default=20, description="How long running answers may take to end when the server stops."
    )

    pause: bool = Field(
        default=True, description="Pause for up to 20 ms where the CPU is nearly used up: more answers fit, later."
    )

    # connections
    max_frame: Size = Field(default=1024**2, description="The most bytes that a client's frame may have.")
    reader_timeout: Duration = Field(default=30, description="Close connections that take nothing for so long.")
    heartbeat: Duration = Field(default=20, description="Send a sign of life where nothing else was sent for so long.")
    compression: bool = Field(default=False, description="Compress frames; it costs more than it saves.")
    limits: bool = Field(default=True, description="Keep to the limits on connections, frames and running answers.")
    max_connections: Count = Field(default=10_000, description="How many connections there may be.")
    max_connections_per_address: Count = Field(default=1000, description="How many connections one address may have.")
    frames_per_minute: Count = Field(default=1200, description="How many frames a connection may send in a minute.")

    # logs
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lower] = Field(
        default="info", description="The least important lines to log."
    )
    log_format: Annotated[Literal["auto", "console", "json"], Lower] = Field(
        default="auto", description="How to log; auto is console for a terminal and json otherwise."
    )
    log_content: bool = Field(default=False, description="Log questions and answers too.")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    @field_validator("allow_anonymous")
    @classmethod
    def _door(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic calls it
        host = info.data.get("host")
        if not value and host is not None and not is_loopback(host):
            raise ValueError(
                f"ASKBOT_HOST={host} can be reached from other machines, and anonymous use is for loopback. "
                "Authentication is not built yet: where everybody who can reach it may use it, "
                "set ASKBOT_ALLOW_ANONYMOUS=true (--allow-anonymous); else set ASKBOT_HOST=127.0.0.1"
            )
        return value

    @field_validator("openai_base_url")
    @classmethod
    def _api(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("upstream") == "openai" and not value and info.data.get("openai_api_key", ...) is None:
            raise ValueError("ASKBOT_UPSTREAM=openai needs OPENAI_API_KEY, or OPENAI_BASE_URL of a server without keys")
        return value


# --- names -----------------------------------------------------------------------------------------------------------


def variable(field: str) -> str:
    """A setting's name in the environment."""
    return OWN_NAMES.get(field, PREFIX + field.upper())


def flag(field: str) -> str:
    """A setting's name on the command line."""
    return "--" + field.replace("_", "-")


def default(field: str) -> str | None:
    """A setting's default as people write it; None where there is none."""
    info = Settings.model_fields[field]
    value = info.get_default(call_default_factory=True, validated_data={})
    return None if value is None or value == () else written(value, info)


FIELDS = {variable(field): field for field in Settings.model_fields}

# --- sources ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Given:
    """A value, and where it was given."""

    value: object
    where: str


def load(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """The settings from all sources. Raises `ConfigError` with every fault.

    In `flags` and in the environment, None and the empty text are the same as nothing.
    """
    cwd, faults = cwd or Path.cwd(), list[str]()
    given = _gather(flags or {}, os.environ if environ is None else environ, cwd, faults)
    return _checked(given, cwd, faults)


def keywords(given: Mapping[str, object], *, without: Collection[str] = ()) -> Settings:
    """The settings that a program gives, and no others: neither the environment nor a file is looked at.

    `without` are those that make no sense there. Raises `ConfigError` with every fault.
    """
    known = {name: name for name in Settings.model_fields if name not in without}
    faults = [f"{name}: there is no such keyword. {_suggestion(name, known)}" for name in given if name not in known]
    settings = {name: Given(given[name], f"as the keyword {name}") for name in known if name in given}
    return _checked(settings, Path.cwd(), faults)


def _checked(given: Mapping[str, Given], cwd: Path, faults: list[str]) -> Settings:
    try:
        settings = Settings.model_validate({name: one.value for name, one in given.items()}, context=cwd)
    except ValidationError as error:
        faults += [_fault(detail, given) for detail in error.errors(include_url=False, include_context=False)]
    else:
        if not faults:
            return settings
    several = f"{len(faults)} settings are wrong" if len(faults) > 1 else "a setting is wrong"
    raise ConfigError("\n".join([f"askbot can't start: {several}.", *(f"  {fault}" for fault in faults)]))


def _gather(flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path, faults: list[str]) -> dict[str, Given]:
    """All sources as one, the stronger over the weaker."""
    dotenv = _dotenv(cwd / ".env", faults)
    path = environ.get(FILE_VARIABLE) or dotenv.get(FILE_VARIABLE)
    given = dict(_from_file(cwd / (path or FILE), bool(path), faults))
    given |= dict(_from_variables(dotenv, "in .env", faults))
    given |= dict(_from_variables(environ, "in the environment", faults))
    return given | {name: Given(value, f"as {flag(name)}") for name, value in flags.items() if value is not None}


def _dotenv(path: Path, faults: list[str]) -> dict[str, str]:
    try:
        values = dotenv_values(path, interpolate=False) if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f".env: it can't be read ({_reason(error)}); repair or remove it.")
        return {}
    return {name: value for name, value in values.items() if value}


def _from_variables(variables: Mapping[str, str], where: str, faults: list[str]) -> Iterator[tuple[str, Given]]:
    for name, value in variables.items():
        if name in FIELDS and value.strip():
            yield FIELDS[name], Given(value.strip(), where)
        elif name.startswith(PREFIX) and name not in FIELDS and name != FILE_VARIABLE:
            faults.append(f"{name}, {where}: there is no such setting. {_suggestion(name, FIELDS)}")


def _from_file(path: Path, named: bool, faults: list[str]) -> Iterator[tuple[str, Given]]:  # noqa: FBT001 - a flag of ours
    if not named and not path.exists():
        return
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        faults.append(f"{FILE_VARIABLE}: {path} can't be read ({_reason(error)}); repair it, or name another.")
        return
    for name, value in values.items():
        if name in Settings.model_fields:
            yield name, Given(value, f"in {path.name}")
        else:
            known = {field: field for field in Settings.model_fields}
            faults.append(f"{name}, in {path.name}: there is no such setting. {_suggestion(name, known)}")


# --- faults ----------------------------------------------------------------------------------------------------------


def _suggestion(name: str, known: Mapping[str, str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.7)
    return f"Did you mean {close[0]}?" if close else "Remove it; `askbot serve --help` lists all that there are."


def _fault(detail: ErrorDetails, given: Mapping[str, Given]) -> str:
    """One line: the setting, what was given and where, and the fix."""
    field = str(detail["loc"][0])
    fix = detail["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    one = given.get(field)
    if one is None:
        return f"{variable(field)}: {fix}."
    what = "what was given" if field == "openai_api_key" else _shown(one.value)
    return f"{variable(field)}: {what}, {one.where}: {fix}."


def _shown(value: object) -> str:
    """What was given, without credentials and at a length that can be read."""
    text = re.sub(r"//[^/@]*@", "//…@", str(value))
    return repr(text if len(text) <= 80 else text[:79] + "…")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
