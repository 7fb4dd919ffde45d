"""A real site on a real port, and clients for it: treq, and raw bytes."""

from prometheus_client import CollectorRegistry
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent

from stor.access.address import Trusted
from stor.web.limits import Limits
from stor.web.service import WebService
from stor.web.site import build_site


class Raw(Protocol):
    """Keeps what it hears; `until` fires when enough was heard, `over` when the connection is."""

    def __init__(self):
        self.heard, self.over, self._awaited = b"", Deferred(), []

    def send(self, data):
        self.transport.write(data)
        return self

    def until(self, words):
        heard = Deferred()
        self._awaited.append((words, heard))
        self.dataReceived(b"")
        return heard

    def dataReceived(self, data):
        self.heard += data
        for wish in list(self._awaited):
            if wish[0] in self.heard:
                self._awaited.remove(wish)
                wish[1].callback(self.heard)

    def connectionLost(self, reason):
        self.over.callback(self.heard)


class Serving(TestCase):
    timeout = 20
    limits = Limits()
    trusted = Trusted([])
    drain_seconds = 10.0

    def parts(self):
        return []

    async def setUp(self):
        self.events, self.registry = [], CollectorRegistry()
        self.site = build_site(
            self.parts(),
            self.limits,
            Logger("web", observer=self.events.append),
            self.registry,
            trusted=self.trusted,
            reactor=reactor,
        )
        self.service = WebService(self.site, "127.0.0.1", 0, reactor, self.drain_seconds)
        await self.service.startService()
        self.addCleanup(self.stop)
        self.client = HTTPClient(Agent(reactor))

    async def stop(self):
        if self.service.running:
            for channel in list(self.site.channels):
                channel.abort()
            await self.service.stopService()

    def url(self, path):
        return f"http://127.0.0.1:{self.service.port}{path}"

    async def connect(self):
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.service.port)
        raw = await connectProtocol(endpoint, Raw())
        self.addCleanup(raw.transport.abortConnection)
        return raw

    async def exchange(self, data):
        """Send bytes, and give all that came until the server closed."""
        raw = await self.connect()
        return await raw.send(data).over

    def sample(self, name, **labels):
        return self.registry.get_sample_value(name, labels)
