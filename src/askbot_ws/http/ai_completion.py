"""AI completion: the route `POST /aiCompletion`, a question in JSON answered by a stream of plain text.

The request is `{"userPrompt": "…"}`, the response the answer's text as it is generated. Each question has a session of
its own, which is deleted afterwards, unless the header `Askbot-Session` names one: `new`, or the id that an earlier
response had.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from http import HTTPStatus

import orjson
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import AskbotError
from .authentication import CHALLENGE, principal_of
from .completion import AnswerFailedError, Completion, Completions
from .responses import COMMON_HEADERS, json_response, retry_after

PATH = "/aiCompletion"
SESSION_HEADER = "Askbot-Session"
NEW_SESSION = "new"
PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": f"Authorization, Content-Type, {SESSION_HEADER}",
    "Access-Control-Max-Age": "600",
    "Allow": "OPTIONS, POST",
}
TEXT_HEADERS = {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would buffer it
} | COMMON_HEADERS
STATUS_BY_CODE = {
    "invalid_json": HTTPStatus.BAD_REQUEST,
    "invalid_frame": HTTPStatus.BAD_REQUEST,
    "question_empty": HTTPStatus.BAD_REQUEST,
    "question_too_long": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "context_too_long": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unauthorized": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "refused": HTTPStatus.FORBIDDEN,
    "session_not_found": HTTPStatus.NOT_FOUND,
    "busy": HTTPStatus.CONFLICT,
    "cancelled": HTTPStatus.CONFLICT,
    "queue_full": HTTPStatus.TOO_MANY_REQUESTS,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "quota_exceeded": HTTPStatus.TOO_MANY_REQUESTS,
    "upstream_rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "upstream_unavailable": HTTPStatus.BAD_GATEWAY,
    "upstream_rejected": HTTPStatus.BAD_GATEWAY,
    "upstream_stalled": HTTPStatus.BAD_GATEWAY,
    "interrupted": HTTPStatus.SERVICE_UNAVAILABLE,
    "overloaded": HTTPStatus.SERVICE_UNAVAILABLE,
}
JSON_OBJECT_ADAPTER = TypeAdapter(dict[str, object])
RETRY_AFTER_STATUSES = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)  # sent with `Retry-After`


class ResponseAbortedError(Exception):
    """A response that has started can't be completed: the connection is aborted before the body's end."""


class BadRequestError(Exception):
    """A request that is invalid; the message is safe to show."""

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class AiCompletion:
    """The route, as an ASGI application."""

    def __init__(self, completions: Completions) -> None:
        self._completions = completions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Raises `ResponseAbortedError` where the answer fails after its first text."""
        request = Request(scope, receive)
        response: Response | None
        if request.method == "OPTIONS":
            response = Response(status_code=HTTPStatus.NO_CONTENT.value, headers=PREFLIGHT_HEADERS | COMMON_HEADERS)
        else:
            response = await self._answer(request, send)
        if response is not None:
            await response(scope, receive, send)

    async def _answer(self, request: Request, send: Send) -> Response | None:
        """Stream the answer and return None; or return the response to send instead."""
        headers: dict[str, str] = {}
        try:
            principal = principal_of(request)
            prompt = _parse_prompt(request, await request.body())
            session, keep = _parse_session(request)
            async with self._completions.ask(prompt, principal=principal, session=session, keep=keep) as completion:
                if keep:
                    headers = {SESSION_HEADER: completion.session, "Access-Control-Expose-Headers": SESSION_HEADER}
                return await _StreamedResponse(request, send, TEXT_HEADERS | headers).run(completion)
        except BadRequestError as error:
            return json_response(error.status, {"error": error.message})
        except (AskbotError, AnswerFailedError) as error:
            return _error_response(error, headers)


class _StreamedResponse:
    """The response to one request."""

    def __init__(self, request: Request, send: Send, headers: dict[str, str]) -> None:
        self._request = request
        self._send = send
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._head_sent = False

    async def run(self, completion: Completion) -> Response | None:
        """Send the answer's pieces as they arrive, and return None.

        For HTTP/1.0, which has no chunks, return the whole response instead. Raises the answer's error as long as
        nothing was sent, then `ResponseAbortedError`.
        """
        watching = asyncio.create_task(self._watch_disconnect(completion))
        try:
            async with aclosing(completion.pieces()) as pieces:
                if self._request.scope["http_version"] == "1.0":
                    text = "".join([piece async for piece in pieces])
                    return Response(text, headers={name.decode(): value.decode() for name, value in self._headers})
                async for piece in pieces:
                    await self._send_head()
                    await self._send({"type": "http.response.body", "body": piece.encode(), "more_body": True})
            await self._send_head()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        except (AskbotError, AnswerFailedError) as error:
            if self._head_sent:
                raise ResponseAbortedError from error
            raise
        finally:
            watching.cancel()
        return None

    async def _send_head(self) -> None:
        """Send the head with the first text: until then, an error can have its own status."""
        if not self._head_sent:
            self._head_sent = True
            status = HTTPStatus.OK.value
            await self._send({"type": "http.response.start", "status": status, "headers": self._headers})

    async def _watch_disconnect(self, completion: Completion) -> None:
        """Stop the answer when the client disconnects."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        completion.abandon()


def _parse_prompt(request: Request, body: bytes) -> str:
    """Return the question of a request. Raises `BadRequestError`."""
    kind = request.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise BadRequestError("Content-Type: it should be application/json.", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    try:
        value = JSON_OBJECT_ADAPTER.validate_python(orjson.loads(body))
    except orjson.JSONDecodeError:
        raise BadRequestError('The body is not JSON; it should be like {"userPrompt": "…"}.') from None
    except ValidationError:
        raise BadRequestError('The body should be an object like {"userPrompt": "…"}.') from None
    prompt = value.get("userPrompt")
    if not isinstance(prompt, str):
        raise BadRequestError("userPrompt: it is missing." if prompt is None else "userPrompt: it should be a text.")
    return prompt


def _parse_session(request: Request) -> tuple[str | None, bool]:
    """Return the session to ask in (None: a new one), and whether it is kept. Raises `BadRequestError`."""
    given = request.headers.getlist(SESSION_HEADER)
    if len(given) > 1:
        raise BadRequestError(f"{SESSION_HEADER}: there should be one.")
    if not given:
        return None, False
    return (None if given[0].lower() == NEW_SESSION else given[0]), True


def _error_response(error: AskbotError | AnswerFailedError, headers: dict[str, str]) -> Response:
    status = STATUS_BY_CODE.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    more = {"Retry-After": retry_after(error.retry_after or 1.0)} if status in RETRY_AFTER_STATUSES else {}
    if status is HTTPStatus.UNAUTHORIZED:
        more["WWW-Authenticate"] = CHALLENGE
    return json_response(status, {"error": error.message, "code": error.code}, **more, **headers)
