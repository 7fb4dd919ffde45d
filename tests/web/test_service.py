from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater

from stor.errors import ConfigError
from stor.web import channel
from stor.web.answer import Answer
from stor.web.routes import Route
from stor.web.service import WebService
from tests.web.serving import Raw, Serving

WORK = b"GET /work HTTP/1.1\r\nHost: h\r\n\r\n"


class Service(Serving):
    def parts(self):
        self.entered, self.go_on = Deferred(), Deferred()
        return [self]

    def routes(self):
        return [Route("GET", "/work", self.work)]

    async def work(self, call):
        self.entered.callback(None)
        await self.go_on
        return Answer(body=b"done")


class StartTests(Service):
    async def test_port(self):
        """Port 0 is any free one; the real one is known after the start."""
        self.assertGreater(self.service.port, 0)

    async def test_taken(self):
        """An address that cannot be had is the operator's to change, and the message names it."""
        other = WebService(self.site, "127.0.0.1", self.service.port, reactor)
        error = await self.assertFailure(other.startService(), ConfigError)
        self.assertIn(f"127.0.0.1 port {self.service.port}", str(error))
        await other.stopService()

    async def test_ipv6(self):
        """An IPv6 address is listened on as one."""
        other = WebService(self.site, "::1", 0, reactor)
        await other.startService()
        self.addCleanup(other.stopService)
        raw = await connectProtocol(TCP6ClientEndpoint(reactor, "::1", other.port), Raw())
        heard = await raw.send(b"GET /nothing HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n").over
        self.assertIn(b" 404 ", heard)


class StopTests(Service):
    drain_seconds = 60.0  # longer than a test may take: nothing here is ended by the deadline

    async def test_finishes(self):
        """A stop waits for the answer under way, closes after it, and takes nobody new."""
        idle, busy = await self.connect(), await self.connect()
        busy.send(WORK)
        await self.entered
        stopped = self.service.stopService()
        self.assertEqual(await idle.over, b"")
        await self.assertFailure(self.connect_deferred(), ConnectError)
        self.assertFalse(stopped.called)
        self.go_on.callback(None)
        heard = await busy.over
        self.assertTrue(heard.endswith(b"\r\n\r\ndone"), heard)
        self.assertIn(b"connection: close", heard.lower())
        await stopped

    def connect_deferred(self):
        return Deferred.fromCoroutine(self.connect())

    async def test_half_received(self):
        """A request whose header is still coming is answered too, as the last on its connection."""
        self.go_on.callback(None)
        busy = await self.connect()
        busy.send(WORK[:-2])
        await deferLater(reactor, 0.05)
        stopped = self.service.stopService()
        busy.send(WORK[-2:] + WORK)
        self.assertEqual((await busy.over).count(b"200 OK"), 1)
        await stopped

    async def test_half_for_ever(self):
        """A header that does not come to its end is not waited for as long as a request is."""
        self.patch(channel, "RETIRE_SECONDS", 0.1)
        half = await self.connect()
        half.send(WORK[:-2])
        await deferLater(reactor, 0.05)
        begun = reactor.seconds()
        await self.service.stopService()
        self.assertLess(reactor.seconds() - begun, 5)  # of the ten that a header may take
        self.assertIn(b"HTTP/1.1 408 ", await half.over)

    async def test_nobody(self):
        """With nobody there a stop is over at once, and leaves no timer."""
        await self.service.stopService()


class LameDuckTests(Service):
    lame_duck_seconds = 0.5

    async def test_serves_on(self):
        """For so long new connections are taken, and the old ones live on; then it is a stop as any other."""
        self.go_on.callback(None)
        idle = await self.connect()
        begun = reactor.seconds()
        stopped = self.service.stopService()
        await idle.send(WORK).until(b"done")
        self.entered = Deferred()
        heard = await (await self.connect()).send(WORK).until(b"done")
        self.assertNotIn(b"connection: close", heard.lower() + idle.heard.lower())
        await stopped
        self.assertGreaterEqual(reactor.seconds() - begun, 0.5)
        await idle.over
        await self.assertFailure(Deferred.fromCoroutine(self.connect()), ConnectError)


class DeadlineTests(Service):
    drain_seconds = 0.2

    async def test_cut(self):
        """Who is not done by the deadline is cut off."""
        busy = await self.connect()
        busy.send(WORK)
        await self.entered
        await self.service.stopService()
        self.assertEqual(await busy.over, b"")
        self.assertEqual(self.site.channels, set())
