"""Values: how settings are written by people, what they become, and what is wrong with those that can't."""

from __future__ import annotations

import os
import re
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo
from pydantic.fields import FieldInfo

_SECONDS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_SPELLED = {"kib": "KiB", "mib": "MiB", "gib": "GiB", "kb": "kB", "mb": "MB", "gb": "GB"}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)", re.IGNORECASE)


def seconds(value: object) -> object:
    """A duration: 20, "20", "20s", "1.5m", "2h", "30d". Raises ValueError."""
    if isinstance(value, str):
        return _amount(value, _SECONDS, 'it should be a duration like "20s", "5m", "2h" or "30d"')
    return value


def size(value: object) -> object:
    """A number of bytes: 65536, "64KiB", "1MiB". Raises ValueError."""
    if isinstance(value, str):
        return int(_amount(value, _BYTES, 'it should be a size like "64KiB" or "1MiB"'))
    return value


def _amount(text: str, units: dict[str, Any], fix: str) -> float:
    match = _AMOUNT.fullmatch(text.strip())
    if not match or match[2].lower() not in units:
        raise ValueError(fix)
    return float(match[1]) * float(units[match[2].lower()])


def never(value: object) -> object:
    """The word "never" is the absence of a duration."""
    return None if isinstance(value, str) and value.strip().lower() in {"never", "none"} else value


def parts(value: object) -> object:
    """A list: "a, b", or one already."""
    return [part for part in map(str.strip, value.split(",")) if part] if isinstance(value, str) else value


def lower(value: object) -> object:
    """A choice, in whatever case it was written."""
    return value.strip().lower() if isinstance(value, str) else value


def written(value: object, info: FieldInfo) -> str:
    """A value as people write it: the other way round."""
    if isinstance(value, bool):
        return "on" if value else "off"
    readers = [each.func for each in info.metadata if isinstance(each, BeforeValidator)]
    units = _SECONDS if seconds in readers else _BYTES if size in readers else {}
    return next(
        (
            f"{round(float(value) / unit)}{_SPELLED.get(name, name)}"
            for name, unit in reversed(units.items())
            if isinstance(value, int | float) and value and value % unit == 0
        ),
        str(value),
    )


def is_loopback(host: str) -> bool:
    """Whether a host can only be reached from this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def data_folder() -> Path:
    """Where the user's data are kept."""
    home = Path.home()
    usual = home / "Library/Application Support" if sys.platform == "darwin" else home / ".local/share"
    return Path(os.environ.get("XDG_DATA_HOME") or usual) / "askbot-ws"


def default_store() -> str:
    """SQLite in the user's data folder."""
    return f"sqlite:///{data_folder() / 'askbot.db'}"


def host(value: str) -> str:
    """A name or an address alone. Raises ValueError."""
    if not re.fullmatch(r"[\w.:%\[\]-]+", value):
        raise ValueError("it should be a name or an address alone, like 127.0.0.1")
    return value


def store(value: str) -> str:
    """A form of store that there is. Raises ValueError."""
    if re.match("(redis|rediss|valkey|valkeys|unix):", value):
        raise ValueError("Redis is not available yet; use sqlite:////absolute/path or memory:")
    if value != "memory:" and not re.fullmatch(r"sqlite:///.*[^/]", value):
        raise ValueError("it should be memory:, sqlite:///relative/path or sqlite:////absolute/path")
    return value


def upstream(value: str) -> str:
    """A kind of upstream that there is, or a function. Raises ValueError."""
    if value not in {"auto", "openai", "embedded"} and not re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.]*", value):
        raise ValueError("it should be auto, openai, embedded or package.module:function")
    return value


def persona(value: str, info: ValidationInfo) -> str:
    """A text; that of a file, where the value is @path. Raises ValueError."""
    if not value.startswith("@"):
        return value
    try:
        return (info.context or Path.cwd()).joinpath(Path(value[1:]).expanduser()).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError("the file can't be read; give @ and the path of a text, or the text itself") from error


def origin(value: str) -> str:
    """A web origin, or any. Raises ValueError."""
    if value != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s*]+", value):
        raise ValueError("an origin is like https://example.com or http://localhost:3000, without a path; * is any")
    return value


def called(value: str) -> str:
    """A host that we are called by, as in `Host`. Raises ValueError."""
    value = value.lower()
    host = re.fullmatch(r"([a-z0-9_.-]*[a-z0-9_-]|\[[0-9a-f:.]+\])\.?(?::([0-9]{1,5}))?", value)
    if host is None:
        raise ValueError("a host is like chat.example.com or chat.example.com:8443, without a scheme and a path")
    if host[2] and not 1 <= int(host[2]) <= 65535:
        raise ValueError("a host's port is from 1 to 65535")
    return value


def api_key(value: SecretStr) -> SecretStr:
    """A key that can be sent in a header. Raises ValueError."""
    if not re.fullmatch("[!-~]+", value.get_secret_value()):
        raise ValueError("the key has characters that no key has; copy it again, without quotes and spaces")
    return value


def base_url(value: str) -> str:
    """An HTTP URL. Raises ValueError."""
    if not re.fullmatch(r"https?://[^\s/]\S*", value):
        raise ValueError("it should be a URL like https://api.openai.com/v1")
    return value


# --- the types of fields ---------------------------------------------------------------------------------------------

Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False)]
DurationOrZero = Annotated[float, BeforeValidator(seconds), Field(ge=0, allow_inf_nan=False)]
DurationOrNever = Annotated[Duration | None, BeforeValidator(never)]
Size = Annotated[int, BeforeValidator(size), Field(gt=0)]
SizeOrZero = Annotated[int, BeforeValidator(size), Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Parts = Annotated[tuple[str, ...], BeforeValidator(parts)]
Host = Annotated[str, AfterValidator(host)]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(called)], ...], BeforeValidator(parts)]
Store = Annotated[str, AfterValidator(store)]
Upstream = Annotated[str, AfterValidator(upstream)]
Persona = Annotated[str, AfterValidator(persona)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(origin)], ...], BeforeValidator(parts)]
ApiKey = Annotated[SecretStr, AfterValidator(api_key)]
BaseUrl = Annotated[str, AfterValidator(base_url)]
Lower = BeforeValidator(lower)
