"""Preflight: checks what a server would need, without starting one or disturbing one that runs."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

from ..auth.choose import ticket_secret
from ..auth.function import import_function
from ..auth.json_web_keys import KeySetError, fetch_keys
from ..auth.key_file import read_keys
from ..auth.tickets import kept_secret_path
from ..config import Settings
from ..core.prompt import Message, Prompt
from ..errors import ConfigError, StoreError, UpstreamError
from ..events import Options
from ..store import ANY_USER, SessionQuery
from ..store.sqlite.files import StoreFiles
from ..store.sqlite.maintenance.check import lock_out_servers, open_read_only
from ..store.sqlite.schema import MIGRATIONS, read_version
from ..store.url import is_shared, make_store, path_of, without_password
from ..upstream.choose import choose_upstream, make_checks
from ..upstream.moderation import Moderation
from ..upstream.provider_errors import summarize
from .allowance_settings import allowances_of
from .running import policy_of
from .tls import EXPIRES_SOON, TlsFiles

PROMPT = Prompt.of([Message("user", "Hi")], Options(max_tokens=1))
MIN_FREE_BYTES = 100 * 1024**2  # of a disk; with less, an operator should know

Part: TypeAlias = Literal["settings", "address", "certificate", "authentication", "roles", "store", "guard", "upstream"]
Status: TypeAlias = Literal["ok", "warning", "fault", "skipped"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check has found; only a `fault` keeps a server from serving."""

    part: Part
    status: Status
    text: str


async def preflight(settings: Settings, *, ask_upstream: bool) -> AsyncIterator[CheckResult]:
    """Yield what is found of each part. With `ask_upstream`, the model is asked for one token."""
    store = (
        [await _check_shared_store(settings.store, replicas=settings.redis_wait)]
        if is_shared(settings.store)
        else [*_check_store(settings)]
    )
    yield _describe(settings)
    for result in (*_check_extras(settings), *_check_address(settings), *_check_certificate(settings)):
        yield result
    for result in (*_check_authentication(settings), *_check_sign_in(settings)):
        yield result
    if settings.jwks_url is not None:
        yield await _check_key_set(settings.jwks_url)
    for result in (*_check_roles(settings), *store):
        yield result
    async for result in _check_guards(settings, ask=ask_upstream):
        yield result
    yield await _check_upstream(settings, ask=ask_upstream)


def _describe(settings: Settings) -> CheckResult:
    where = f"the socket {settings.unix}" if settings.unix else f"{settings.host}, port {settings.port}"
    scheme = "https" if settings.certfile else "http"
    who = "with credentials" if settings.authentication else "for everybody who can reach it, anonymously"
    if settings.authentication and settings.allow_anonymous:
        who = "with credentials, and anonymously"
    limits = "" if settings.limits else "; no limits are enforced"
    return CheckResult("settings", "ok", f"it would serve {scheme} on {where}, {who}{limits}")


def _check_extras(settings: Settings) -> Iterator[CheckResult]:
    if settings.otel:
        try:
            from .. import telemetry  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]  # an extra
        except ImportError:
            yield CheckResult(
                "settings", "fault", "ASKBOT_OTEL: OpenTelemetry is not installed: pip install 'askbot-ws[otel]'"
            )


def _check_unix(path: Path) -> CheckResult:
    folder = path.absolute().parent
    if not os.access(folder, os.W_OK):
        return CheckResult("address", "fault", f"the folder {folder} of ASKBOT_UNIX is not there, or can't be written")
    if path.is_socket():
        return CheckResult(
            "address", "warning", f"the socket {path} is there, of a running server or one that has crashed"
        )
    if path.exists():
        return CheckResult("address", "fault", f"ASKBOT_UNIX: {path} is there already, and is no socket")
    return CheckResult("address", "ok", f"the socket {path} can be made")


def _check_address(settings: Settings) -> Iterator[CheckResult]:
    """Bind the address for a moment, without listening: nobody is connected by it."""
    if settings.unix:
        yield _check_unix(Path(settings.unix))
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[
            0
        ]
        with socket.socket(family, kind, protocol) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            yield CheckResult(
                "address", "warning", f"port {settings.port} is in use, by a running server or another program"
            )
        else:
            yield CheckResult(
                "address", "fault", f"it can't be listened on {settings.host}, port {settings.port}: {reason}"
            )
    else:
        yield CheckResult("address", "ok", f"{settings.host}, port {settings.port or 'any'} is free")


def _check_certificate(settings: Settings) -> Iterator[CheckResult]:
    if settings.certfile is None or settings.keyfile is None:
        return
    try:
        certificate = TlsFiles(settings.certfile, settings.keyfile).certificate
    except ConfigError as error:
        yield CheckResult("certificate", "fault", str(error))
        return
    names = ", ".join(certificate.names) or "no name"
    if certificate.fault is not None or certificate.expires is None:
        yield CheckResult("certificate", "fault", f"{settings.certfile} {certificate.fault or 'is not valid now'}")
        return
    soon = certificate.expires - datetime.now(UTC) < EXPIRES_SOON
    text = f"for {names}; it expires on {certificate.expires:%Y-%m-%d}, and the key is its own"
    yield CheckResult("certificate", "warning" if soon else "ok", text)


def _check_authentication(settings: Settings) -> Iterator[CheckResult]:
    if not settings.authentication:
        status: Status = "ok" if settings.loopback else "warning"
        yield CheckResult(
            "authentication", status, "nobody needs a credential: no ASKBOT_KEYS, JWT or ASKBOT_AUTH is set"
        )
        return
    try:
        if settings.keys is not None:
            keys = read_keys(settings.keys).values()
            yield from _check_key_roles(settings, {key.role for key in keys if key.role is not None})
            if kept_secret_path(settings.keys).exists():  # else the server makes it
                ticket_secret(settings)
            expired = sum(key.expires is not None and key.expires <= time.time() for key in keys)
            status = "ok" if len(keys) > expired else "warning"
            yield CheckResult(
                "authentication", status, f"{settings.keys} has {len(keys)} keys, {expired} of them expired"
            )
        if settings.auth is not None:
            import_function(settings.auth)
            yield CheckResult("authentication", "ok", f"{settings.auth} can be imported")
    except ConfigError as error:
        yield CheckResult("authentication", "fault", str(error))
    if is_shared(settings.store) and settings.ticket_secret is None:
        text = (
            "ASKBOT_TICKET_SECRET is not set: a ticket that one node has made is refused by nodes with other key files"
        )
        yield CheckResult("authentication", "warning", text)
    if settings.jwt_secret is not None or settings.jwks_url is not None:
        yield CheckResult("authentication", "ok", "JSON Web Tokens are accepted")


def _check_key_roles(settings: Settings, named: set[str]) -> Iterator[CheckResult]:
    if unknown := named - {*settings.roles}:
        text = f"keys have roles that ASKBOT_ROLES doesn't have, and that count as none: {', '.join(sorted(unknown))}"
        yield CheckResult("roles", "warning", text)


def _check_sign_in(settings: Settings) -> Iterator[CheckResult]:
    if settings.sign_in_url is None:
        return
    if not settings.authentication:
        text = "ASKBOT_SIGN_IN_URL is not used: nobody needs a credential"
    elif settings.auth_cookie is None and settings.auth is None:
        text = "who comes back from ASKBOT_SIGN_IN_URL has no credential: set ASKBOT_AUTH_COOKIE, or ASKBOT_AUTH"
    else:
        yield CheckResult("authentication", "ok", "the page sends its users to ASKBOT_SIGN_IN_URL")
        return
    yield CheckResult("authentication", "warning", text)


async def _check_key_set(url: str) -> CheckResult:
    """Fetch the key set, as the server does in the background: without it, tokens are refused by 503."""
    try:
        keys = await fetch_keys(url)
    except Exception as error:  # noqa: BLE001 - whatever a foreign server sends
        reason = str(error) if isinstance(error, KeySetError) else type(error).__name__
        return CheckResult("authentication", "warning", f"ASKBOT_JWKS_URL: the key set can't be fetched now ({reason})")
    status: Status = "ok" if keys else "warning"
    return CheckResult("authentication", status, f"the key set of ASKBOT_JWKS_URL has {len(keys)} keys")


def _check_roles(settings: Settings) -> Iterator[CheckResult]:
    try:
        allowances_of(settings)
    except ConfigError as error:
        yield CheckResult("roles", "fault", str(error))
        return
    if settings.roles:
        yield CheckResult("roles", "ok", f"there are {', '.join(settings.roles)}")


async def _check_guards(settings: Settings, *, ask: bool) -> AsyncIterator[CheckResult]:
    """Have each guard judge a question; without `ask`, only see that it can be used."""
    for guard in make_checks(settings):
        name = "ASKBOT_MODERATION" if isinstance(guard, Moderation) else "ASKBOT_GUARD_FUNCTION"
        status: Status = "ok"
        text = f"{name}: it was not asked"
        try:
            await guard.open()
            if ask:
                async with asyncio.timeout(settings.guard_timeout):
                    refused = await guard.refusal(PROMPT)
                text = f"{name}: it judges questions" + ("" if refused is None else "; it refuses the word Hi")
        except ConfigError as error:
            status, text = "fault", str(error)
        except Exception as error:  # noqa: BLE001 - whatever an operator's own function raises
            status = "warning" if settings.guard_failure == "open" else "fault"
            answered = "questions are answered all the same" if status == "warning" else "no question is answered"
            text = f"{name}: it fails ({type(error).__name__}), and {answered}: ASKBOT_GUARD_FAILURE"
        finally:
            await guard.close()
        yield CheckResult("guard", status, text)


async def _check_shared_store(url: str, *, replicas: int = 0) -> CheckResult:
    """Connect, and write a key that nothing else uses."""
    shown = without_password(url)
    try:
        store = make_store(url, fsync=False, replicas=replicas)
        await store.open()
        try:
            await store.ping()
            count = (await store.list_sessions(SessionQuery(ANY_USER), limit=1)).sessions
        finally:
            await store.close()
    except (ConfigError, StoreError) as error:
        return CheckResult("store", "fault", str(error.__cause__ or error))
    return CheckResult("store", "ok", f"{shown} can be written; it has {'sessions' if count else 'no sessions yet'}")


def _check_store(settings: Settings) -> Iterator[CheckResult]:
    """Open the database read-only; what a running server does is not touched."""
    if settings.store == "memory:":
        yield CheckResult("store", "warning", "memory: sessions are lost when the server ends")
        return
    try:
        files = StoreFiles(path_of(settings.store))
        folder = files.database.parent
        existing = next(each for each in (folder, *folder.parents) if each.exists())
        try:
            with tempfile.TemporaryFile(dir=existing):  # without a name, where the system allows that
                pass
        except OSError as error:
            yield CheckResult("store", "fault", f"{files}: the folder {existing} can't be written ({error.strerror})")
            return
        free = shutil.disk_usage(existing).free
        if free < MIN_FREE_BYTES:
            yield CheckResult("store", "warning", f"{files}: only {free // 1024**2} MiB are free on its disk")
        if not files.database.exists():
            yield CheckResult("store", "ok", f"{files} will be made at the first start")
            return
        if not os.access(files.database, os.W_OK):
            yield CheckResult("store", "fault", f"{files} can't be written")
            return
        with lock_out_servers(files) as exclusive, open_read_only(files, exclusive=exclusive) as connection:
            version = read_version(connection, files.given_path)
            (count,) = connection.execute("SELECT count(*) FROM sessions").fetchone() if version else (0,)
    except (ConfigError, OSError, sqlite3.Error) as error:
        yield CheckResult("store", "fault", str(error))
        return
    used = "" if exclusive else "; a running server uses it, which is fine"
    migrated = "; it will be migrated" if version < len(MIGRATIONS) else ""
    yield CheckResult("store", "ok", f"{files} has {count} sessions{migrated}{used}")


async def _check_upstream(settings: Settings, *, ask: bool) -> CheckResult:
    """Ask the model for one token."""
    try:
        chosen = choose_upstream(settings)
        policy_of(settings, chosen)
        upstream = chosen.upstream
        if not ask:
            return CheckResult("upstream", "skipped", f"{upstream.model}: it was not asked")
        try:
            await upstream.open()
            started = time.monotonic()
            async with asyncio.timeout(settings.connect_timeout + settings.stall_timeout):
                await upstream.stream(PROMPT, lambda _: None)
            return CheckResult("upstream", "ok", f"{upstream.model} answered in {time.monotonic() - started:.2f} s")
        finally:
            with suppress(UpstreamError):
                await upstream.close()
    except ConfigError as error:
        return CheckResult("upstream", "fault", str(error))
    except TimeoutError:
        return CheckResult("upstream", "fault", "the model did not answer in time; see ASKBOT_STALL_TIMEOUT")
    except UpstreamError as error:
        failure = summarize(error)
        hint = f" {failure.hint}" if failure.hint else ""
        return CheckResult("upstream", "fault", f"{error.message} ({failure.cause}){hint}")
