"""The site: one gate, one log and one set of figures for all connections."""

import re
from collections import Counter
from collections.abc import Iterable
from http import HTTPStatus
from secrets import token_hex
from time import time

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.web.http import datetimeToString

from stor.access.address import Trusted, neighbourhood
from stor.threads import Threads
from stor.web import answers
from stor.web.accesslog import AccessLog
from stor.web.call import Call
from stor.web.channel import Channel
from stor.web.dispatch import Routes
from stor.web.gate import Closed, Gate
from stor.web.limits import Limits
from stor.web.metrics import Figures
from stor.web.routes import Part

SENDING_THREADS = 4  # that push files into sockets; only the disk makes them wait
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def build_site(
    parts: Iterable[Part],
    limits: Limits,
    log: AccessLog,
    registry: CollectorRegistry,
    *,
    gate: Gate | None = None,
    trusted: Trusted,
    reactor: IReactorTime,
) -> "Site":
    """Compose the parts' routes into one site, ready to listen; ValueError when one needs a gate and there is none."""
    routes = [route for part in parts for route in part.routes()]
    if gate is None and (guarded := [route.rule for route in routes if route.permission is not None]):
        raise ValueError(f"nobody guards {', '.join(guarded)}")
    return Site(
        Routes(routes), limits, log, Figures(registry), gate or Gate(Closed()), trusted=trusted, reactor=reactor
    )


class Site(Factory):
    """Makes a Channel for each connection, within bounds, and knows them all."""

    noisy = False

    def __init__(
        self,
        routes: Routes,
        limits: Limits,
        log: AccessLog,
        figures: Figures,
        gate: Gate,
        *,
        trusted: Trusted,
        reactor: IReactorTime,
    ) -> None:
        self.routes, self.limits, self.log, self.figures = routes, limits, log, figures
        self.gate, self.trusted, self.reactor = gate, trusted, reactor
        self.threads = Threads("web", SENDING_THREADS, reactor, waiting=limits.connections)
        self.channels: set[Channel] = set()
        self._counts: Counter[str] = Counter()
        self._empty: Deferred[None] | None = None
        self._series, self._number = token_hex(8), 0
        self._second, self._date = 0, b""

    def buildProtocol(self, addr: IAddress | None) -> Channel:
        """Give a new connection its channel."""
        return Channel(self)

    # ---- connections

    def joined(self, channel: Channel) -> HTTPStatus | None:
        """Count a connection; give the status it is turned away with when there are too many."""
        self.channels.add(channel)
        self.figures.connections = len(self.channels)
        if len(self.channels) > self.limits.connections:
            self.figures.refused("connections")
            return HTTPStatus.SERVICE_UNAVAILABLE
        if channel.peer in self.trusted:
            return None
        key = channel.counted = neighbourhood(channel.peer)
        self._counts[key] += 1
        if self._counts[key] > self.limits.connections_per_address:
            self.figures.refused("connections_per_address")
            return HTTPStatus.TOO_MANY_REQUESTS
        return None

    def left(self, channel: Channel) -> None:
        """Forget a connection, and tell who drains when nobody is left."""
        self.channels.discard(channel)
        self.figures.connections = len(self.channels)
        key = channel.counted
        if key is not None:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
        self._tell_when_empty()

    def drain(self) -> Deferred[None]:
        """Close idle connections, and the others after their answer; fires when the last is gone."""
        self._empty = Deferred()
        for channel in list(self.channels):
            channel.retire()
        self._tell_when_empty()
        return self._empty

    def abort(self) -> None:
        """Close all connections at once."""
        for channel in list(self.channels):
            channel.abort()

    def _tell_when_empty(self) -> None:
        if self._empty is not None and not self._empty.called and not self.channels:
            self._empty.callback(None)

    # ---- what every answer needs

    def request_id(self, given: bytes | None) -> str:
        """Take over a well-formed id, or make one: 16 digits that are ours alone, and a number."""
        if given is not None and _ID.fullmatch(given):
            return given.decode()
        self._number += 1
        return f"{self._series}{self._number:016x}"

    def date(self) -> bytes:
        """Give the value of Date; made anew each second."""
        second = int(time())
        if second != self._second:
            self._second, self._date = second, datetimeToString(second)
        return self._date

    def turn(self) -> Deferred[None]:
        """Let the reactor look after others; fires in its next turn."""
        return deferLater(self.reactor, 0)

    def note(self, call: Call, status: int, size: int, begun: float) -> None:
        """Tell figures, log and audit of an answer."""
        duration = self.reactor.seconds() - begun
        figures = self.figures
        figures.in_flight -= 1
        figures.sent += size
        figures.note(call.route, call.method, status, duration)
        self.log.note(call, status, size, duration)
        if self.gate.audit is not None and call.route != "none":
            self.gate.audit.note(call, status)

    def refusal(self, channel: Channel, status: HTTPStatus, call: Call | None = None) -> bytes:
        """Give the last words for a connection; logged here when they answer no request."""
        request_id = self.request_id(None) if call is None else call.request_id
        if call is None:
            self.figures.note("none", "other", status.value, 0.0)
            self.log.refused(status.value, channel.peer, request_id)
        return answers.last_words(status, request_id, self.date())
