"""The Redis proxy as a service: its listeners, its sessions, its limits; how it drains and reloads."""

from __future__ import annotations

import select
from collections import Counter
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from stor.access.address import Trusted, neighbourhood, parse
from stor.access.attempts import Attempts
from stor.errors import ConfigError
from stor.redis.certificate import Certificate
from stor.redis.connections import Connections
from stor.redis.door import Door, Entrance
from stor.redis.gate import Gate
from stor.redis.lane import new_framer
from stor.redis.login import Change, Rewriter
from stor.redis.metrics import Metrics
from stor.redis.relay import Relay
from stor.redis.session import Session
from stor.redis.spliced import Spliced, drained
from stor.redis.stream import Streamed
from stor.redis.upstream import Upstream, dial
from stor.redis.users import User, Users

_TICK = 0.005  # seconds between two looks at the sessions while draining; a busy client is seldom quiet for longer
_LAST = 2.0  # seconds for aborted connections to go


@dataclass(frozen=True)
class Limits:
    """What the proxy puts up with. Counts are connections, times seconds, sizes bytes."""

    connections: int = 10_000
    connections_per_address: int = 1_000
    unauthenticated: int = 1_000
    login_seconds: float = 10.0
    connect_seconds: float = 5.0
    drain_seconds: float = 10.0
    failures: int = 10
    failure_seconds: float = 60.0
    output_bytes: int = 64 * 1024
    request_bytes: int = 1 << 20


@dataclass(frozen=True)
class Listener:
    """An address to listen on; with a certificate, for TLS."""

    host: str
    port: int
    certificate: Certificate | None = None


class RedisProxy(Service):
    """Takes our password, signs in upstream with the real one, and is otherwise not there."""

    def __init__(
        self,
        listeners: list[Listener],
        users: Users,
        limits: Limits,
        trusted: Trusted,
        registry: CollectorRegistry,
        reactor: Any,
    ) -> None:
        self.reactor = reactor
        self._listeners, self._users, self._limits, self._trusted = listeners, users, limits, trusted
        self.login_seconds, self.connect_seconds = limits.login_seconds, limits.connect_seconds
        self.output_bytes = limits.output_bytes
        self._attempts = Attempts(limits.failures, limits.failure_seconds, reactor)
        self._now = Connections()
        self._relay = Relay(reactor) if hasattr(select, "epoll") else None
        self._nobody_left: Deferred[None] | None = None
        self.ports: list[IListeningPort] = []
        self.metrics = Metrics(registry, lambda: Counter(user.name for user in self._now.sessions.values()))
        self.metrics.read_bytes_from(self._live_bytes)

    # ---- running

    def startService(self) -> Deferred[None]:
        """Listen; fires when every listener does."""
        self.check(self._users)
        super().startService()
        if self._relay is not None:
            self._relay.start()
        return Deferred.fromCoroutine(self._listen())

    def check(self, users: Users) -> None:
        """Raise ConfigError when these users may not be served where we listen."""
        for listener in self._listeners:
            if users.open_as is not None and not _is_loopback(listener.host):
                raise ConfigError(f"redis: no password is set, so {listener.host} may not be listened on")

    async def _listen(self) -> None:
        for listener in self._listeners:
            endpoint = TCP6ServerEndpoint if ":" in listener.host else TCP4ServerEndpoint
            inner: Any = Entrance(self)
            if listener.certificate is not None:
                inner = TLSMemoryBIOFactory(listener.certificate, isClient=False, wrappedFactory=inner)
            door = Door(inner, self._trusted, self)
            try:
                port = await endpoint(self.reactor, listener.port, 1024, listener.host).listen(door)
            except Exception as why:
                raise ConfigError(f"redis: cannot listen on {listener.host}, port {listener.port}: {why}") from why
            self.ports.append(port)
            Logger().info(
                "redis listens on {host} port {port}{how}",
                host=listener.host,
                port=port.getHost().port,
                how="" if listener.certificate is None else " (TLS)",
            )

    def stopService(self) -> Deferred[None]:
        """Stop listening, let what is under way finish until the deadline, close the rest."""
        super().stopService()
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        ports, self.ports = self.ports, []
        await DeferredList([maybeDeferred(port.stopListening) for port in ports])
        for gate in list(self._now.gates):
            if gate.session is None:
                gate.close()
        await self._let_finish()
        if self._now.sessions:
            Logger().warn("{count} sessions were still busy at the deadline", count=len(self._now.sessions))
        for session in list(self._now.sessions):
            session.abort()
        if self._now.gates or self._now.sessions:
            self._nobody_left = Deferred()
            await self._nobody_left.addTimeout(_LAST, self.reactor, lambda *_: None)
        if self._relay is not None:
            self._relay.stop()

    async def _let_finish(self) -> None:
        """End the requests of each session that has been idle, without a byte, from one look to the next."""
        deadline = self.reactor.seconds() + self._limits.drain_seconds
        seen: dict[Session, tuple[int, int]] = {}
        while self._now.sessions and self.reactor.seconds() < deadline:
            for session in list(self._now.sessions):
                if session.idle and seen.get(session) == session.traffic:
                    session.finish()
            seen = {session: session.traffic for session in self._now.sessions}
            await deferLater(self.reactor, min(_TICK, self._limits.drain_seconds))

    def reload(self, users: Users) -> None:
        """Take other users and passwords, and look at the certificates; sessions go on as they are.

        Raises ConfigError, as `check` does.
        """
        self.check(users)
        self._users = users
        for listener in self._listeners:
            if listener.certificate is not None:
                listener.certificate.look()

    # ---- what doors ask

    def full(self, host: str) -> str | None:
        """Say why a client at this address may not come in now, None when it may."""
        now, limits = self._now, self._limits
        if len(now.gates) >= limits.connections:
            return "connections"
        if now.unauthenticated >= limits.unauthenticated and not self._make_room(neighbourhood(host)):
            return "unauthenticated"
        if now.by_address[neighbourhood(host)] >= limits.connections_per_address and host not in self._trusted:
            return "connections_per_address"
        return None

    def _make_room(self, place: str) -> bool:
        """Send away the oldest stranger of the address that has the most, unless that is the newcomer's own."""
        strangers = self._now.strangers
        crowded = max(strangers, key=lambda there: len(strangers[there]))
        if len(strangers[crowded]) <= len(strangers.get(place, ())) + 1:
            return False
        oldest = next(iter(strangers[crowded]))
        self._now.known(oldest, crowded)
        self.metrics.refused("crowded_out")
        oldest.close()
        return True

    def arrived(self, gate: Gate) -> Gate:
        """Count a connection in."""
        self._now.came(gate, neighbourhood(gate.peer.host))
        return gate

    # ---- what gates ask

    def left(self, gate: Gate) -> None:
        """Count a connection out."""
        self._now.went(gate, neighbourhood(gate.peer.host))
        self._tell_when_empty()

    def open_user(self) -> User | None:
        """Give the user that everybody is, when no passwords are configured."""
        return self._users.open_as

    def judge(self, address: str, name: bytes, password: bytes) -> User | None:
        """Give the user of this name and password; a failure is charged to the address, whoever it was.

        A success takes nothing off that account: it would let anybody with one password guess another for ever.
        """
        self._attempts.check(address)
        user = self._users.check(name, password)
        if user is None:
            self._attempts.failed(address)
            Logger().warn("wrong password from {address}", address=address)
        return user

    def counted(self, outcome: str) -> None:
        """Count a login by its outcome."""
        self.metrics.login(outcome)

    async def dial(self, user: User) -> Upstream:
        """Connect to the user's server."""
        began = self.reactor.seconds()
        upstream = await dial(user.server, self._limits.connect_seconds, self.reactor)
        self.metrics.dialled(self.reactor.seconds() - began)
        return upstream

    async def begin(self, gate: Gate, upstream: Upstream, user: User, change: Change) -> Session:
        """Make the session of a client that has logged in."""
        is_open = self._users.open_as is not None
        rewriter = Rewriter(new_framer(), (lambda _: None) if is_open else change, self._limits.request_bytes)

        def gone() -> None:
            self.metrics.finished(session.traffic)
            self._now.sessions.pop(session, None)
            self._tell_when_empty()

        session: Session
        if self._relay is not None and Spliced.possible(gate.transport, upstream.transport):
            await drained(gate.transport)
            session = Spliced(self._relay, gate, upstream, rewriter, gone)
        else:
            session = Streamed(self.reactor, gate, upstream, rewriter, gone)
        self._now.known(gate, neighbourhood(gate.peer.host))
        self._now.sessions[session] = user
        self.metrics.began(user.name)
        return session

    # ---- itself

    def _live_bytes(self) -> tuple[int, int]:
        pairs = [session.traffic for session in self._now.sessions]
        return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)

    def _tell_when_empty(self) -> None:
        if self._nobody_left is not None and not self._now.gates and not self._now.sessions:
            nobody, self._nobody_left = self._nobody_left, None
            nobody.callback(None)


def _is_loopback(host: str) -> bool:
    address = parse(host)
    return host == "localhost" if address is None else address.is_loopback
