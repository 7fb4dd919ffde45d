"""The site: routes behind one gate, an access-log line and a measurement for each answer."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast
from uuid import uuid4

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site as TwistedSite

from stor.access.address import Trusted
from stor.errors import StorError
from stor.web import answers
from stor.web.channel import Channel
from stor.web.limits import Limits
from stor.web.metrics import Answered
from stor.web.request import Request
from stor.web.routes import Part, compose

PATH_CHARACTERS = 512  # of a path that are logged


def build_site(
    parts: Iterable[Part],
    limits: Limits,
    logger: Logger,
    registry: CollectorRegistry,
    *,
    trusted: Trusted,
    reactor: IReactorTime,
) -> "Site":
    """Compose the parts' routes into one site, ready to listen."""
    return Site(compose(parts).resource(), limits, logger, Answered(registry), trusted=trusted, reactor=reactor)


class Site(TwistedSite):
    """A twisted.web Site whose channels and requests are ours; `channels` are the open connections."""

    protocol = Channel  # type: ignore[assignment]  # Twisted wraps its own to speak HTTP/2 too
    requestFactory = Request
    reactor: IReactorTime

    def __init__(
        self,
        resource: IResource,
        limits: Limits,
        logger: Logger,
        answered: Answered,
        *,
        trusted: Trusted,
        reactor: IReactorTime,
    ) -> None:
        super().__init__(resource, parsePOSTFormSubmission=False, timeout=limits.idle_seconds, reactor=reactor)
        self.limits, self.trusted = limits, trusted
        self.channels: set[Channel] = set()
        self._logger, self._answered = logger, answered
        self._empty: Deferred[None] | None = None

    def startFactory(self) -> None:
        """Twisted would open a log file and a clock for it here; our log needs neither."""

    def stopFactory(self) -> None:
        """Nothing was opened."""

    def buildProtocol(self, addr: IAddress | None) -> Channel:  # type: ignore[override]
        """Give a new connection its bounds."""
        channel = cast("Channel", super().buildProtocol(addr))
        channel.obey(self.limits)
        return channel

    def getResourceFor(self, request: Request) -> IResource:
        """Find the handler, unless the request itself is wrong."""
        try:
            request.check()
        except StorError as error:
            return _Refusal(error)
        found: IResource = super().getResourceFor(request)
        return found

    def log(self, request: Request) -> None:  # type: ignore[override]
        """One line for each answer; never a query, a header or a body."""
        duration = self.reactor.seconds() - request.received
        method = request.method.decode("ascii", "replace")
        self._answered.note(request.route, method, request.code, duration)
        self._logger.info(
            "{method} {path} {status}",
            method=method[:32],
            path=request.path.decode("ascii", "backslashreplace")[:PATH_CHARACTERS],
            status=request.code,
            bytes=request.sentLength,
            duration=round(duration, 6),
            remote=request.remote,
            request_id=request.request_id,
            principal=request.principal.name if request.principal else None,
        )

    def refusal(self, channel: Channel, status: HTTPStatus) -> bytes:
        """Give the answer to what was no request, and log it."""
        request_id, remote = uuid4().hex, getattr(channel.getPeer(), "host", "")
        self._answered.note("none", "other", status, 0.0)
        self._logger.info("refused {status}", status=status.value, remote=remote, request_id=request_id, principal=None)
        return answers.last_words(status, request_id, datetimeToString())

    def drain(self) -> Deferred[None]:
        """Close idle connections, and the others after their answer; fires when the last is gone."""
        self._empty = Deferred()
        for channel in list(self.channels):
            channel.retire()
        self.channel_gone()
        return self._empty

    def channel_gone(self) -> None:
        """Tell who drains when nobody is left."""
        if self._empty is not None and not self._empty.called and not self.channels:
            self._empty.callback(None)

    def abort(self) -> None:
        """Close all connections at once."""
        for channel in list(self.channels):
            channel.abort()


class _Refusal(Resource):
    isLeaf = True

    def __init__(self, error: StorError) -> None:
        super().__init__()
        self._error = error

    def render(self, request: Any) -> bytes:
        return answers.fault(request, self._error)
