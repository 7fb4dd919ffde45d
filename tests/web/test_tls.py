"""The same site behind TLS: nothing may go past it."""

import os

from twisted.internet import reactor
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.ssl import Certificate, DefaultOpenSSLContextFactory, optionsForClientTLS
from twisted.internet.task import deferLater

from stor.streams import FilePart
from stor.streams.disk import Descriptor
from stor.threads import Threads
from stor.web.answer import Answer
from stor.web.limits import Limits
from stor.web.routes import Route
from tests.certificates import Authority
from tests.places import folder
from tests.web.serving import Raw, Serving
from tests.web.streams import Pieces, file_of

GET = b"GET /it HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /it HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class TlsTests(Serving):
    limits = Limits(idle_seconds=0.5)

    def parts(self):
        self.answers = []
        return [self]

    def routes(self):
        return [Route("GET", "/it", self.it), Route("PUT", "/it", self.put, sink=1 << 20)]

    async def it(self, call):
        return self.answers.pop(0)

    async def put(self, call):
        return Answer(201, body=call.content)

    async def setUp(self):
        await super().setUp()
        authority = Authority(folder(self))
        certificate, key = authority.certificate("server")
        endpoint = SSL4ServerEndpoint(
            reactor, 0, DefaultOpenSSLContextFactory(str(key), str(certificate)), interface="127.0.0.1"
        )
        self.port = await endpoint.listen(self.site)
        self.addCleanup(self.port.stopListening)
        self.trust = Certificate.loadPEM(authority.file.read_bytes())

    async def connect(self):
        plain = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port.getHost().port)
        raw = await connectProtocol(wrapClientTLS(optionsForClientTLS("localhost", self.trust), plain), Raw())
        self.addCleanup(self.leave, raw)
        return raw

    def leave(self, raw):
        """Twisted's TLS cannot be aborted twice."""
        if not raw.over.called:
            raw.transport.abortConnection()

    async def test_bodies(self):
        """Bytes, streams and files of any size arrive, on one connection."""
        path, content = file_of(self, 2_000_000)
        threads = Threads("files", 1, reactor)
        threads.startService()
        self.addCleanup(threads.stopService)
        descriptor = Descriptor(os.open(path, os.O_RDONLY))
        self.answers += [
            Answer(body=b"x" * 3_000_000),
            Answer(body=Pieces(*[b"y" * 100_000] * 30)),
            Answer(body=FilePart(descriptor, 0, len(content), threads)),
            Answer(body=b"last"),
        ]
        heard = await self.exchange(GET * 3 + LAST)
        self.assertEqual(heard.count(b"HTTP/1.1 200 OK"), 4)
        self.assertIn(b"x" * 3_000_000, heard)
        self.assertIn(content, heard)
        self.assertTrue(heard.endswith(b"last"))

    async def test_body(self):
        """So does a body that comes in."""
        request = b"PUT /it HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 500000\r\n\r\n"
        heard = await self.exchange(request + b"z" * 500_000)
        self.assertTrue(heard.endswith(b"\r\n\r\n" + b"z" * 500_000))

    async def test_refused(self):
        """What is no request is refused, and heard."""
        heard = await self.exchange(b"nonsense\r\n\r\n")
        self.assertTrue(heard.startswith(b"HTTP/1.1 400 "), heard)

    async def test_idle(self):
        """A connection that says nothing is closed, and so is a stuck reader's."""
        self.assertEqual(await (await self.connect()).over, b"")
        self.answers.append(Answer(body=b"x" * 50_000_000))
        raw = await self.connect()
        raw.send(GET)
        raw.transport.pauseProducing()
        await deferLater(reactor, 0.2)
        while self.site.channels:
            await deferLater(reactor, 0.05)

    async def test_drain(self):
        """A drain ends it."""
        self.answers.append(Answer(body=b"one"))
        raw = await self.connect()
        await raw.send(GET).until(b"one")
        await self.service.stopService()
        await raw.over
