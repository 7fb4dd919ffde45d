"""The way to a real Redis: resolved, dialled and signed in anew for every session."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from OpenSSL import SSL, crypto
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure
from zope.interface import implementer

from stor.access.address import parse
from stor.errors import ConfigError, Unavailable
from stor.redis.login import Credential, without_logins
from stor.redis.resp import encode

if TYPE_CHECKING:
    from stor.redis.session import Session

_LONGEST_LINE = 64 * 1024


@dataclass(frozen=True)
class Server:
    """Where a Redis is; `insecure` leaves its certificate unverified."""

    host: str
    port: int
    tls: bool = False
    ca_file: Path | None = None
    insecure: bool = False


@dataclass(frozen=True)
class Signed:
    """What came of a sign-in: what the client is to hear, or upstream's refusal of our credential."""

    reply: bytes
    refusal: bytes = b""
    knows_hello: bool = False


class Upstream(Protocol):
    """One connection to a Redis: the answers to a sign-in, then whatever the session makes of it."""

    transport: Any
    session: Session | None = None

    def __init__(self) -> None:
        self._heard = b""
        self._answered: Deferred[bytes] | None = None
        self._lines = 1

    async def sign_in(self, credential: Credential, words: list[bytes] | None) -> Signed:
        """Sign in with `credential` by AUTH, and answer the client's own login `words` (None: nobody asked).

        AUTH is the one command whose words no server shows. Behind it goes the client's HELLO without its
        login or, for one that came by AUTH, a HELLO that changes nothing and tells whether the server knows it.
        Raises Unavailable when the connection ends before it is answered.
        """
        if words is None:
            heard = await self._ask(encode(credential.auth()), 1) if credential else b"+OK\r\n"
            first, rest = heard.split(b"\r\n", 1)
            return Signed(rest, refusal=first if first[:1] == b"-" else b"")
        by_hello = words[0].upper() == b"HELLO"
        second = without_logins(words) if by_hello else [b"HELLO", b"0"]
        heard = await self._ask(encode(credential.auth()) + encode(second), 2)
        first, rest = heard.split(b"\r\n", 1)
        if first[:1] == b"-":
            return Signed(b"", refusal=first)
        knows_hello = not rest.lower().startswith(b"-err unknown command")
        return Signed(rest if by_hello else first + b"\r\n" + rest.split(b"\r\n", 1)[1], knows_hello=knows_hello)

    async def _ask(self, frames: bytes, lines: int) -> bytes:
        """Send; give all that came once there are so many lines, or the first one is a refusal."""
        self._answered, self._lines = Deferred(), lines
        self.transport.write(frames)
        self.transport.resumeProducing()
        return await self._answered

    def connectionMade(self) -> None:
        """Make small requests go out at once and a dead peer be noticed; read only when somebody listens."""
        self.transport.setTcpNoDelay(True)
        keep_alive(self.transport)
        self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        """Take the answer to the sign-in, or pass on."""
        if self.session is not None:
            self.session.upstream_said(data)
            return
        self._heard += data
        lines = self._heard.count(b"\r\n")
        if lines >= self._lines or (lines and self._heard[:1] == b"-") or len(self._heard) > _LONGEST_LINE:
            self.transport.pauseProducing()  # the rest waits until the session has begun
            if self._answered is not None:
                heard, self._heard = self._heard, b""
                answered, self._answered = self._answered, None
                answered.callback(heard)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Tell whoever waits."""
        if self.session is not None:
            self.session.lost(self)
        elif self._answered is not None:
            answered, self._answered = self._answered, None
            said = "" if reason is None else reason.getErrorMessage()
            answered.errback(Unavailable(f"upstream ended the connection instead of answering: {said}"))


class _Dialling(Factory):
    noisy = False
    protocol = Upstream


async def dial(server: Server, seconds: float, reactor: Any) -> Upstream:
    """Connect, both address families racing, the name looked up anew.

    Raises Unavailable, whose text names the server: for the log, not for a client.
    """
    endpoint = _endpoint(server, seconds, reactor)
    if server.tls:
        endpoint = wrapClientTLS(_client_tls(server), endpoint)
    try:
        return cast("Upstream", await endpoint.connect(_Dialling()))
    except (CancelledError, ConnectingCancelledError):
        raise  # it was the client who left
    except Exception as why:
        raise Unavailable(f"cannot reach {server.host}:{server.port}: {why or type(why).__name__}") from why


def _endpoint(server: Server, seconds: float, reactor: Any) -> Any:
    address = parse(server.host)
    if address is None:
        return HostnameEndpoint(reactor, server.host, server.port, timeout=seconds)
    kind = TCP4ClientEndpoint if address.version == 4 else TCP6ClientEndpoint  # no look-up, half the work
    return kind(reactor, server.host, server.port, timeout=seconds)


async def probe(server: Server, credential: Credential, seconds: float, reactor: Any) -> None:
    """Sign in and leave again; raises Unavailable when that does not work within `seconds`."""
    try:
        said = await Deferred.fromCoroutine(_signed_in(server, credential, seconds, reactor)).addTimeout(
            seconds, reactor
        )
    except TooLate:
        raise Unavailable(f"Redis did not answer within {seconds:g} s") from None
    if said.refusal:
        raise Unavailable("Redis refuses our credential")


async def _signed_in(server: Server, credential: Credential, seconds: float, reactor: Any) -> Signed:
    upstream = await dial(server, seconds, reactor)
    try:
        return await upstream.sign_in(credential, [b"AUTH"])
    finally:
        upstream.transport.abortConnection()


def keep_alive(transport: Any) -> None:
    """Notice a peer that has gone without a word after five minutes, as Redis does, not after two hours."""
    transport.setTcpKeepAlive(True)
    plain = getattr(transport, "transport", transport).getHandle()  # under TLS, the transport below it
    if hasattr(socket, "TCP_KEEPIDLE"):
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 300)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 100)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def check(server: Server) -> None:
    """Raise ConfigError when the CA file cannot be used; it is read here, and used until the next check."""
    _client_tls.cache_clear()
    if server.tls:
        _client_tls(server)


@lru_cache(maxsize=64)
def _client_tls(server: Server) -> IOpenSSLClientConnectionCreator:
    if server.insecure:
        return _Unverified(server.host)
    if server.ca_file is None:
        return optionsForClientTLS(server.host)
    try:
        authorities = _certificates(server.ca_file.read_bytes())
    except (OSError, crypto.Error) as why:
        raise ConfigError(f"cannot use the CA file {server.ca_file}: {why or 'not a certificate'}") from why
    trust = trustRootFromCertificates(authorities)
    return optionsForClientTLS(server.host, trustRoot=trust)


def _certificates(pem: bytes) -> list[Certificate]:
    end = b"-----END CERTIFICATE-----"
    found = [Certificate.loadPEM(part + end) for part in pem.split(end)[:-1]]
    if not found:
        raise crypto.Error
    return found


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """TLS against listeners only: the name is sent (SNI), the certificate not looked at."""

    def __init__(self, host: str) -> None:
        self._host = host.encode("idna")
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)

    def clientConnectionForTLS(self, tls: Any) -> SSL.Connection:
        """Make the connection object for one connection."""
        connection = SSL.Connection(self._context, None)
        connection.set_tlsext_host_name(self._host)
        return connection
