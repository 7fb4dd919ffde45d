"""The one table by which our errors become HTTP answers, and the shapes of those answers."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from json import dumps
from math import ceil

from msgspec import json, to_builtins
from twisted.logger import Logger
from twisted.python.failure import Failure

from stor.errors import (
    BadRequest,
    Conflict,
    Denied,
    Failed,
    Forbidden,
    Full,
    LengthRequired,
    Missing,
    NotSatisfiable,
    PreconditionFailed,
    StorError,
    TooLarge,
    TooMany,
    Unavailable,
    Unprocessable,
    UnsupportedType,
)
from stor.web.answer import JSON_HEADERS, Answer, Header

log = Logger()

Shape = Callable[[int, BaseException, str], object]  # status, error, request id -> the JSON of the answer

STATUS: dict[type[BaseException], HTTPStatus] = {
    BadRequest: HTTPStatus.BAD_REQUEST,
    LengthRequired: HTTPStatus.LENGTH_REQUIRED,
    UnsupportedType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Denied: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    Missing: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    NotSatisfiable: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    Unprocessable: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    Failed: HTTPStatus.INTERNAL_SERVER_ERROR,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Full: HTTPStatus.INSUFFICIENT_STORAGE,
}


class NoRoute(StorError):
    """No part offers this path, or not by this method; `allowed` are the methods that it has."""

    def __init__(self, allowed: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.allowed = allowed


def default_shape(status: int, error: BaseException, request_id: str) -> object:
    """Give the JSON of an error: its name, its message, and the id to ask about."""
    return {"error": type(error).__name__, "detail": str(error), "request_id": request_id}


def unrouted_shape(status: int, error: BaseException, request_id: str) -> object:
    """Give the JSON of an unknown path or method, which belong to no part."""
    return {"detail": HTTPStatus(status).phrase}


def status_of(error: BaseException) -> HTTPStatus:
    """Look an error up; what is not in the table is our own fault."""
    if isinstance(error, NoRoute):
        return HTTPStatus.METHOD_NOT_ALLOWED if error.allowed else HTTPStatus.NOT_FOUND
    known = (kind for kind in type(error).__mro__ if kind in STATUS)
    return STATUS.get(next(known, BaseException), HTTPStatus.INTERNAL_SERVER_ERROR)


def is_expected(error: BaseException) -> bool:
    """Tell whether a caller may know of this error."""
    return isinstance(error, (NoRoute, *STATUS))


def is_told(error: BaseException) -> bool:
    """Tell whether its words are for callers, too: those of something that failed only if it has a code for them."""
    return is_expected(error) and not (isinstance(error, Failed) and error.code is None)


def note(error: BaseException, route: str, request_id: str) -> None:
    """Log what will be a 500: its answer has no more than the request's id."""
    if not is_expected(error):
        log.failure("unexpected error in {route}", Failure(error), route=route, request_id=request_id)
    elif status_of(error) is HTTPStatus.INTERNAL_SERVER_ERROR:
        said = {"kind": type(error).__name__, "why": str(error)}
        log.error("{route} failed: {kind}: {why}", route=route, request_id=request_id, **said)


def fault(error: BaseException, shape: Shape, request_id: str, headers: Sequence[Header] = ()) -> Answer:
    """Answer with an error: with its words when they are for callers, otherwise only with a request id.

    `headers` stand beside its own. Never raises, for there would be no answer then: an error that cannot be shown is
    a 500.
    """
    try:
        status = status_of(error)
        shown = error if is_told(error) else Failed()
        body = _encoded(shape(status.value, shown, request_id))
        return Answer(status.value, (*JSON_HEADERS, *hints(error), *headers), body)
    except Exception:  # noqa: BLE001 - a part's shape may do anything
        log.failure("an error cannot be shown", request_id=request_id)
        return Answer(500, JSON_HEADERS, json.encode(default_shape(500, Failed(), request_id)))


def _encoded(value: object) -> bytes:
    """Give JSON; an error may repeat what somebody sent, and what was not UTF-8 in it becomes question marks."""
    try:
        return json.encode(value)
    except UnicodeEncodeError:
        return dumps(to_builtins(value), ensure_ascii=False).encode(errors="replace")


def hints(error: BaseException) -> tuple[Header, ...]:
    """Give the headers that tell a client how to do better: RFC 9110, 10.2.1, 10.2.3, 11.6.1 and 14.4."""
    found: list[Header] = []
    if isinstance(error, Denied):
        found.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, NotSatisfiable):
        found.append((b"content-range", b"bytes */%d" % error.size))
    if isinstance(error, NoRoute) and error.allowed:
        found.append((b"allow", ", ".join(sorted(error.allowed)).encode()))
    if (seconds := getattr(error, "retry_after", None)) is not None:
        found.append((b"retry-after", b"%d" % max(ceil(seconds), 1)))
    return tuple(found)


def last_words(status: HTTPStatus, request_id: str, date: bytes) -> bytes:
    """Give a whole response for a connection that is then closed: there was no request one could answer."""
    name = status.phrase.title().replace(" ", "")
    body = json.encode({"error": name, "detail": status.description or status.phrase, "request_id": request_id})
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n"
        f"X-Request-Id: {request_id}\r\n"
    )
    return head.encode() + b"Date: " + date + b"\r\n\r\n" + body
