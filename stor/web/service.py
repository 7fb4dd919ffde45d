"""A site that listens, and stops without cutting anybody off."""

from typing import cast

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTCP, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from stor.errors import ConfigError
from stor.web.site import Site

log = Logger()

DRAIN_SECONDS = 10.0


class IReactor(IReactorTCP, IReactorTime):
    """What listening needs of the reactor: sockets and delayed calls."""


class WebService(Service):
    """Listens on `host` and `port` (0: any free one); `port` is the real one after the start."""

    _listening: IListeningPort | None = None

    def __init__(
        self,
        site: Site,
        host: str,
        port: int,
        reactor: IReactor,
        drain_seconds: float = DRAIN_SECONDS,
        lame_duck_seconds: float = 0.0,
    ) -> None:
        self.host, self.port = host, port
        self._site, self._reactor = site, reactor
        self._drain_seconds, self._lame_duck_seconds = drain_seconds, lame_duck_seconds

    def startService(self) -> Deferred[None]:
        """Fire when connections are taken; ConfigError when the address cannot be had."""
        super().startService()
        self._site.threads.startService()
        return Deferred.fromCoroutine(self._listen())

    def stopService(self) -> Deferred[None]:
        """Serve on for the lame-duck seconds, listen no more, finish what is under way in time, cut the rest."""
        super().stopService()
        return Deferred.fromCoroutine(self._close())

    async def _listen(self) -> None:
        endpoint = TCP6ServerEndpoint if ":" in self.host else TCP4ServerEndpoint
        try:
            self._listening = await endpoint(self._reactor, self.port, interface=self.host).listen(self._site)
        except CannotListenError as why:
            raise ConfigError(f"web cannot listen on {self.host} port {self.port}: {why.socketError}") from None
        self.port = cast("IPv4Address | IPv6Address", self._listening.getHost()).port
        log.info("web listens on {host} port {port}", host=self.host, port=self.port)

    async def _close(self) -> None:
        if self._listening is not None:
            if self._lame_duck_seconds:  # balancers see by now that we are not ready
                await deferLater(self._reactor, self._lame_duck_seconds)
            await maybeDeferred(self._listening.stopListening)
        gone = self._site.drain()
        deadline = self._reactor.callLater(self._drain_seconds, self._site.abort)
        await gone
        await maybeDeferred(self._site.threads.stopService)
        self._site.log.flush()
        if deadline.active():
            deadline.cancel()
