"""Setting sources: where settings are read from, in which order, and what is said of wrong ones."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..errors import ConfigError
from ..setting_sources import SourcedValue, shown_value, suggest_name
from ..setting_types import allowed_text
from .names import (
    CONFIG_FILE,
    CONFIG_FILE_VARIABLE,
    ENV_PREFIX,
    FIELD_OF_VARIABLE,
    OTHER_VARIABLES,
    SECRETS,
    env_variable,
    flag,
)
from .settings import RELOADABLE, Settings

MAY_BE_EMPTY = {"persona"}  # settings that an empty variable sets; of others, it counts as not set
_BLAMED = {
    "allow_anonymous": "host",
    "keyfile": "certfile",
    "openai_base_url": "upstream",
}  # which setting wants one that is not given
_READ_AT_START = {"persona", "page_module", "embedded_model", "certfile", "keyfile"}  # files, which may be gone since


def load(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """Read the settings from all sources.

    Args:
        flags: Settings by field name, as the command line has them; None counts as not set.
        environ: Environment variables, by default the process's; an empty one counts as not set, but for the persona.
        cwd: The folder of `.env` and `askbot.toml`, by default the current one. `ASKBOT_CONFIG` names another TOML
            file, relative to it.

    Returns:
        The settings, validated.

    Raises:
        ConfigError: Settings are wrong, or a file can't be read. The message has every error, one a line.
    """
    cwd, errors = cwd or Path.cwd(), list[str]()
    values = _collect_values(flags or {}, os.environ if environ is None else environ, cwd, errors)
    return _validate(values, cwd, errors)


def from_keywords(keywords: Mapping[str, object], *, without: Collection[str] = ()) -> Settings:
    """Return the settings that a program passes as keywords; neither the environment nor a file is read.

    Args:
        keywords: Settings by field name.
        without: Settings that are not allowed here.

    Raises:
        ConfigError: With every error, one a line.
    """
    known = [name for name in Settings.model_fields if name not in without]
    errors = [
        f"{name}: there is no such keyword. {suggest_name(name, known)}" for name in keywords if name not in known
    ]
    values = {name: SourcedValue(keywords[name], name, f"as the keyword {name}") for name in known if name in keywords}
    return _validate(values, Path.cwd(), errors)


def _validate(values: Mapping[str, SourcedValue], cwd: Path, errors: list[str]) -> Settings:
    """Return the settings. Raises `ConfigError` with `errors` and those of the values."""
    try:
        settings = Settings.model_validate({name: sourced.value for name, sourced in values.items()}, context=cwd)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=False):
            if (line := _describe_error(detail, values)) not in errors:
                errors.append(line)
    else:
        if not errors:
            return settings
    count = f"{len(errors)} settings are wrong" if len(errors) > 1 else "a setting is wrong"
    raise ConfigError("\n".join([f"askbot can't start: {count}.", *(f"  {error}" for error in errors)]))


def merge(running: Settings, new: Settings) -> Settings:
    """Return the settings of a running server with those of others that it can take: `RELOADABLE`.

    Raises:
        ConfigError: The two don't go together, as where it listens on all addresses and loses its credentials.
    """
    merged = running.model_copy(update={name: getattr(new, name) for name in RELOADABLE})
    values = {name: getattr(merged, name) for name in Settings.model_fields if name not in _READ_AT_START}
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        faults = [f"until the server is restarted, {_describe_error(detail, {})}" for detail in details]
        raise ConfigError("\n".join(["new settings are wrong for a running server.", *faults])) from None
    return merged


def _collect_values(
    flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path, errors: list[str]
) -> dict[str, SourcedValue]:
    """Return the values of all sources by field name, the stronger source over the weaker; append to `errors`."""
    dotenv = _read_dotenv(cwd / ".env", errors)
    path = environ.get(CONFIG_FILE_VARIABLE) or dotenv.get(CONFIG_FILE_VARIABLE)
    values = dict(_values_of_file(cwd / (path or CONFIG_FILE), bool(path), errors))
    values |= dict(_values_of_variables(dotenv, "in .env", errors))
    values |= dict(_values_of_variables(environ, "in the environment", errors))
    return values | {
        name: SourcedValue(value, flag(name), "on the command line")
        for name, value in flags.items()
        if value is not None
    }


def _read_dotenv(path: Path, errors: list[str]) -> dict[str, str]:
    try:
        values = dotenv_values(path, interpolate=False) if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        errors.append(f".env: it can't be read ({_reason(error)}); repair or remove it.")
        return {}
    return {
        name: value
        for name, value in values.items()
        if value or (value is not None and FIELD_OF_VARIABLE.get(name) in MAY_BE_EMPTY)
    }


def _values_of_variables(
    variables: Mapping[str, str], source: str, errors: list[str]
) -> Iterator[tuple[str, SourcedValue]]:
    for name, value in variables.items():
        field = FIELD_OF_VARIABLE.get(name)
        if field is not None and (value.strip() or field in MAY_BE_EMPTY):
            yield field, SourcedValue(value.strip(), name, source)
        elif name.startswith(ENV_PREFIX) and name not in FIELD_OF_VARIABLE and name not in OTHER_VARIABLES:
            known = [*FIELD_OF_VARIABLE, *OTHER_VARIABLES]
            errors.append(f"{name}, {source}: there is no such setting. {suggest_name(name, known)}")


def _values_of_file(path: Path, required: bool, errors: list[str]) -> Iterator[tuple[str, SourcedValue]]:  # noqa: FBT001 - one call
    if not required and not path.exists():
        return
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        errors.append(f"{CONFIG_FILE_VARIABLE}: {path} can't be read ({_reason(error)}); repair it, or name another.")
        return
    for name, value in values.items():
        if name in Settings.model_fields:
            yield name, SourcedValue(value, name, f"in {path.name}")
        else:
            known = [*Settings.model_fields]
            errors.append(f"{name}, in {path.name}: there is no such setting. {suggest_name(name, known)}")


# --- error messages --------------------------------------------------------------------------------------------------


def _describe_error(detail: ErrorDetails, values: Mapping[str, SourcedValue]) -> str:
    """Return one line: the setting as it was written, its value and source, and what it should be."""
    field, *item = map(str, detail["loc"])
    blamed = field if field in values else _BLAMED.get(field, field)
    info = Settings.model_fields[field]
    own = detail["type"] == "value_error"
    fix = detail["msg"].removeprefix("Value error, ") if own else allowed_text(info, is_item=bool(item))
    if item and detail["input"] != values[field].value:
        fix = f"{shown_value(detail['input'])} is wrong: {fix}"
    if blamed not in values:
        return f"{env_variable(blamed)}: {fix}."
    return f"{values[blamed].describe(secret=blamed in SECRETS)}: {fix}."


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
