"""Session source: where administrators' commands find sessions: a running server's admin API, or a stopped store."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx2
from pydantic import TypeAdapter

from .errors import ConfigError, SessionNotFound, StoreError
from .events import TurnRecord
from .http.admin import MAX_SESSIONS, PREFIX
from .http.admin_records import AdminSession, Deletion, SessionList, SessionTurns, deletion, describe
from .http.admin_records import session_list as list_codec
from .http.admin_records import session_turns as turns_codec
from .http.export import ExportedSession, ExportedTurn, ExportEnd, ExportRecord, export_record, export_records
from .hub.history_page import read_history_page
from .store import ANY_USER, SessionQuery, Store, VacuumResult
from .store.session_list import all_pages, make_summary
from .store.sqlite.lock import StoreInUseError
from .store.url import is_shared, make_store, path_of, without_password

T = TypeVar("T")
vacuum_codec: TypeAdapter[VacuumResult] = TypeAdapter(VacuumResult)
TIMEOUT_SECONDS = 30.0  # without a byte of a response; a vacuum may take longer
PAGE_TURNS = 50


class SourceError(Exception):
    """Something could not be done; the message says why, and repeats no session's text."""


class MissingSessionError(SourceError):
    """There is no such session."""


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Selects sessions: of a user, of nobody (`anonymous`), idle for longer than so many seconds."""

    user: str | None = None
    anonymous: bool = False
    idle: float | None = None


class SessionSource(Protocol):
    """Lists, reads and deletes sessions. Everything raises `SourceError`."""

    async def list_page(self, chosen: SessionFilter, *, before: str | None, limit: int) -> SessionList:
        """Return a page of sessions, the newest first."""
        ...

    async def read_page(self, session: str, *, before: int | None) -> SessionTurns:
        """Return a session with a page of its turns, the newest page first."""
        ...

    def export(self, chosen: SessionFilter) -> AsyncGenerator[ExportRecord]:
        """Yield all that is kept of sessions and of the filter's user, to the `ExportEnd`."""
        ...

    async def delete(self, session: str) -> None:
        """Delete a session."""

    async def delete_all(self, chosen: SessionFilter, *, usage: bool) -> Deletion:
        """Delete all sessions that a filter selects; with `usage`, the counts of its user too."""
        ...

    async def vacuum(self) -> VacuumResult:
        """Make the store's files as small as what they hold."""
        ...


# --- reading all of it -----------------------------------------------------------------------------------------------


async def select_sessions(source: SessionSource, chosen: SessionFilter) -> list[AdminSession]:
    """Return all sessions that a filter selects, the newest first.

    A session that is used meanwhile moves to a page that was read already; so the first pages are read again until
    there is nothing new on them.
    """
    found: dict[str, AdminSession] = {}
    complete = False
    while not complete:
        first_time, complete, before, more = not found, True, None, True
        while more:
            page = await source.list_page(chosen, before=before, limit=MAX_SESSIONS)
            new = [each for each in page.sessions if each.session not in found]
            found.update((each.session, each) for each in new)
            complete = complete and not new
            before = page.more
            more = before is not None and (first_time or bool(new))
    return sorted(found.values(), key=lambda each: each.updated, reverse=True)


async def read_session(source: SessionSource, session: str) -> tuple[AdminSession, list[TurnRecord]]:
    """Return a session and all its turns, oldest first."""
    page = await source.read_page(session, before=None)
    turns = page.turns
    while page.more is not None and page.turns:
        page = await source.read_page(session, before=page.more)
        turns = [*page.turns, *turns]
    return page.session, turns


async def export_ids(source: SessionSource, sessions: Sequence[str]) -> AsyncGenerator[ExportRecord]:
    """Yield sessions by their ids, as `SessionSource.export`. Raises `MissingSessionError`."""
    count = 0
    for name in dict.fromkeys(sessions):
        session, turns = await read_session(source, name)
        yield ExportedSession(session=session)
        for turn in turns:
            yield ExportedTurn(session=name, turn=turn)
        count += len(turns)
    yield ExportEnd(exported=time.time(), sessions=len({*sessions}), turns=count)


# --- a running server ------------------------------------------------------------------------------------------------


class ServerSessions:
    """The sessions of a running server, by its admin API."""

    def __init__(self, client: httpx2.AsyncClient, *, url: str, describe_refusal: Callable[[], str]) -> None:
        """`describe_refusal` says what to do where the server refuses the credential."""
        self._client = client
        self._url = url
        self._describe_refusal = describe_refusal

    async def list_page(self, chosen: SessionFilter, *, before: str | None, limit: int) -> SessionList:
        """Return a page of sessions."""
        query = _query_of(chosen) | {"limit": str(limit)} | ({} if before is None else {"before": before})
        response = await self._request("GET", "/sessions", params=query)
        return self._decode(list_codec.validate_json, response.content)

    async def read_page(self, session: str, *, before: int | None) -> SessionTurns:
        """Return a session with a page of its turns."""
        query = {"limit": str(PAGE_TURNS)} | ({} if before is None else {"before": str(before)})
        response = await self._request("GET", _path_of(session), params=query)
        return self._decode(turns_codec.validate_json, response.content)

    async def export(self, chosen: SessionFilter) -> AsyncGenerator[ExportRecord]:
        """Yield all that is kept, as it comes."""
        request = self._client.build_request("GET", f"{self._url}{PREFIX}/export", params=_query_of(chosen))
        response = await self._send(request, stream=True)
        try:
            async for line in _lines(response):
                yield self._decode(export_record.validate_json, line)
        except httpx2.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise SourceError(f"{self._url} broke the export off ({reason}); see its log") from None
        finally:
            await response.aclose()

    async def delete(self, session: str) -> None:
        """Delete a session."""
        await self._request("DELETE", _path_of(session), timeout=None)

    async def delete_all(self, chosen: SessionFilter, *, usage: bool) -> Deletion:
        """Delete sessions; however long that takes."""
        query = _query_of(chosen) | ({"usage": "true"} if usage else {})
        response = await self._request("DELETE", "/sessions", params=query, timeout=None)
        return self._decode(deletion.validate_json, response.content)

    async def vacuum(self) -> VacuumResult:
        """Make the store's files smaller; however long that takes."""
        response = await self._request("POST", "/store/vacuum", timeout=None)
        return self._decode(vacuum_codec.validate_json, response.content)

    async def _request(self, method: str, path: str, **options: Any) -> httpx2.Response:  # noqa: ANN401 - httpx2's own
        request = self._client.build_request(method, f"{self._url}{PREFIX}{path}", **options)
        return await self._send(request, stream=False)

    async def _send(self, request: httpx2.Request, *, stream: bool) -> httpx2.Response:
        try:
            response = await self._client.send(request, stream=stream)
            if stream and not response.is_success:
                await response.aread()
        except httpx2.TimeoutException:
            raise SourceError(f"{self._url} doesn't answer") from None
        except httpx2.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise SourceError(f"{self._url} can't be reached ({reason}); is the server running?") from None
        if response.is_success:
            return response
        code, message = _error_of(response)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            raise SourceError(self._describe_refusal())
        if code == SessionNotFound.code:
            raise MissingSessionError(message)
        if code:
            hint = " `askbot key new --may admin` makes a key that has it." if "right 'admin'" in message else ""
            raise SourceError(f"the server says: {message}{hint}")
        raise SourceError(f"{self._url} has no admin API (status {response.status_code})")

    def _decode(self, decode: Callable[[bytes], T], body: bytes) -> T:
        try:
            return decode(body)
        except ValueError:
            raise SourceError(f"{self._url} answers what this askbot doesn't understand") from None


async def _lines(response: httpx2.Response) -> AsyncGenerator[bytes]:
    """Yield the lines of a body. Only a line feed ends one: JSON may have the other ends of lines in its texts."""
    rest = list[bytes]()
    async for chunk in response.aiter_bytes():
        first, *others = chunk.split(b"\n")
        rest.append(first)
        for other in others:
            yield b"".join(rest)
            rest = [other]


def _query_of(chosen: SessionFilter) -> dict[str, str]:
    """Return a filter as a query of a URL."""
    query = {} if chosen.user is None else {"user": chosen.user}
    query |= {"anonymous": "true"} if chosen.anonymous else {}
    return query | ({} if chosen.idle is None else {"idle": str(chosen.idle)})


def _path_of(session: str) -> str:
    """Return the path of a session. Raises `MissingSessionError` for what can't be an id, or leads elsewhere."""
    if not session.replace("-", "").replace("_", "").isalnum() or not session.isascii():
        raise MissingSessionError(SessionNotFound.default)
    return f"/sessions/{session}"


def _error_of(response: httpx2.Response) -> tuple[str, str]:
    """Return code and message of an error; empty where it is no server of ours."""
    try:
        found: object = response.json()
    except ValueError:
        return "", ""
    match found:
        case {"code": str() as code, "error": str() as message}:
            return code, message
        case _:
            return "", ""


@asynccontextmanager
async def server_sessions(
    url: str, token: str | None, *, describe_refusal: Callable[[], str]
) -> AsyncGenerator[ServerSessions]:
    """Open the sessions of the server at an `http` or `https` URL without a path at its end, with a key or a token."""
    parts = urlsplit(url)
    local = parts.hostname in {"127.0.0.1", "::1", "localhost"}
    async with httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=TIMEOUT_SECONDS,
        trust_env=not local,  # no proxy leads to this machine
        verify=ssl.create_default_context() if parts.scheme == "https" else False,
    ) as client:
        yield ServerSessions(client, url=url, describe_refusal=describe_refusal)


# --- a stopped store -------------------------------------------------------------------------------------------------


class StoredSessions:
    """The sessions of a store that no server uses."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list_page(self, chosen: SessionFilter, *, before: str | None, limit: int) -> SessionList:
        """Return a page of sessions."""
        page = await self._store.list_sessions(_session_query(chosen), before=before, limit=limit)
        return SessionList(sessions=tuple(map(describe, page.sessions)), more=page.more)

    async def read_page(self, session: str, *, before: int | None) -> SessionTurns:
        """Return a session with a page of its turns."""
        log = await self._load(session)
        page = await read_history_page(self._store, session, before=before, limit=PAGE_TURNS)
        return SessionTurns(session=log, turns=page.turns, more=page.before)

    async def export(self, chosen: SessionFilter) -> AsyncGenerator[ExportRecord]:
        """Yield all that is kept, as it is read."""
        usage = dict[str, int]() if chosen.user is None else await self._store.usage(chosen.user)
        async for each in export_records(self._store, _session_query(chosen), usage, now=time.time()):
            yield each

    async def delete(self, session: str) -> None:
        """Delete a session."""
        await self._load(session)
        await self._store.forget(session)

    async def delete_all(self, chosen: SessionFilter, *, usage: bool) -> Deletion:
        """Delete sessions, a page at a time."""
        count = days = 0
        async for page in all_pages(self._store, _session_query(chosen)):
            await self._store.forget(*(summary.session for summary in page))
            count += len(page)
        if usage and chosen.user is not None:
            days = len(await self._store.usage(chosen.user))
            await self._store.forget_usage(chosen.user)
        return Deletion(sessions=count, usage_days=days)

    async def vacuum(self) -> VacuumResult:
        """Make the store's files smaller."""
        return await self._store.vacuum()

    async def _load(self, session: str) -> AdminSession:
        try:
            log = await self._store.load(session)
        except SessionNotFound as error:
            raise MissingSessionError(error.message) from None
        self._store.release(session)
        return describe(make_summary(log))


def _session_query(chosen: SessionFilter) -> SessionQuery:
    return SessionQuery(None if chosen.anonymous else chosen.user or ANY_USER, idle_longer_than=chosen.idle)


@asynccontextmanager
async def stored_sessions(url: str) -> AsyncGenerator[StoredSessions]:
    """Open the sessions of a store. Raises `ConfigError` where there is none, or it is a file that a server uses."""
    place = without_password(url) if is_shared(url) else str(path_of(url))
    if not is_shared(url) and not os.path.isfile(place):  # noqa: PTH113, ASYNC240 - no other task runs
        raise ConfigError(f"there is no store {place}; name another with --store.")
    store = make_store(url, fsync=False)
    try:
        await store.open()
    except StoreInUseError as error:
        raise ConfigError(f"{error.fact}; leave --store out, and name that server by --url.") from None
    try:
        yield StoredSessions(store)
    except StoreError as error:
        raise SourceError(f"the store {place} can't be used: {error.__cause__ or error}") from error
    finally:
        await store.close()
