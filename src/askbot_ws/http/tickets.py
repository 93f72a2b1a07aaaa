"""Tickets: the route by which an application's backend makes one-time tickets for its users."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus

import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..auth import Authenticator
from ..auth.tickets import DEFAULT_CONNECTION_SECONDS
from ..events import SessionId, format_timestamp
from .authentication import require_right
from .responses import json_response

PATH = "/v1/tickets"

log = structlog.get_logger(__name__)


class TicketRequest(BaseModel):
    """The body of a request: whom the connection is for, and what it may do."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    user: str
    session: SessionId | None = None
    read_only: bool = False
    expires: float | str | None = Field(default=None)
    role: str | None = None


_request: TypeAdapter[TicketRequest] = TypeAdapter(TicketRequest)


def ticket_route(authenticator: Authenticator) -> Route:
    """Return the route `POST /v1/tickets`."""

    async def tickets(request: Request) -> Response:
        maker = require_right(request, "tickets")
        methods = authenticator.methods
        if methods is None or methods.tickets is None:
            return json_response(HTTPStatus.NOT_FOUND, {"error": "Credentials are not used here: connect without one."})
        try:
            asked = _request.validate_json(await request.body())
            ticket = methods.tickets.make(
                asked.user,
                session=asked.session,
                read_only=asked.read_only,
                expires=_seconds(asked.expires, now=methods.tickets.now()),
                role=asked.role,
            )
        except ValidationError as error:
            return json_response(HTTPStatus.BAD_REQUEST, {"error": _fault(error), "code": "invalid_frame"})
        except ValueError as error:
            return json_response(HTTPStatus.BAD_REQUEST, {"error": f"{error}.", "code": "invalid_frame"})
        log.info(
            "ticket_issued",
            credential=ticket.credential,
            user=asked.user,
            session=asked.session,
            read_only=asked.read_only,
            expires=ticket.expires,
            by=maker.credential,
            address=request.client.host if request.client else "",
        )
        return json_response(
            HTTPStatus.CREATED,
            {
                "ticket": ticket.text,
                "valid_until": format_timestamp(ticket.valid_until),
                "expires": format_timestamp(ticket.expires),
            },
        )

    return Route(PATH, tickets, methods=["POST"])


def _seconds(given: float | str | None, *, now: float) -> float:
    """Return in how many seconds the connection ends, from a number of them or a time in RFC 3339."""
    if given is None:
        return DEFAULT_CONNECTION_SECONDS
    if not isinstance(given, str):
        return given
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise ValueError("expires: it should be a number of seconds, or a time like 2030-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("expires: the time should have a time zone, like 2030-01-31T12:00:00Z")
    return moment.timestamp() - now


def _fault(error: ValidationError) -> str:
    """Return what is wrong, without what was given."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if fault["type"] == "json_invalid":
        return 'The body is not JSON; it should be like {"user": "alice"}.'
    place = str(fault["loc"][0]) if fault["loc"] else "The body"
    return f"{place}: {fault['msg']}."
