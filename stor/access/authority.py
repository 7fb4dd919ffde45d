"""Asking somebody else over HTTP: with a deadline, few connections, and a bounded answer."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from treq.client import HTTPClient
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers

from stor.errors import Unavailable

log = Logger()

CONNECTIONS = 16  # that are kept for the next request
ANSWER_BYTES = 1 << 18
RETRY_AFTER = 5.0  # seconds, where nobody knows better
_STALE = (RequestTransmissionFailed, ResponseNeverReceived)


class Told(NamedTuple):
    """What was answered."""

    status: int
    body: bytes


class Authority(Service):
    """One other server, `name` for logs and errors; a redirect is an answer like any other, and not followed."""

    def __init__(self, name: str, seconds: float, reactor: Any) -> None:
        self.name = name
        self._seconds, self._reactor = seconds, reactor
        self._talks: set[Deferred[Told]] = set()
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = CONNECTIONS
        self._client = HTTPClient(Agent(reactor, connectTimeout=seconds, pool=self._pool))

    def stopService(self) -> Deferred[None]:
        """Give up what is under way, and close the connections that were kept."""
        super().stopService()
        for talk in list(self._talks):
            talk.cancel()
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    async def ask_for(self, method: str, url: str, body: bytes | None = None, *, headers: Mapping[str, str]) -> Told:
        """Give the answer, whatever its status; Unavailable when there is none in time, or one that is too long.

        A request over a kept connection that the server had closed meanwhile is sent again, once: so it must be one
        that may be repeated.
        """
        told = Headers({name: [value] for name, value in headers.items()})
        talk = Deferred.fromCoroutine(self._talk(method, url, body, told))
        self._talks.add(talk)
        try:
            return await talk.addTimeout(self._seconds, self._reactor)
        except Exception as why:
            log.warn("{name} cannot be reached: {why}", name=self.name, why=type(why).__name__)
            raise Unavailable(f"{self.name} cannot be reached", retry_after=RETRY_AFTER) from why
        finally:
            self._talks.discard(talk)

    async def _talk(self, method: str, url: str, body: bytes | None, headers: Headers) -> Told:
        try:
            return await self._once(method, url, body, headers)
        except _STALE as why:
            if any(reason.check(CancelledError) for reason in why.reasons):
                raise
            return await self._once(method, url, body, headers)

    async def _once(self, method: str, url: str, body: bytes | None, headers: Headers) -> Told:
        response = await self._client.request(
            method, url, data=body, headers=headers, allow_redirects=False, unbuffered=True
        )
        return Told(response.code, await _read(response))


class _Response(Protocol):
    def deliverBody(self, protocol: TwistedProtocol) -> None: ...


def _read(response: _Response) -> Deferred[bytes]:
    """Give the body; cancelling closes the connection, so that none is left hanging."""
    body = _Body()
    response.deliverBody(body)
    return body.whole


class _Body(TwistedProtocol):
    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._pieces: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > ANSWER_BYTES:
            self._abort()
        else:
            self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.whole.called:
            return
        if reason.check(ResponseDone) and self._size <= ANSWER_BYTES:
            self.whole.callback(b"".join(self._pieces))
        else:
            self.whole.errback(reason)

    def _abort(self) -> None:
        """Close at once, without waiting for a peer that hangs: what Twisted shows us here can only close politely."""
        transport: Any = self.transport
        if transport is not None:
            behind = getattr(transport, "_producer", None)
            getattr(behind, "abortConnection", transport.loseConnection)()
