"""Settings: the fields, with their defaults, their help and what is checked of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from ..decoding import is_text, recover_text
from ..role_settings import Roles, RoleSettings
from ..setting_types import (
    MAX_INTEGER,
    ApiKey,
    BaseUrl,
    CertificateFile,
    CertificateKeyFile,
    ClaimName,
    CookieName,
    Count,
    Duration,
    DurationOrNever,
    DurationOrZero,
    FileMode,
    FunctionSpec,
    Host,
    HostNames,
    JwtAlgorithms,
    JwtSecret,
    KeyFile,
    LinkUrl,
    Lowercase,
    ModelFile,
    Origins,
    PageModule,
    Persona,
    Proxies,
    Size,
    SizeOrZero,
    StoreUrl,
    TextList,
    TicketSecret,
    UnixPath,
    UpstreamSpec,
    default_store,
    is_loopback,
    is_switch,
    to_on_off,
)

API_KEY = "openai_api_key"
RELOADABLE = frozenset(
    (
        *("hosts", "origins", "keys", "jwt_secret", "jwks_url", "jwt_algorithms", "jwt_audience", "jwt_issuer"),
        *("jwt_leeway", "jwt_user_claim", "jwt_role_claim", "jwt_rights_claim"),
        *("session_ttl", "memory", "models", "max_tokens", "persona", "max_question", "max_waiting", "max_turns"),
        *("abandon_after", "limits", "max_connections", "max_connections_per_address", "frames_per_minute"),
        *("max_queued", "roles", "max_turns_per_user", "max_queued_per_user", "max_connections_per_user"),
        *("user_frames_per_minute", "questions_per_minute", "characters_per_minute", "tokens_per_minute"),
        *("tokens_per_day", "max_sessions_per_user", "max_session_size"),
        *("orphans", "waiting_ttl"),
        *("overload_lag", "overload_commit", "overload_memory"),
    )
)
"""Settings that SIGHUP changes in a running server; others need a restart."""
CREDENTIAL_SETTINGS = ("keys", "jwt_secret", "jwks_url", "auth", "ticket_secret")  # each sets up authentication
UNSHARED_STORES = ("memory:", "sqlite:")  # beginnings of the URLs of stores that one process has for itself
_PATHS = {"store", "embedded_model", "unix", "certfile", "keyfile", "keys"}  # which may have any bytes


class Settings(BaseModel):
    """All settings of a server, checked and immutable.

    Durations are in seconds, sizes in bytes. Strings are parsed as people write them: "20s", "5m", "2h", "30d",
    "64KiB", "on", "a, b". Each field's description is its help text. `load` reads all sources; `askbot_ws.serve` takes
    settings as keywords.

    Raises:
        pydantic.ValidationError: A value is wrong, or there is no setting of that name.

    Example:
        settings = load({"port": 0, "store": "memory:", "session_ttl": "7d"})
        assert settings.session_ttl == 604800.0
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True
    )

    # where
    host: Host = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8765, ge=0, le=65535, description="TCP port to listen on; 0 picks a free one.")
    unix: UnixPath | None = Field(
        default=None, description="Unix socket to listen on, in place of host and port: the path of a file."
    )
    unix_mode: FileMode = Field(
        default="0660", description="Permissions of the Unix socket: who may write to it can connect."
    )
    hosts: HostNames = Field(
        default=(),
        description="Host names that clients may call the server by, comma separated, each with or without a port. "
        "Names of this machine and IP addresses are always allowed.",
    )
    origins: Origins = Field(
        default=(),
        description="Web origins besides the server's own whose pages may connect, comma separated; * allows any.",
    )
    certfile: CertificateFile | None = Field(
        default=None,
        description="PEM file of the certificate, followed by those that it was issued by: connections use TLS. "
        "SIGHUP reads it again.",
    )
    keyfile: CertificateKeyFile | None = Field(
        default=None, description="PEM file of the certificate's key, not encrypted."
    )
    trusted_proxies: Proxies = Field(
        default=(),
        description="Addresses and networks of proxies, comma separated, whose X-Forwarded-For, -Proto and -Host, or "
        "Forwarded, say who the client is; unix: whoever connects through the Unix socket.",
    )
    page_module: PageModule | None = Field(
        default=None,
        description="JavaScript module for the page, which the server serves beside it: its export renderMath(tex, "
        "display) returns the DOM node that is shown for a formula.",
    )

    # who may connect
    keys: KeyFile | None = Field(
        default=None, description="File of static keys, which `askbot key new` makes; clients send one as Bearer token."
    )
    jwt_secret: JwtSecret | None = Field(
        default=None, description="Secret by which JSON Web Tokens are signed (HS256), at least 32 bytes."
    )
    jwks_url: BaseUrl | None = Field(
        default=None,
        description="URL of the JSON Web Key Set by whose keys JSON Web Tokens are signed (RS256, ES256, EdDSA).",
    )
    jwt_algorithms: JwtAlgorithms = Field(
        default=(),
        description="Algorithms of JSON Web Tokens that are accepted, comma separated. By default HS256 with a secret; "
        "RS256, ES256 and EdDSA with a key set.",
    )
    jwt_audience: TextList = Field(
        default=(),
        description="Audiences that a JSON Web Token may have in `aud`, comma separated; without any, a token with an "
        "audience is refused.",
    )
    jwt_issuer: str | None = Field(default=None, description="Issuer that a JSON Web Token must have in `iss`.")
    jwt_leeway: DurationOrZero = Field(
        default=0, description="How far the clock of the issuer of JSON Web Tokens may differ from the server's."
    )
    jwt_user_claim: ClaimName = Field(default="sub", description="Claim of a JSON Web Token that names the user.")
    jwt_role_claim: ClaimName = Field(default="role", description="Claim of a JSON Web Token that names the role.")
    jwt_rights_claim: ClaimName | None = Field(
        default=None,
        description="Claim of a JSON Web Token that lists rights (admin, metrics, tickets); by default it gives none.",
    )
    auth: FunctionSpec | None = Field(
        default=None,
        description="Function of your own that authenticates, package.module:function: it is async, takes the head of "
        "the request and returns a principal, the name of a user, or None.",
    )
    auth_cookie: CookieName | None = Field(
        default=None, description="Name of a cookie that may carry a token; such requests must say their origin."
    )
    ticket_secret: TicketSecret | None = Field(
        default=None,
        description="Secret by which one-time tickets are signed, at least 32 characters. By default one is made and "
        "kept beside the key file.",
    )
    sign_in_url: LinkUrl | None = Field(default=None, description="URL to which the page sends users to sign in.")
    sign_out_url: LinkUrl | None = Field(default=None, description="URL to which the page sends users to sign out.")
    allow_anonymous: bool = Field(
        default=False,
        description="Accept clients without a credential too; also on a host other than loopback.",
    )

    # what is kept
    store: StoreUrl = Field(
        default_factory=default_store,
        description="Where sessions are stored: memory:, sqlite:///relative/path, sqlite:////absolute/path, or Redis "
        "and Valkey, for one node or many: redis://[user:password@]host[:port][,host…][/db][?service=NAME], rediss:// "
        "(TLS) or unix:///path.",
    )
    fsync: bool = Field(
        default=False,
        description="Sync each write to the disk, to survive power cuts and not only killed processes; slower.",
    )
    redis_wait: int = Field(
        default=0,
        ge=0,
        le=10,
        description="How many replicas of Redis must have what is appended before anybody is shown it; 0: none. A "
        "failover to one of them loses nothing that was shown.",
    )
    session_ttl: Duration = Field(default=30 * 86400, description="Delete sessions that were not used for this long.")
    memory: SizeOrZero = Field(
        default=64 * 1024**2,
        description="Maximum size of the idle sessions that are kept in memory; others are read from the store again.",
    )

    orphans: Annotated[Literal["interrupt", "ask-again"], Lowercase] = Field(
        default="interrupt",
        description="Answers of a node that died: interrupt (they end as interrupted) or ask-again (the model is asked "
        "anew too). With several nodes only.",
    )
    waiting_ttl: Duration = Field(
        default=600,
        description="Maximum age of a question that a node which ended or died left waiting; older ones end as "
        "interrupted, the others are asked. With several nodes only.",
    )

    # the model
    upstream: UpstreamSpec = Field(
        default="auto",
        description="What answers: openai (any compatible API), embedded, package.module:function, or auto: the "
        "embedded model where its file is set, else the API where its key or URL is set, else the embedded model where "
        "it is installed.",
    )
    embedded_model: ModelFile | None = Field(
        default=None,
        description="GGUF file of an instruct model that runs on this machine, in place of the one that `askbot model "
        "install` installs; its own chat template and context length are used.",
    )
    model: str | None = Field(
        default=None,
        description="Name of the model to ask; by default gpt-4.1-mini of OpenAI's, elsewhere the first that the API "
        "lists.",
    )
    models: TextList = Field(default=(), description="Further models that a question may choose, comma separated.")
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="Sampling temperature, 0 to 2; by default the model's own."
    )
    max_tokens: int = Field(
        default=1024,
        ge=1,
        le=1_000_000,
        description="Maximum length of an answer, in tokens. By default 512 for the installed embedded model.",
    )
    thinking: bool = Field(
        default=True,
        description="Log and send the reasoning that the model's provider shows; off: it is dropped.",
    )
    titles: Annotated[Literal["off", "model"], BeforeValidator(to_on_off)] = Field(
        default="off",
        description="Titles of sessions that nobody has named; model: the model makes one after the first complete "
        "answer, by a small request of its own; off: lists show the beginning of the first question.",
    )
    persona: Persona | None = Field(
        default=None,
        description="System prompt: a text, or @path of a file with one; empty: none is sent. By default Askbot's "
        "voice; none for a function.",
    )
    guard: Annotated[Literal["auto", "on", "off"], BeforeValidator(to_on_off)] = Field(
        default="auto",
        description="Answer greetings, statements that ask nothing and what is inappropriate with a fixed sentence, "
        "without asking the model: on, off, or auto: on with the embedded model.",
    )
    guard_function: FunctionSpec | None = Field(
        default=None,
        description="Your own guard, package.module:function: an async function of a question's text and of who asks, "
        "which returns None, or the text that answers the question in place of the model.",
    )
    moderation: bool = Field(
        default=False,
        description="Ask the moderation endpoint of an API about each question; the model is not asked what it flags.",
    )
    moderation_model: str = Field(default="omni-moderation-latest", description="Name of the model that moderates.")
    moderation_base_url: BaseUrl | None = Field(
        default=None, description="URL of the API that moderates; by default that of the model's, or else OpenAI's."
    )
    moderation_api_key: ApiKey | None = Field(
        default=None, description="Key of the API that moderates; by default that of the model's, where the URL is."
    )
    guard_timeout: Duration = Field(
        default=5, description="Maximum time for the moderation, and for your own guard, to judge a question."
    )
    guard_failure: Annotated[Literal["closed", "open"], Lowercase] = Field(
        default="closed",
        description="What becomes of a question that the moderation or your own guard could not judge: closed (it ends "
        "with an error) or open (the model is asked).",
    )
    context_tokens: Count | None = Field(
        default=None,
        description="Size of the model's context, in tokens: what fits of the conversation is sent, less room for the "
        "answer. By default 8192; 2048 for the installed embedded model; what its file says, up to 8192 and a quarter "
        "of the memory, for another.",
    )
    openai_api_key: ApiKey | None = Field(default=None, description="Key of the API.")
    openai_base_url: BaseUrl | None = Field(
        default=None, description="URL of an OpenAI-compatible API; by default OpenAI's."
    )
    transport: Annotated[Literal["auto", "direct", "openai"], Lowercase] = Field(
        default="auto",
        description="HTTP client for the API: direct (the server's own), openai (the openai package's), or auto: "
        "openai where a proxy is needed, else direct.",
    )
    connect_timeout: Duration = Field(default=10, description="Maximum time for connecting to the API.")
    stall_timeout: Duration = Field(
        default=60,
        description="Maximum time for the next piece of an answer from the model; then the answer ends with an error.",
    )
    retries: int = Field(
        default=2,
        ge=0,
        le=10,
        description="How often a failed request to the API is repeated, 0 to 10; only before the first text or "
        "reasoning.",
    )

    # questions and turns
    max_question: Count = Field(default=8000, description="Maximum length of a question, in characters.")
    max_waiting: int = Field(
        default=8,
        ge=0,
        le=MAX_INTEGER,
        description="Maximum number of questions of one session that wait for an answer to end.",
    )
    max_turns: Count = Field(
        default=1000, description="Maximum number of answers that run at the same time; further questions wait."
    )
    max_queued: int = Field(
        default=1000,
        ge=0,
        le=MAX_INTEGER,
        description="Maximum number of questions of all sessions that wait; further ones are refused.",
    )
    abandon_after: DurationOrNever = Field(
        default=None, description="Cancel an answer that nobody reads for this long, or never (the default)."
    )
    drain: DurationOrZero = Field(
        default=20, description="Time for running answers to end when the server stops; then they are interrupted."
    )

    # processes
    workers: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Number of processes that serve on the same address. More than 1 needs a store that they share: "
        "redis://.",
    )
    pause: bool = Field(
        default=True,
        description="Pause the server for up to 20 ms at a time while its CPU is nearly used up: more answers fit, "
        "with a higher latency.",
    )

    # connections
    max_frame: Size = Field(
        default=1024**2, description="Maximum size of a frame, or of the body of an HTTP request, from a client."
    )
    reader_timeout: Duration = Field(
        default=30, description="Close a connection whose client receives nothing of what is sent for this long."
    )
    heartbeat: Duration = Field(
        default=20, description="Send a heartbeat on a connection where nothing else was sent for this long."
    )
    compression: bool = Field(
        default=False, description="Compress frames (permessage-deflate); it costs more than it saves."
    )
    limits: bool = Field(
        default=True,
        description="Enforce the limits on connections, on what may be done per minute, on running and waiting answers "
        "and on the load; off: only those on sessions, on tokens per day and on models and options hold.",
    )
    max_connections: Count = Field(default=10_000, description="Maximum number of open connections.")
    max_connections_per_address: Count = Field(
        default=1000, description="Maximum number of open connections from one IP address."
    )
    frames_per_minute: Count = Field(
        default=1200, description="Maximum number of frames that one connection may send per minute."
    )

    # users
    roles: Roles = Field(
        default_factory=dict[str, RoleSettings],
        description="What roles may do, as tables in askbot.toml or as JSON: for each, models, max_tokens, temperature "
        "(on or off), and the settings from max_turns_per_user to max_session_size. Who has no role has the role "
        "`default`, where that is given.",
    )
    max_turns_per_user: Count = Field(
        default=50,
        description="Maximum number of answers of one user (or of one address, of anonymous clients) that run at the "
        "same time.",
    )
    max_queued_per_user: int = Field(
        default=200, ge=0, le=MAX_INTEGER, description="Maximum number of questions of one user or address that wait."
    )
    max_connections_per_user: Count = Field(
        default=200, description="Maximum number of open WebSocket connections of one user."
    )
    user_frames_per_minute: Count = Field(
        default=6000, description="Maximum number of frames that one user or address may send per minute."
    )
    questions_per_minute: Count = Field(
        default=240, description="Maximum number of questions that one user or address may ask per minute."
    )
    characters_per_minute: Count = Field(
        default=500_000, description="Maximum number of characters in the questions of one user or address per minute."
    )
    tokens_per_minute: Count = Field(
        default=1_000_000,
        description="Maximum number of tokens of prompts and answers that one user or address may use per minute.",
    )
    tokens_per_day: int | None = Field(
        default=None,
        ge=0,
        le=MAX_INTEGER,
        description="Maximum number of tokens of prompts and answers that one user or address may use in a day, UTC; "
        "by default any number.",
    )
    max_sessions_per_user: Count = Field(default=1000, description="Maximum number of sessions of one user.")
    max_session_size: Size = Field(
        default=16 * 1024**2, description="Size of a session, about, from which on it takes no further question."
    )

    # overload
    overload_lag: DurationOrNever = Field(
        default=0.1,
        description="Refuse questions while the event loop is later than this, or never; connections too while it is "
        "twice as late.",
    )
    overload_commit: DurationOrNever = Field(
        default=2, description="The same for the time that the store takes to accept what is written to it."
    )
    overload_memory: SizeOrZero | None = Field(
        default=None,
        description="Refuse questions while the process takes more memory than this; 0: never. By default 90 % of the "
        "limit of its container, where there is one.",
    )

    # logs
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lowercase] = Field(
        default="info", description="Lowest level of the lines that are logged."
    )
    log_format: Annotated[Literal["auto", "console", "json"], Lowercase] = Field(
        default="auto", description="Format of log lines; auto is console on a terminal and json otherwise."
    )
    log_content: bool = Field(default=False, description="Log the text of questions and answers too.")
    otel: bool = Field(
        default=False,
        description="Send a span and metrics of each turn by OpenTelemetry, without its text; the variables OTEL_… say "
        "where to. It needs the extra askbot-ws[otel].",
    )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.unix is not None or is_loopback(self.host)

    @property
    def authentication(self) -> bool:
        """Whether credentials are checked; else all clients are anonymous."""
        return any(getattr(self, name) is not None for name in CREDENTIAL_SETTINGS)

    @property
    def own_functions(self) -> bool:
        """Whether functions of the user's run in the server: as upstream, as guard, or for authentication."""
        return ":" in self.upstream or self.guard_function is not None or self.auth is not None

    @field_validator("*", mode="before")
    @classmethod
    def _check_kind(cls, value: object, info: ValidationInfo) -> object:
        """Refuse on and off for what is no switch (to pydantic, true is 1), and bytes for what is a text."""
        field = info.field_name or ""
        if isinstance(value, bool) and not is_switch(cls.model_fields[field]):
            raise PydanticCustomError("no_switch", "it is no switch")
        if isinstance(value, str) and field not in _PATHS:
            value = recover_text(value)
            if not is_text(value):
                raise ValueError("it has bytes that are no text, in the locale's encoding or in UTF-8")
        return value

    @field_validator("allow_anonymous")
    @classmethod
    def _check_anonymous(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic calls it
        host, given = None if info.data.get("unix") else info.data.get("host"), info.data
        if any(given.get(name, ...) is not None for name in CREDENTIAL_SETTINGS):  # also one that is wrong
            return value
        if not value and host is not None and not is_loopback(host):
            raise ValueError(
                "it can be reached from other machines, and anonymous use is for loopback. "
                "Set up authentication: ASKBOT_KEYS (`askbot key new` makes the file), ASKBOT_JWT_SECRET, "
                "ASKBOT_JWKS_URL or ASKBOT_AUTH; or, where everybody who can reach it may use it, "
                "set ASKBOT_ALLOW_ANONYMOUS=true (--allow-anonymous); else set ASKBOT_HOST=127.0.0.1"
            )
        return value

    @field_validator("keyfile")
    @classmethod
    def _check_keyfile(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if "certfile" not in info.data:  # it is wrong itself
            return value
        certfile = info.data["certfile"]
        if certfile is None and value is not None:
            raise ValueError("the key is of no use without its certificate: set ASKBOT_CERTFILE (--certfile) too")
        if certfile is not None and value is None:
            raise ValueError("it needs its key: set ASKBOT_KEYFILE (--keyfile) too")
        if certfile is not None and info.data.get("unix"):
            raise ValueError("a Unix socket has no TLS: leave ASKBOT_CERTFILE and ASKBOT_KEYFILE, or ASKBOT_UNIX, away")
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _check_algorithms(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        secret, url = info.data.get("jwt_secret", ...), info.data.get("jwks_url", ...)
        symmetric = [name for name in value if name.startswith("HS")]
        if symmetric and secret is None:
            raise ValueError(f"{symmetric[0]} needs ASKBOT_JWT_SECRET")
        if len(symmetric) < len(value) and url is None:
            other = next(name for name in value if name not in symmetric)
            raise ValueError(f"{other} needs ASKBOT_JWKS_URL")
        if value and not symmetric and isinstance(secret, SecretStr):
            raise ValueError("ASKBOT_JWT_SECRET needs HS256, HS384 or HS512 among them")
        if value and len(symmetric) == len(value) and isinstance(url, str):
            raise ValueError("ASKBOT_JWKS_URL needs RS256, ES256 or EdDSA, for example, among them")
        if isinstance(secret, SecretStr):
            size = len(secret.get_secret_value().encode())
            for name in symmetric:
                if size * 8 < int(name[2:]):  # RFC 7518, 3.2
                    raise ValueError(f"{name} needs a secret of at least {int(name[2:]) // 8} bytes")
        return value

    @field_validator("auth_cookie")
    @classmethod
    def _check_cookie(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and "*" in info.data.get("origins", ()):
            raise ValueError("with ASKBOT_ORIGINS=*, any page could act for whoever visits it; list the origins")
        return value

    @field_validator("workers")
    @classmethod
    def _check_workers(cls, value: int, info: ValidationInfo) -> int:
        store = str(info.data.get("store", ""))
        if value > 1 and sys.platform == "win32":
            raise ValueError("there are no workers on Windows: leave it at 1")
        if value > 1 and store.startswith(UNSHARED_STORES):
            kind = "the memory of one process" if store == "memory:" else "a file that one process alone may use"
            raise ValueError(
                f"the store is {kind}, and several can't share it: set ASKBOT_STORE=redis://HOST:PORT (--store), "
                "or leave ASKBOT_WORKERS at 1"
            )
        return value

    @field_validator("openai_base_url")
    @classmethod
    def _check_credentials(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("upstream") == "openai" and not value and info.data.get("openai_api_key", ...) is None:
            raise ValueError("it needs OPENAI_API_KEY, or OPENAI_BASE_URL of a server without keys")
        return value
