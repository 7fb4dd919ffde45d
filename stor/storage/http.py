"""HTTP/1.1 to one server: requests over a few connections that are kept, each with a deadline."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from stor.errors import Unavailable
from stor.storage.connection import Answer, Connection, Request

_WAITING = 1000  # requests that may wait for a connection
_IDLE_SECONDS = 15.0  # less than any server keeps them


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, and what it may cost: connections, and seconds to connect and between signs of life."""

    host: str
    port: int
    tls: bool = False
    ca_file: Path | None = None
    connections: int = 64
    connect_seconds: float = 3.0
    read_seconds: float = 10.0


class Client(Service):
    """Asks `server`. All of it raises Unavailable; `Lost`, when a connection ended before its answer did."""

    def __init__(self, server: Server, reactor: Any) -> None:
        self._server, self._reactor = server, reactor
        self._factory = _Factory(self)
        self._all: set[Connection] = set()
        self._idle: list[Connection] = []
        self._waiting: deque[Deferred[Connection | None]] = deque()
        self._count = 0  # connections, and those that are being made
        self._dialling: set[Deferred[Connection]] = set()
        self._timer: IDelayedCall | None = None
        self._empty: Deferred[None] | None = None
        self._endpoint: Any = None

    def startService(self) -> None:
        """Know whom to trust; connections are made when there is something to ask."""
        super().startService()
        server = self._server
        endpoint: IStreamClientEndpoint = HostnameEndpoint(
            self._reactor, server.host, server.port, timeout=server.connect_seconds
        )
        if server.tls:
            trust = None if server.ca_file is None else trustRootFromCertificates(_authorities(server.ca_file))
            endpoint = wrapClientTLS(optionsForClientTLS(server.host, trustRoot=trust), endpoint)
        self._endpoint = endpoint

    def stopService(self) -> Deferred[None]:
        """Cut all connections; fires when they are gone."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for turn in list(self._waiting):
            turn.cancel()
        for dialling in list(self._dialling):
            dialling.cancel()
        for connection in list(self._all):
            connection.abort("we are stopping")
        if not self._all:
            return succeed(None)
        self._empty = Deferred()
        return self._empty

    async def ask(self, request: Request) -> Answer:
        """Send a request and give its answer; a long body is a Stream that must be closed."""
        connection = await self._connection()
        self._watch()
        return await connection.ask(request, self._server.read_seconds)

    def now(self) -> float:
        """Give the reactor's time in seconds."""
        return float(self._reactor.seconds())

    def free(self, connection: Connection) -> None:
        """Take back a connection that can be used again."""
        if self._waiting:
            self._waiting.popleft().callback(connection)
        else:
            self._idle.append(connection)

    def gone(self, connection: Connection) -> None:
        """Forget a connection."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._less()
        if not self._all and self._empty is not None:
            self._empty.callback(None)

    def _less(self) -> None:
        self._count -= 1
        if self._waiting:
            self._waiting.popleft().callback(None)

    async def _connection(self) -> Connection:
        while True:
            if not self.running:
                raise Unavailable("we are stopping")
            if self._idle:
                return self._idle.pop()
            if self._count < self._server.connections:
                return await self._connect()
            if len(self._waiting) >= _WAITING:
                raise Unavailable("too much waits for the storage", retry_after=1.0)
            connection = await self._turn()
            if connection is not None:
                return connection

    async def _turn(self) -> Connection | None:
        """Wait for a connection that is free, or for room for another (None)."""
        turn: Deferred[Connection | None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        late = self._reactor.callLater(self._server.read_seconds, self._late, turn)
        try:
            return await turn
        finally:
            if late.active():
                late.cancel()

    def _late(self, turn: Deferred[Connection | None]) -> None:
        if not turn.called:
            self._waiting.remove(turn)
            turn.errback(Unavailable("too much waits for the storage", retry_after=1.0))

    async def _connect(self) -> Connection:
        self._count += 1
        dialling = _dial(self._endpoint, self._factory)
        self._dialling.add(dialling)
        try:
            connection = await dialling
        except BaseException as why:
            self._less()
            if isinstance(why, (ConnectError, DNSLookupError)):
                raise Unavailable(f"the storage cannot be reached: {why}", retry_after=1.0) from why
            if not self.running:
                raise Unavailable("we are stopping") from None
            raise
        finally:
            self._dialling.discard(dialling)
        self._all.add(connection)
        return connection

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = self._reactor.callLater(min(0.5, self._server.read_seconds / 8), self._look)

    def _look(self) -> None:
        """Cut what gives no sign of life, and what is idle for long."""
        now = self._reactor.seconds()
        for connection in list(self._all):
            connection.look(now)
        for connection in [idle for idle in self._idle if idle.seen < now - _IDLE_SECONDS]:
            connection.abort("idle")
        self._timer = None
        if self._all:
            self._watch()


def _dial(endpoint: IStreamClientEndpoint, factory: Factory) -> Deferred[Connection]:
    """Connect; who cancels hears CancelledError, not what the endpoint makes of it (that there is no such host)."""

    def give_up(dialling: Deferred[Connection]) -> None:
        dialling.errback(CancelledError())
        connecting.cancel()

    def tell(outcome: Any) -> None:
        if not dialling.called:
            dialling.callback(outcome)  # a Failure too

    dialling: Deferred[Connection] = Deferred(give_up)
    connecting = endpoint.connect(factory).addBoth(tell)
    return dialling


class _Factory(Factory):
    noisy = False

    def __init__(self, client: Client) -> None:
        self._client = client

    def buildProtocol(self, addr: object) -> Connection:
        return Connection(self._client)


def _authorities(file: Path) -> list[Certificate]:
    begin = b"-----BEGIN CERTIFICATE-----"
    return [Certificate.loadPEM(begin + part) for part in file.read_bytes().split(begin)[1:]]
