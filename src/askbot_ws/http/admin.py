"""Admin API: lists, reads and deletes everybody's sessions, for credentials with the right `admin`.

Each act leaves one line in the log (`admin_acted`), reads included.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, TypeAlias

import structlog
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ..core.access import check_administration
from ..core.principal import Principal
from ..dialects.askbot.frames import MAX_PLACE_CHARS
from ..errors import AskbotError, Forbidden, InvalidFrame, SessionNotFound, StoreError
from ..events import MAX_SEQ
from ..hub.administration import Administration
from ..setting_types import parse_duration
from ..store import ANY_USER, SessionQuery
from .access import Authority
from .admin_records import Deletion, SessionList, SessionTurns, deletion, describe, session_list, session_turns
from .ai_completion import ResponseAbortedError
from .authentication import STATUS_BY_ERROR, require_right
from .export import ExportedSession, export_record, export_records
from .responses import COMMON_HEADERS, json_response, retry_after

PREFIX = "/v1/admin"
MAX_SESSIONS = 100  # in a page
MAX_TURNS = 100  # in a page
BROWSER_HEADERS = ("origin", "sec-fetch-mode", "accept-language")  # a page can't leave all of them out

log = structlog.get_logger(__name__)


# --- what is asked ---------------------------------------------------------------------------------------------------


class _Selection(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    user: Annotated[str, Field(min_length=1)] | None = None
    anonymous: bool = False
    idle: Annotated[float, BeforeValidator(parse_duration), Field(ge=0, allow_inf_nan=False)] | None = None

    def query(self) -> SessionQuery:
        """Return which sessions are selected. Raises `InvalidFrame`."""
        if self.anonymous and self.user is not None:
            raise InvalidFrame("user, anonymous: give one of them.")
        return SessionQuery(None if self.anonymous else self.user or ANY_USER, idle_longer_than=self.idle)


class _DeleteParameters(_Selection):
    usage: bool = False


class _ListParameters(_Selection):
    before: Annotated[str, Field(max_length=MAX_PLACE_CHARS)] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_SESSIONS)] = 50


class _ReadParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    before: Annotated[int, Field(ge=0, le=MAX_SEQ)] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_TURNS)] = 20


class _NoParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)


_list_parameters: TypeAdapter[_ListParameters] = TypeAdapter(_ListParameters)
_selection: TypeAdapter[_Selection] = TypeAdapter(_Selection)
_delete_parameters: TypeAdapter[_DeleteParameters] = TypeAdapter(_DeleteParameters)
_read_parameters: TypeAdapter[_ReadParameters] = TypeAdapter(_ReadParameters)
_no_parameters: TypeAdapter[_NoParameters] = TypeAdapter(_NoParameters)


# --- the routes ------------------------------------------------------------------------------------------------------

_Result: TypeAlias = tuple[Response, int]
"""A response, and of how many sessions it is."""
_Work: TypeAlias = Callable[[Request, Principal], Awaitable[_Result]]
_Stream: TypeAlias = Callable[[Request, Principal, "AuditEntry"], AsyncGenerator[bytes]]


def admin_routes(administration: Administration) -> list[Route]:
    """Return the routes of the admin API."""

    async def list_sessions(request: Request, principal: Principal) -> _Result:
        given = _list_parameters.validate_python(_query(request))
        page = await administration.list_sessions(principal, given.query(), before=given.before, limit=given.limit)
        found = SessionList(sessions=tuple(map(describe, page.sessions)), more=page.more)
        return _encoded(session_list.dump_json(found)), len(page.sessions)

    async def delete_sessions(request: Request, principal: Principal) -> _Result:
        given = _delete_parameters.validate_python(_query(request))
        if given.query() == SessionQuery(ANY_USER):
            raise InvalidFrame("Which sessions? Give user=NAME, anonymous=true or idle=90d.")
        if given.usage and given.user is None:
            raise InvalidFrame("usage: it goes with user=NAME.")
        count = await administration.delete_all(principal, given.query())
        days = await administration.delete_usage(principal, given.user) if given.usage and given.user else 0
        return _encoded(deletion.dump_json(Deletion(sessions=count, usage_days=days))), count

    async def export(request: Request, principal: Principal, entry: AuditEntry) -> AsyncGenerator[bytes]:
        given = _selection.validate_python(_query(request))
        query = given.query()
        usage = dict[str, int]() if given.user is None else await administration.usage(principal, given.user)
        check_administration(principal)
        records = export_records(administration.store, query, usage, now=time.time())
        async with aclosing(records):
            async for each in records:
                entry.count += type(each) is ExportedSession
                yield export_record.dump_json(each, by_alias=True) + b"\n"

    async def read_session(request: Request, principal: Principal) -> _Result:
        given = _read_parameters.validate_python(_query(request))
        session = request.path_params["session"]
        summary, page = await administration.read(principal, session, before=given.before, limit=given.limit)
        found = SessionTurns(session=describe(summary), turns=page.turns, more=page.before)
        return _encoded(session_turns.dump_json(found, by_alias=True)), 1

    async def delete_session(request: Request, principal: Principal) -> _Result:
        _no_parameters.validate_python(_query(request))
        await administration.delete(principal, request.path_params["session"])
        return Response(status_code=HTTPStatus.NO_CONTENT.value, headers={"Cache-Control": "no-store"}), 1

    async def vacuum(request: Request, principal: Principal) -> _Result:
        _no_parameters.validate_python(_query(request))
        done = await administration.vacuum(principal)
        return json_response(HTTPStatus.OK, {"before": done.before, "after": done.after}), 0

    return [
        _audited_route("/sessions", GET=("list", list_sessions), DELETE=("delete", delete_sessions)),
        Route(PREFIX + "/export", _audited_stream("export", export)),
        _audited_route("/sessions/{session}", GET=("read", read_session), DELETE=("delete", delete_session)),
        _audited_route("/store/vacuum", POST=("vacuum", vacuum)),
    ]


@dataclass(slots=True)
class AuditEntry:
    """One act of an administrator, as the log has it."""

    name: str
    count: int = 0  # of sessions
    outcome: str = "aborted"  # the client left, or the server ends: what was begun may have been done


@contextmanager
def _audited(request: Request, principal: Principal, entry: AuditEntry) -> Generator[None]:
    """Log, at the end of the block, who did an act and what came of it."""
    try:
        yield
    finally:
        log.info(
            "admin_acted",
            act=entry.name,
            outcome=entry.outcome,
            credential=_name_credential(principal),
            user=request.query_params.get("user"),
            session=request.path_params.get("session"),
            count=entry.count,
            address=request.client.host if request.client else "",
        )


def _audited_route(path: str, **acts: tuple[str, _Work]) -> Route:
    """Return a route that does the act of a method where the right is there, and logs who did it and what came of it.

    Each act has its name in the log.
    """

    async def endpoint(request: Request) -> Response:
        name, work = acts["GET" if request.method == "HEAD" else request.method]
        principal, entry = _require_admin(request), AuditEntry(name)
        with _audited(request, principal, entry):
            try:
                response, entry.count = await work(request, principal)
            except (ValidationError, AskbotError) as error:
                return _refused(entry, error)
            entry.outcome = "done"
            return response

    return Route(PREFIX + path, endpoint, methods=[*acts])


def _audited_stream(name: str, lines: _Stream) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that streams lines where the right is there; the log has it when the stream has ended."""

    async def endpoint(request: Request) -> Response:
        principal, entry = _require_admin(request), AuditEntry(name)
        stream = lines(request, principal, entry)
        try:
            first = await anext(stream)  # what fails by now can still have a status of its own
        except (ValidationError, AskbotError) as error:
            with _audited(request, principal, entry):
                return _refused(entry, error)

        async def body() -> AsyncGenerator[bytes]:
            with _audited(request, principal, entry):
                async with aclosing(stream):
                    yield first
                    try:
                        async for line in stream:
                            yield line
                    except StoreError as error:
                        _refused(entry, error)
                        raise ResponseAbortedError from error
                entry.outcome = "done"

        headers = {"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"} | COMMON_HEADERS
        return StreamingResponse(body(), headers=headers)

    return endpoint


def _refused(entry: AuditEntry, error: ValidationError | AskbotError) -> Response:
    """Return the response for an act that failed, and note what came of it."""
    if isinstance(error, ValidationError):
        error = InvalidFrame(_fault(error))
    entry.outcome = error.code
    if isinstance(error, StoreError):
        log.warning("admin_act_failed", act=entry.name, cause=str(error.__cause__))
    return _refuse(_status_of(error), error)


def _require_admin(request: Request) -> Principal:
    """Return the principal of a request that has the right `admin`. Raises like `require_right`.

    A browser adds cookies by itself, and a server on this machine may want no credential at all: so that no page can
    make its visitor's browser do it, what comes from a browser needs the credential in `Authorization`. Without any
    credential, the server has to be called by a name of this machine: by another one, a proxy is in front.
    """
    by_browser = any(name in request.headers for name in BROWSER_HEADERS)
    if by_browser and not request.headers.get("authorization", "").lower().startswith("bearer "):
        raise Forbidden("A browser has to send the key as Authorization: Bearer.")
    principal = require_right(request, "admin")
    host = Authority.parse(request.headers.get("host", ""))
    if request.state.local and principal.credential is None and not (host and host.is_loopback):
        raise Forbidden("Without a credential, only 127.0.0.1 and localhost are names for this.")
    return principal


def _query(request: Request) -> dict[str, str]:
    """Return the query. Raises `InvalidFrame` where a name is in it twice."""
    given = request.query_params.multi_items()
    if len(dict(given)) != len(given):
        raise InvalidFrame("The query has a name twice.")
    return dict(given)


def _encoded(body: bytes) -> Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"} | COMMON_HEADERS
    return Response(body + b"\n", headers=headers)


def _status_of(error: AskbotError) -> HTTPStatus:
    match error:
        case SessionNotFound():
            return HTTPStatus.NOT_FOUND
        case InvalidFrame():
            return HTTPStatus.BAD_REQUEST
        case StoreError():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            return STATUS_BY_ERROR.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)


def _refuse(status: HTTPStatus, error: AskbotError) -> Response:
    more = {"Retry-After": retry_after(1.0)} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    return json_response(status, {"error": error.message, "code": error.code}, **more)


def _fault(error: ValidationError) -> str:
    """Return what is wrong with the query, without what was given."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{fault['loc'][0]!s:.20}: {fault['msg']}."


def _name_credential(principal: Principal) -> str:
    """Return the id of a credential for the log; a user's name in it is replaced by its hash."""
    if principal.credential is None:
        return "none"
    kind, _, id = principal.credential.partition(":")
    return f"{kind}:{hashlib.sha256(id.encode()).hexdigest()[:12]}" if kind == "function" else principal.credential
