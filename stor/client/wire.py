"""Requests to one server: pooled connections, deadlines, and what each answer means."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from OpenSSL import SSL
from service_identity import VerificationError
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads, IReactorTCP, IReactorTime
from twisted.web._newclient import ParseError
from twisted.web.client import Agent, HTTPConnectionPool, RequestGenerationFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from stor.client.bodies import Idle, Incoming, Outgoing
from stor.errors import (
    BadRequest,
    Conflict,
    Denied,
    Failed,
    Forbidden,
    Full,
    Missing,
    PreconditionFailed,
    StorError,
    TooLarge,
    TooMany,
    Unavailable,
    Unprocessable,
)

CONNECT_SECONDS = 15.0
IDLE_SECONDS = 60.0  # without a byte in either direction
CONNECTIONS = 8
_REASON_BYTES = 1 << 16
_MEANING: Mapping[int, type[StorError]] = {
    401: Denied,
    403: Forbidden,
    404: Missing,
    409: Conflict,
    412: PreconditionFailed,
    413: TooLarge,
    422: Unprocessable,
    507: Full,
}
_PASSING = {500, 502, 503, 504}
_LASTING = {"OBJECT_DAMAGED"}  # to ask again would not help


class Reactor(IReactorCore, IReactorTime, IReactorTCP, IReactorFromThreads):
    """What a client needs of the reactor."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer; its body must be read to the end, or closed."""

    status: int
    body: Incoming
    _headers: Headers

    def header(self, name: str) -> str | None:
        """Give a header's last value."""
        values = self._headers.getRawHeaders(name)
        return values[-1] if values else None

    def headers(self, prefix: str) -> dict[str, str]:
        """Give those whose lower-case names begin with `prefix`, by the rest of the name."""
        found = ((name.decode("latin-1").lower(), values) for name, values in self._headers.getAllRawHeaders())
        return {
            name.removeprefix(prefix): values[-1].decode(errors="replace")
            for name, values in found
            if name.startswith(prefix)
        }


class Wire:
    """A pool of connections to one server. The token is in no error, no log and no repr."""

    def __init__(self, root: str, token: str | None, reactor: Reactor, idle_seconds: float = IDLE_SECONDS) -> None:
        self._root, self._reactor, self._idle_seconds = root, reactor, idle_seconds
        self._headers = {"user-agent": "stor-sync"}
        if token is not None:
            if not re.fullmatch(r"[!-~]+", token):
                raise BadRequest("the token is no line of printable ASCII without spaces")
            self._headers["authorization"] = f"Bearer {token}"
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = CONNECTIONS
        self._pool.retryAutomatically = False  # we do, and know what for
        self._client = HTTPClient(Agent(reactor, connectTimeout=CONNECT_SECONDS, pool=self._pool))

    def __repr__(self) -> str:
        return f"<Wire {self._root}>"

    async def close(self) -> None:
        """Close the connections that are kept for later."""
        await self._pool.closeCachedConnections()

    async def ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: Outgoing | None = None
    ) -> Answer:
        """Send a request, and give the answer when it is a good one (2xx, 304); raises what any other means."""
        response = await self._send(method, target, {**self._headers, **(headers or {})}, body)
        answer = Answer(response.code, Incoming(response, self._idle_seconds, self._reactor), response.headers)
        if response.code < 300 or response.code == 304:
            return answer
        raise await self._refusal(answer)

    async def _send(self, method: str, target: str, headers: Mapping[str, str], body: Outgoing | None) -> IResponse:
        request = self._client.request(
            method,
            self._root + target,
            headers=Headers({name: [value] for name, value in headers.items()}),
            data=body,
            allow_redirects=False,
            unbuffered=True,
            reactor=cast("Any", self._reactor),  # which treq wants only for a timeout, and we have our own
        )
        idle = Idle(self._idle_seconds, request.cancel, self._reactor)
        idle.moved()
        if body is not None:
            body.moved = idle.moved
        try:
            return await request
        except Exception as why:
            meant = self._meant(why, body, is_late=idle.expired)
            if meant is why:
                raise
            raise meant from None
        finally:
            idle.stop()
            if body is not None:
                await self._let_end(body)

    async def _let_end(self, body: Outgoing) -> None:
        """Whoever answers before it has the body takes it, or hangs up; nobody is waited for without end."""
        idle = Idle(self._idle_seconds, body.stopProducing, self._reactor)
        idle.moved()
        body.moved, body.unwanted = idle.moved, True
        try:
            await body.over()
        finally:
            idle.stop()

    def _meant(self, why: Exception, body: Outgoing | None, *, is_late: bool) -> BaseException:
        """Tell what an error of the connection means."""
        if is_late:
            return Unavailable(f"{self._root} did not answer in {self._idle_seconds:g} s")
        if isinstance(why, RequestGenerationFailed) and body is not None and body.error is not None:
            return body.error
        reasons = _reasons(why)
        for reason in reasons:
            if isinstance(reason, CancelledError):
                return reason
            if isinstance(reason, VerificationError) or "certificate" in str(reason):
                return Failed(f"{self._root}: its certificate is not to be trusted")
        if isinstance(reasons[-1], _AWAY):
            return Unavailable(f"{self._root} cannot be reached: {_said(str(reasons[-1]))}")
        return why

    async def _refusal(self, answer: Answer) -> StorError:
        """Tell what a bad answer means."""
        status, body = answer.status, b""
        with suppress(TooLarge, Unavailable):
            body = await answer.body.whole(_REASON_BYTES)
        detail, code, context = _reason(body)
        text = f"{status} {detail}".rstrip()
        if status in _PASSING and code not in _LASTING:
            return Unavailable(text, _seconds(answer.header("retry-after")))
        if status == 429:
            return TooMany(text, _seconds(answer.header("retry-after")) or 0.0)
        if status < 400:
            return Failed(f"{status}: redirects are not followed, give the URL that is meant")
        meaning = Failed if status >= 500 else BadRequest
        return _MEANING.get(status, meaning)(text, code=code, context=context)


_AWAY = (ConnectError, ConnectionClosed, DNSLookupError, SSL.Error, ParseError, OSError)


def _reasons(why: BaseException) -> Sequence[BaseException]:
    """Give an error and those within it, the innermost last."""
    found = [why]
    for failure in getattr(why, "reasons", ()):
        found += _reasons(failure.value)
    return found


class _Fault(msgspec.Struct, frozen=True):
    message: str = ""
    code: str | None = None
    details: dict[str, str] | None = None


class _Refusal(msgspec.Struct, frozen=True):
    """What an error says, in either of the two shapes that stor gives it; `error` is an object in one of them."""

    detail: str = ""
    error_code: str | None = None
    context: dict[str, str] | None = None
    error: _Fault | str | None = None


def _reason(body: bytes) -> tuple[str, str | None, Mapping[str, str] | None]:
    """Read what an error's body says; nothing of it is trusted to be printable or short."""
    try:
        found = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "", None, None
    if isinstance(found.error, _Fault):
        return _said(found.error.message), found.error.code, found.error.details
    return _said(found.detail), found.error_code, found.context


def _said(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text)[:300]


def _seconds(header: str | None) -> float | None:
    """Read a Retry-After in seconds; a date is no hint for a clock that may be wrong."""
    return float(header) if header is not None and re.fullmatch(r"\d{1,9}", header) else None
