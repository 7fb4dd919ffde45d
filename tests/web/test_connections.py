"""How many connections there may be, and from where."""

from twisted.internet import reactor
from twisted.internet.task import deferLater

from stor.access.address import Trusted
from stor.web.answer import Answer
from stor.web.limits import Limits
from stor.web.routes import Route
from tests.web.serving import Serving

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Connections(Serving):
    def parts(self):
        return [self]

    def routes(self):
        return [Route("GET", "/x", self.answer)]

    async def answer(self, call):
        return Answer(body=b"here")

    async def crowd(self, size):
        """Open so many connections, each known to the site."""
        opened = [await self.connect() for _ in range(size)]
        for raw in opened:
            await raw.send(GET).until(b"here")
        return opened

    def refused(self, reason):
        return self.sample("stor_http_refused_total", reason=reason)


class PerAddressTests(Connections):
    limits = Limits(connections_per_address=3)

    async def test_too_many(self):
        """One address may have so many, and the next is told so; when one has gone there is room again."""
        opened = await self.crowd(3)
        heard = await (await self.connect()).over
        self.assertTrue(heard.startswith(b"HTTP/1.1 429 "), heard)
        self.assertIn(b"Connection: close", heard)
        self.assertEqual((self.refused("connections_per_address"), self.events[-1]["status"]), (1, 429))
        opened[0].transport.loseConnection()
        await opened[0].over
        await deferLater(reactor, 0.05)
        self.assertIn(b"here", await self.exchange(LAST))
        self.assertEqual(self.sample("stor_http_connections"), 2)

    async def test_forgotten(self):
        """Addresses are remembered only while they are connected."""
        for raw in await self.crowd(3):
            raw.transport.abortConnection()
        while self.site.channels:
            await deferLater(reactor, 0.01)
        self.assertEqual(len(self.site._counts), 0)


class TrustedTests(Connections):
    limits = Limits(connections_per_address=1)
    trusted = Trusted(["127.0.0.0/8"])

    async def test_proxy(self):
        """A trusted proxy brings many clients, and is not counted."""
        self.assertEqual(len(await self.crowd(5)), 5)


class AllTests(Connections):
    limits = Limits(connections=3)
    trusted = Trusted(["127.0.0.0/8"])

    async def test_too_many(self):
        """In all there are no more than so many, whoever they are."""
        await self.crowd(3)
        heard = await (await self.connect()).over
        self.assertTrue(heard.startswith(b"HTTP/1.1 503 "), heard)
        self.assertEqual((self.refused("connections"), len(self.site.channels)), (1, 3))


class FiguresTests(Connections):
    async def test_counted(self):
        """Connections, bytes in and out, and what is under way, as Prometheus sees them."""
        (raw,) = await self.crowd(1)
        self.assertEqual(self.sample("stor_http_connections"), 1)
        self.assertEqual(self.sample("stor_http_requests_in_flight"), 0)
        self.assertEqual(self.sample("stor_http_bytes_total", direction="in"), len(GET))
        self.assertEqual(self.sample("stor_http_bytes_total", direction="out"), 4)
        raw.transport.abortConnection()

    async def test_times(self):
        """Times are a histogram: each bucket holds those before it, the last one all."""
        figures = self.site.figures
        for seconds in (0.001, 0.005, 0.03, 100.0):
            figures.note("/x", "GET", 200, seconds)
        labels = {"route": "/x", "method": "GET", "status": "2xx"}
        buckets = [
            self.sample("stor_http_request_seconds_bucket", le=bound, **labels)
            for bound in ("0.005", "0.01", "0.05", "10.0", "+Inf")
        ]
        self.assertEqual(buckets, [2, 2, 3, 3, 4])
        self.assertAlmostEqual(self.sample("stor_http_request_seconds_sum", **labels), 100.036)
