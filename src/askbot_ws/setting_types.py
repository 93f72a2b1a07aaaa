"""Setting types: how people write the values of settings, what they are parsed to, and what is wrong with others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from platformdirs import user_data_path
from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, SecretStr, TypeAdapter, ValidationInfo
from pydantic.fields import FieldInfo

_SECONDS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)", re.IGNORECASE)
MAX_INTEGER = 2**53 - 1  # that every reader of JSON takes
MAX_UNIX_PATH_BYTES = 103  # of a Unix socket: 107 on Linux, 103 on macOS
MAX_SECONDS = 36_500 * 86400  # a hundred years: points in time stay within what a database takes
_A_DURATION, _A_SIZE = 'a duration like "20s", "5m", "2h" or "30d"', 'a size like "64KiB" or "1MiB"'
MIN_SECRET_BYTES = 32
JWT_ALGORITHMS = (
    *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512"),
    *("PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"),
)
_byte_size = TypeAdapter(ByteSize)


# --- durations and sizes ---------------------------------------------------------------------------------------------


def parse_duration(value: object) -> object:
    """Return a duration in seconds, from 20, "20", "20s", "1.5m", "2h" or "30d". Raises ValueError."""
    if not isinstance(value, str):
        return value
    match = _AMOUNT.fullmatch(value.strip())
    if not match or match[2].lower() not in _SECONDS:
        raise ValueError(f"it should be {_A_DURATION}")
    return float(match[1]) * _SECONDS[match[2].lower()]


def parse_never(value: object) -> object:
    """Return None for the word "never", anything else as it is."""
    return None if isinstance(value, str) and value.strip().lower() in {"never", "none"} else value


def parse_size(value: object) -> object:
    """Return a size in bytes, from 65536, "64KiB" (1024 bytes each) or "64kB" (1000 bytes each). Raises ValueError."""
    if not isinstance(value, str):
        return value
    try:
        if _AMOUNT.fullmatch(value.strip()):  # ByteSize reads only the beginning: "64,000" would be 64 bytes
            return int(_byte_size.validate_python(value))
    except ValueError:  # an unknown unit
        pass
    raise ValueError(f"it should be {_A_SIZE}")


def format_value(value: object, info: FieldInfo) -> str:
    """Return a setting's value as people write it: the reverse of parsing."""
    if isinstance(value, bool):
        return "on" if value else "off"
    parsers = [each.func for each in info.metadata if isinstance(each, BeforeValidator)]
    if isinstance(value, int) and parse_size in parsers:
        return ByteSize(value).human_readable().replace(".0", "")
    if isinstance(value, int | float) and value and parse_duration in parsers:
        unit = next(unit for unit, seconds in reversed(_SECONDS.items()) if value % seconds == 0)
        return f"{round(value / _SECONDS[unit])}{unit}"
    return str(value)


# --- texts -----------------------------------------------------------------------------------------------------------


def parse_list(value: object) -> object:
    """Return a list, from "a, b" or from a list."""
    return [part for part in map(str.strip, value.split(",")) if part] if isinstance(value, str) else value


def to_lower(value: object) -> object:
    """Return a choice in lower case."""
    return value.strip().lower() if isinstance(value, str) else value


def to_on_off(value: object) -> object:
    """Return "on" or "off" for a switch as TOML, programs and people write it, anything else in lower case."""
    value = to_lower(value)
    if isinstance(value, str):
        return "on" if value in {"true", "yes", "1"} else "off" if value in {"false", "no", "0"} else value
    return ("off", "on")[value] if isinstance(value, bool) else value


def is_loopback(host: str) -> bool:
    """Return whether a host can only be reached from this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def data_folder() -> Path:
    """Return the folder for the user's data, by the platform's convention; it may not exist yet."""
    return user_data_path("askbot-ws", appauthor=False)


def default_store() -> str:
    """Return the URL of the default store: SQLite in the user's data folder."""
    return f"sqlite:///{data_folder() / 'askbot.db'}"


def check_host(value: str) -> str:
    """Accept what can be a host name or an IP address, which may have the brackets of a URL. Raises ValueError."""
    found = re.fullmatch(r"\[([0-9a-fA-F:.%\w-]+)\]|[\w.:%-]+", value)
    if not found:
        raise ValueError("it should be a name or an address alone, like 127.0.0.1")
    return found[1] or value


def check_store_url(value: str) -> str:
    """Accept the URL of a kind of store that there is. Raises ValueError."""
    if re.match("valkeys?:", value):
        raise ValueError("for Valkey, write redis:// or rediss:// too")
    if value != "memory:" and not re.fullmatch(r"sqlite:///.*[^/]|(rediss?|unix)://.+", value):
        raise ValueError("it should be memory:, sqlite:///relative/path, sqlite:////absolute/path or redis://host:port")
    return value


def check_upstream(value: str) -> str:
    """Accept a kind of upstream that there is, or the path of a function. Raises ValueError."""
    if value not in {"auto", "openai", "embedded"} and not re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.]*", value):
        raise ValueError("it should be auto, openai, embedded or package.module:function")
    return value


def read_persona(value: str, info: ValidationInfo) -> str:
    """Return the text, read from a file where the value is @path, relative to the context. Raises ValueError."""
    if not value.startswith("@"):
        return value.strip()
    try:
        return (info.context or Path.cwd()).joinpath(Path(value[1:]).expanduser()).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError("the file can't be read; give @ and the path of a text, or the text itself") from error


def find_model_file(value: Path, info: ValidationInfo) -> Path:
    """Return the absolute path of a model's file, relative to the context. Raises ValueError."""
    return _find_file(value, info, "a GGUF file")


def find_page_module(value: Path, info: ValidationInfo) -> Path:
    """Return the absolute path of a JavaScript module, relative to the context. Raises ValueError."""
    return _find_file(value, info, "a JavaScript module")


def _find_file(value: Path, info: ValidationInfo, kind: str) -> Path:
    path = Path(info.context or Path.cwd()).joinpath(value.expanduser()).absolute()
    try:
        if path.is_file():
            return path
    except OSError:  # a folder that may not be read
        pass
    raise ValueError(f"there is no such file; give the path of {kind}")


def check_origin(value: str) -> str:
    """Accept a web origin, or "*" for any. Raises ValueError."""
    if value != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s*]+", value):
        raise ValueError("an origin is like https://example.com or http://localhost:3000, without a path; * is any")
    return value


def parse_host_name(value: str) -> str:
    """Return a host name in lower case, with or without a port, as in the header `Host`. Raises ValueError."""
    value = value.lower()
    host = re.fullmatch(r"([a-z0-9_.-]*[a-z0-9_-]|\[[0-9a-f:.]+\])\.?(?::([0-9]{1,5}))?", value)
    if host is None:
        raise ValueError("a host is like chat.example.com or chat.example.com:8443, without a scheme and a path")
    if host[2] and not 1 <= int(host[2]) <= 65535:
        raise ValueError("a host's port is from 1 to 65535")
    return value


def find_certificate(value: Path, info: ValidationInfo) -> Path:
    """Return the absolute path of a certificate's file, relative to the context. Raises ValueError."""
    return _find_file(value, info, "a certificate in PEM")


def find_certificate_key(value: Path, info: ValidationInfo) -> Path:
    """Return the absolute path of a private key's file, relative to the context. Raises ValueError."""
    return _find_file(value, info, "a private key in PEM")


def check_unix_path(value: Path, info: ValidationInfo) -> Path:
    """Return the absolute path for a Unix socket, relative to the context. Raises ValueError."""
    path = Path(info.context or Path.cwd()).joinpath(value.expanduser()).absolute()
    if len(bytes(path)) > MAX_UNIX_PATH_BYTES:
        raise ValueError(f"it should be a path of at most {MAX_UNIX_PATH_BYTES} bytes, as Unix sockets have")
    return path


def check_file_mode(value: str) -> str:
    """Accept permissions as `chmod` takes them, in octal. Raises ValueError."""
    if not re.fullmatch(r"(0|0o)?[0-7]{3}", value):
        raise ValueError("it should be permissions in octal, like 0660 or 0600")
    return value


def parse_trusted_proxy(value: str) -> str:
    """Return the address or the network of a proxy in its usual form, or "unix". Raises ValueError."""
    if value.lower() == "unix":
        return "unix"
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise ValueError("it should be an address like 10.0.0.5, a network like 10.0.0.0/8, or unix") from None
    if network.prefixlen == 0:
        raise ValueError("it should be the addresses of your proxies: who is in this network is everybody")
    return str(network)


def check_api_key(value: SecretStr) -> SecretStr:
    """Accept a key that can be sent in a header. Raises ValueError."""
    if not re.fullmatch("[!-~]+", value.get_secret_value()):
        raise ValueError("the key has characters that no key has; copy it again, without quotes and spaces")
    return value


def check_base_url(value: str) -> str:
    """Accept an HTTP URL. Raises ValueError."""
    if not re.fullmatch(r"https?://[^\s/]\S*", value):
        raise ValueError("it should be a URL like https://api.openai.com/v1")
    return value


def resolve_keys_file(value: Path, info: ValidationInfo) -> Path:
    """Return the absolute path of a file of keys, relative to the context; `askbot key new` makes it."""
    return Path(info.context or Path.cwd()).joinpath(value.expanduser()).absolute()


def check_function(value: str) -> str:
    """Accept the path of a function. Raises ValueError."""
    if not re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.]*", value):
        raise ValueError("it should be package.module:function")
    return value


def check_algorithm(value: str) -> str:
    """Accept an algorithm of signatures that there is. Raises ValueError."""
    if value not in JWT_ALGORITHMS:
        raise ValueError(f"it should be {one_of(JWT_ALGORITHMS)}")
    return value


def check_jwt_secret(value: SecretStr) -> SecretStr:
    """Accept a secret that is long enough for HS256 (RFC 7518, 3.2), and no public key. Raises ValueError."""
    secret = value.get_secret_value()
    if secret.lstrip().startswith(("-----BEGIN", "ssh-")):
        raise ValueError("it should be a secret, and not a key of a pair, of which ASKBOT_JWKS_URL has the public ones")
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"it should be at least {MIN_SECRET_BYTES} bytes long, or it can be guessed")
    return value


def check_ticket_secret(value: SecretStr) -> SecretStr:
    """Accept a secret that can't be guessed. Raises ValueError."""
    if len(value.get_secret_value()) < MIN_SECRET_BYTES:
        raise ValueError(f"it should be at least {MIN_SECRET_BYTES} characters long, or it can be guessed")
    return value


def check_claim(value: str) -> str:
    """Accept the name of a claim. Raises ValueError."""
    if not value:
        raise ValueError("it should be the name of a claim, like sub")
    return value


def check_cookie(value: str) -> str:
    """Accept the name of a cookie (RFC 6265, 4.1.1). Raises ValueError."""
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", value):
        raise ValueError("it should be the name of a cookie, like session_token")
    return value


def check_link(value: str) -> str:
    """Accept a URL to which a page can send its reader: absolute, or a path on the same host. Raises ValueError."""
    if not re.fullmatch(r"https?://[^\s/]\S*|/(?!/)\S*", value):
        raise ValueError("it should be a URL like https://example.com/login, or a path like /login")
    return value


# --- what is allowed -------------------------------------------------------------------------------------------------


def allowed_text(info: FieldInfo, *, is_item: bool = False) -> str:
    """Return what a setting, or an item of its list, should be, in words."""
    return f"it should be {'a text' if is_item else _describe(info.annotation, info.metadata)}"


def is_switch(info: FieldInfo) -> bool:
    """Return whether a setting may be on or off."""
    return info.annotation is bool or any(
        isinstance(each, BeforeValidator) and each.func is to_on_off for each in info.metadata
    )


def _describe(annotation: object, metadata: Iterable[object]) -> str:
    metadata = [*_flatten(metadata)]
    parsers = [each.func for each in metadata if isinstance(each, BeforeValidator)]
    match get_origin(annotation):
        case origin if origin is Annotated:
            inner, *more = get_args(annotation)
            return _describe(inner, [*metadata, *more])
        case origin if origin in {Union, UnionType}:
            (inner,) = (each for each in get_args(annotation) if each is not NoneType)
            return ("never, or " if parse_never in parsers else "") + _describe(inner, metadata)
        case origin if origin is Literal:
            return one_of(get_args(annotation))
        case origin if origin is tuple:
            return "a list, separated by commas"
        case _:
            return _describe_plain(annotation, metadata, parsers)


def _describe_plain(annotation: object, metadata: list[object], parsers: Sequence[object]) -> str:
    bounds: dict[str, Any] = {
        name: value
        for each in metadata
        for name in ("ge", "gt", "le")
        if (value := getattr(each, name, None)) is not None
    }
    if parse_duration in parsers:
        return f"{_A_DURATION}{', longer than 0' if 'gt' in bounds else ''}, at most {MAX_SECONDS // 86400}d"
    if parse_size in parsers:
        return f"{_A_SIZE}{', more than 0' if 'gt' in bounds else ''}, at most {MAX_INTEGER}"
    if annotation is bool:
        return one_of(["on", "off"])
    if annotation is int or annotation is float:
        return f"a {'whole ' if annotation is int else ''}number from {bounds['ge']} to {bounds['le']}"
    return "the path of a file" if annotation is Path else "a text"


def _flatten(metadata: Iterable[object]) -> Iterable[object]:
    for each in metadata:
        yield from each.metadata if isinstance(each, FieldInfo) else [each]


def one_of(values: Sequence[str]) -> str:
    """Return values as words: "a, b or c"."""
    return " or ".join([", ".join(values[:-1]), values[-1]]) if len(values) > 1 else values[0]


# --- the types of fields ---------------------------------------------------------------------------------------------

_Seconds = Annotated[float, BeforeValidator(parse_duration), Field(le=MAX_SECONDS, allow_inf_nan=False)]
_Bytes = Annotated[int, BeforeValidator(parse_size), Field(le=MAX_INTEGER)]
Duration = Annotated[_Seconds, Field(gt=0)]
DurationOrZero = Annotated[_Seconds, Field(ge=0)]
DurationOrNever = Annotated[Duration | None, BeforeValidator(parse_never)]
Size = Annotated[_Bytes, Field(gt=0)]
SizeOrZero = Annotated[_Bytes, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
TextList = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(parse_list)]
Host = Annotated[str, AfterValidator(check_host)]
HostNames = Annotated[tuple[Annotated[str, AfterValidator(parse_host_name)], ...], BeforeValidator(parse_list)]
StoreUrl = Annotated[str, AfterValidator(check_store_url)]
UpstreamSpec = Annotated[str, AfterValidator(check_upstream)]
Persona = Annotated[str, AfterValidator(read_persona)]
ModelFile = Annotated[Path, AfterValidator(find_model_file)]
PageModule = Annotated[Path, AfterValidator(find_page_module)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(check_origin)], ...], BeforeValidator(parse_list)]
CertificateFile = Annotated[Path, AfterValidator(find_certificate)]
CertificateKeyFile = Annotated[Path, AfterValidator(find_certificate_key)]
UnixPath = Annotated[Path, AfterValidator(check_unix_path)]
FileMode = Annotated[str, AfterValidator(check_file_mode)]
Proxies = Annotated[tuple[Annotated[str, AfterValidator(parse_trusted_proxy)], ...], BeforeValidator(parse_list)]
ApiKey = Annotated[SecretStr, AfterValidator(check_api_key)]
BaseUrl = Annotated[str, AfterValidator(check_base_url)]
Lowercase = BeforeValidator(to_lower)
KeyFile = Annotated[Path, AfterValidator(resolve_keys_file)]
FunctionSpec = Annotated[str, AfterValidator(check_function)]
JwtAlgorithms = Annotated[tuple[Annotated[str, AfterValidator(check_algorithm)], ...], BeforeValidator(parse_list)]
JwtSecret = Annotated[SecretStr, AfterValidator(check_jwt_secret)]
TicketSecret = Annotated[SecretStr, AfterValidator(check_ticket_secret)]
ClaimName = Annotated[str, AfterValidator(check_claim)]
CookieName = Annotated[str, AfterValidator(check_cookie)]
LinkUrl = Annotated[str, AfterValidator(check_link)]
