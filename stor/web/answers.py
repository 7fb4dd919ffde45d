"""The one table by which our errors become HTTP answers, and the one shape of those answers."""

from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Any

from klein import Klein
from msgspec import json
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from stor.errors import (
    BadRequest,
    Conflict,
    Denied,
    Failed,
    Forbidden,
    Missing,
    TooLarge,
    TooMany,
    Unavailable,
)

if TYPE_CHECKING:
    from stor.web.request import Request

log = Logger()

STATUS: dict[type[BaseException], HTTPStatus] = {
    BadRequest: HTTPStatus.BAD_REQUEST,
    Denied: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    Missing: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    Failed: HTTPStatus.INTERNAL_SERVER_ERROR,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


def status_of(error: BaseException) -> HTTPStatus:
    """Look an error up; what is not in the table is our own fault."""
    known = (kind for kind in type(error).__mro__ if kind in STATUS)
    return STATUS.get(next(known, BaseException), HTTPStatus.INTERNAL_SERVER_ERROR)


def reply(request: "Request", status: HTTPStatus, value: Any) -> bytes:
    """Set status and headers for `value` as JSON, and give the body; Twisted lacks some phrases (422)."""
    body = json.encode(value)
    request.setResponseCode(status, status.phrase.encode())
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", b"%d" % len(body))
    request.setHeader(b"cache-control", b"no-store")
    return body


def fault(request: "Request", error: BaseException) -> bytes:
    """Answer with an error: with its message when it is one of ours, otherwise only with a request id."""
    status = status_of(error)
    hints(request, error)
    if isinstance(error, tuple(STATUS)):
        return reply(request, status, shape(type(error).__name__, str(error), request.request_id))
    log.failure(
        "unexpected error in {route}",
        Failure(error),
        route=request.route,
        request_id=request.request_id,
    )
    return reply(request, status, shape("Failed", "", request.request_id))


def hints(request: "Request", error: BaseException) -> None:
    """Set the headers that tell a client how to do better: RFC 9110, 11.6.1 and 10.2.3."""
    if isinstance(error, Denied):
        request.setHeader(b"www-authenticate", b'Bearer realm="stor"')
    if (seconds := getattr(error, "retry_after", None)) is not None:
        request.setHeader(b"retry-after", b"%d" % max(ceil(seconds), 1))


def shape(error: str, detail: str, request_id: str) -> dict[str, str]:
    """Give the JSON of every error."""
    return {"error": error, "detail": detail, "request_id": request_id}


def last_words(status: HTTPStatus, request_id: str, date: bytes) -> bytes:
    """Give a whole response for a connection that is then closed: there was no request one could answer."""
    body = json.encode(shape(status.phrase.title().replace(" ", ""), status.description, request_id))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n"
        f"X-Request-Id: {request_id}\r\n"
    )
    return head.encode() + b"Date: " + date + b"\r\n\r\n" + body


def speaks_errors(app: Klein) -> Klein:
    """Give an app the table; also for paths and methods that it does not know."""

    @app.handle_errors(HTTPException)
    def unrouted(request: Any, failure: Any) -> bytes:
        error: HTTPException = failure.value
        if isinstance(error, MethodNotAllowed):  # RFC 9110, 15.5.6
            request.setHeader(b"allow", ", ".join(sorted(error.valid_methods or ())).encode())
        status = HTTPStatus(error.code or HTTPStatus.NOT_FOUND)
        name = "Missing" if status == HTTPStatus.NOT_FOUND else type(error).__name__
        return reply(request, status, shape(name, status.description, request.request_id))

    @app.handle_errors(Exception)
    def failed(request: Any, failure: Any) -> bytes:
        if request.startedWriting:  # too late to say anything true: let the client see a broken transfer
            log.failure("error after the answer began", failure, request_id=request.request_id)
            request.channel.abort()
            return b""
        return fault(request, failure.value)

    return app
