"""The doors of the proxy: who may come to the gate, through a load balancer's PROXY header or TLS if need be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory

from stor.access.address import Short, Trusted, parse, proxy_header
from stor.errors import BadRequest
from stor.redis.gate import Gate
from stor.redis.host import Peer

if TYPE_CHECKING:
    from stor.redis.service import RedisProxy

_HEADER_SECONDS = 5.0


def address_of(address: IAddress | None) -> Peer:
    """Give the peer of an address, an IPv4 one written inside IPv6 as what it is."""
    host = getattr(address, "host", "")
    return Peer(str(parse(host) or host), getattr(address, "port", 0))


class Entrance(Factory):
    """Makes a gate for each client there is room for."""

    noisy = False

    def __init__(self, proxy: RedisProxy) -> None:
        self._proxy = proxy

    def buildProtocol(self, address: IAddress | None) -> Protocol:
        """Give a gate, or Redis's own refusal when the house is full."""
        peer = address_of(address)
        reason = self._proxy.full(peer.host)
        if reason is not None:
            self._proxy.metrics.refused(reason)
            return _Full()
        return self._proxy.arrived(Gate(self._proxy, peer))


class _Full(Protocol):
    """Says so, and closes; over TLS it only closes, as a handshake is work that a flood could ask for."""

    transport: Any

    def connectionMade(self) -> None:
        if hasattr(self.transport, "getPeerCertificate"):
            self.transport.abortConnection()
            return
        self.transport.write(b"-ERR max number of clients reached\r\n")
        self.transport.loseConnection()


class Door(Factory):
    """The outermost factory of a listener: unwraps the PROXY header for whom we trust to send one."""

    noisy = False

    def __init__(self, inner: Factory | WrappingFactory, trusted: Trusted, proxy: RedisProxy) -> None:
        self._inner, self._trusted, self._proxy = inner, trusted, proxy

    def buildProtocol(self, address: IAddress | None) -> Any:
        """Give what listens first: to the header from a trusted address, to the client from any other."""
        if address_of(address).host in self._trusted:
            return _Announced(self._inner, address, self._proxy)
        return self._inner.buildProtocol(address)


class _Announced(Protocol):
    """Reads the PROXY header, which a trusted peer must send, and then makes way."""

    transport: Any

    def __init__(self, inner: Factory | WrappingFactory, address: IAddress | None, proxy: RedisProxy) -> None:
        self._inner, self._address, self._proxy = inner, address, proxy
        self._heard = b""
        self._deadline: Any = None

    def connectionMade(self) -> None:
        self._deadline = self._proxy.reactor.callLater(_HEADER_SECONDS, self._give_up, "it did not come")

    def dataReceived(self, data: bytes) -> None:
        self._heard += data
        try:
            host, port, used = proxy_header(self._heard)
        except Short:
            return
        except BadRequest as why:
            self._give_up(str(why))
            return
        self._stop_deadline()
        address = self._address if host is None else _as_address(host, port or 0)
        inner: Any = self._inner.buildProtocol(address)
        self.transport.protocol = inner  # Twisted's way to change protocols in mid-connection
        inner.makeConnection(self.transport)
        if len(self._heard) > used:
            inner.dataReceived(self._heard[used:])

    def connectionLost(self, reason: object = None) -> None:
        self._stop_deadline()

    def _give_up(self, why: str) -> None:
        Logger().warn("no PROXY header from {address}: {why}", address=address_of(self._address).host, why=why)
        self._proxy.metrics.refused("proxy_header")
        self.transport.abortConnection()

    def _stop_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()


def _as_address(host: str, port: int) -> IAddress:
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)
