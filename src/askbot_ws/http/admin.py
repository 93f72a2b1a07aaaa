"""Admin API: lists, reads and deletes everybody's sessions, for credentials with the right `admin`.

Each act leaves one line in the log (`admin_acted`), reads included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, TypeAlias

import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..core.principal import Principal
from ..dialects.askbot.frames import MAX_PLACE_CHARS
from ..errors import AskbotError, Forbidden, InvalidFrame, SessionNotFound, StoreError
from ..events import MAX_SEQ, Record, Seq, SessionId, Timestamp, TurnRecord, record
from ..hub.administration import Administration
from ..store import ANY_USER, SessionQuery, SessionSummary
from .access import Authority
from .authentication import STATUS_BY_ERROR, require_right
from .responses import COMMON_HEADERS, json_response, retry_after

PREFIX = "/v1/admin"
MAX_SESSIONS = 100  # in a page
MAX_TURNS = 100  # in a page
BROWSER_HEADERS = ("origin", "sec-fetch-mode", "accept-language")  # a page can't leave all of them out

log = structlog.get_logger(__name__)


# --- what is sent ----------------------------------------------------------------------------------------------------


@record
class AdminSession(Record):
    """A session with its user (None: nobody's); `title` is None without one, `question` begins the first question."""

    session: SessionId
    user: str | None
    title: str | None
    question: str
    created: Timestamp
    updated: Timestamp
    turns: int
    seq: Seq
    running: bool


@record
class SessionList(Record):
    """Sessions, the one with the newest `question` or `done` first; `more` is `before` of the next page."""

    sessions: tuple[AdminSession, ...]
    more: str | None


@record
class SessionTurns(Record):
    """A session and its newest turns, oldest first; `more` is `before` of the next page, which has older ones."""

    session: AdminSession
    turns: list[TurnRecord]
    more: int | None


session_list: TypeAdapter[SessionList] = TypeAdapter(SessionList)
session_turns: TypeAdapter[SessionTurns] = TypeAdapter(SessionTurns)


def describe(summary: SessionSummary) -> AdminSession:
    """Return what is sent of a session."""
    return AdminSession(
        session=summary.session,
        user=summary.user,
        title=summary.title,
        question=summary.question,
        created=summary.created,
        updated=summary.updated,
        turns=summary.turns,
        seq=summary.seq,
        running=summary.running,
    )


# --- what is asked ---------------------------------------------------------------------------------------------------


class _ListParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    user: Annotated[str, Field(min_length=1)] | None = None
    anonymous: bool = False
    idle: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    before: Annotated[str, Field(max_length=MAX_PLACE_CHARS)] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_SESSIONS)] = 50


class _ReadParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    before: Annotated[int, Field(ge=0, le=MAX_SEQ)] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_TURNS)] = 20


class _NoParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


_list_parameters: TypeAdapter[_ListParameters] = TypeAdapter(_ListParameters)
_read_parameters: TypeAdapter[_ReadParameters] = TypeAdapter(_ReadParameters)
_no_parameters: TypeAdapter[_NoParameters] = TypeAdapter(_NoParameters)


# --- the routes ------------------------------------------------------------------------------------------------------

_Result: TypeAlias = tuple[Response, int]
"""A response, and of how many sessions it is."""
_Work: TypeAlias = Callable[[Request, Principal], Awaitable[_Result]]


def admin_routes(administration: Administration) -> list[Route]:
    """Return the routes of the admin API."""

    async def list_sessions(request: Request, principal: Principal) -> _Result:
        given = _list_parameters.validate_python(_query(request))
        if given.anonymous and given.user is not None:
            raise InvalidFrame("user, anonymous: give one of them.")
        user = None if given.anonymous else given.user or ANY_USER
        query = SessionQuery(user, idle_longer_than=given.idle)
        page = await administration.list_sessions(principal, query, before=given.before, limit=given.limit)
        found = SessionList(sessions=tuple(map(describe, page.sessions)), more=page.more)
        return _encoded(session_list.dump_json(found)), len(page.sessions)

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
        _audited_route("/sessions", GET=("list", list_sessions)),
        _audited_route("/sessions/{session}", GET=("read", read_session), DELETE=("delete", delete_session)),
        _audited_route("/store/vacuum", POST=("vacuum", vacuum)),
    ]


def _audited_route(path: str, **acts: tuple[str, _Work]) -> Route:
    """Return a route that does the act of a method where the right is there, and logs who did it and what came of it.

    Each act has its name in the log.
    """

    async def endpoint(request: Request) -> Response:
        act, work = acts["GET" if request.method == "HEAD" else request.method]
        principal = _require_admin(request)
        count, outcome = 0, "done"
        try:
            response, count = await work(request, principal)
        except ValidationError as error:
            outcome, response = InvalidFrame.code, _refuse(HTTPStatus.BAD_REQUEST, InvalidFrame(_fault(error)))
        except AskbotError as error:
            outcome, response = error.code, _refuse(_status_of(error), error)
            if isinstance(error, StoreError):
                log.warning("admin_act_failed", act=act, cause=str(error.__cause__))
        except BaseException:
            outcome = "aborted"  # the client left, or the server ends: what was begun may have been done
            raise
        finally:
            log.info(
                "admin_acted",
                act=act,
                outcome=outcome,
                credential=_name_credential(principal),
                user=request.query_params.get("user"),
                session=request.path_params.get("session"),
                count=count,
                address=request.client.host if request.client else "",
            )
        return response

    return Route(PREFIX + path, endpoint, methods=[*acts])


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
