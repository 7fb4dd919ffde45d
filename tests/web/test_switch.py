"""Connections that are given to another protocol, and requests that ask for it in vain."""

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from stor.web.answer import Answer, Switch
from stor.web.routes import Route
from tests.web.serving import Serving

ASK = b"GET /talk HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: parrot\r\n\r\n"
LAST = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Parrot(Protocol):
    def __init__(self):
        self.gone = Deferred()

    def connectionMade(self):
        self.transport.write(b"hello ")

    def dataReceived(self, data):
        self.transport.write(data)

    def connectionLost(self, reason):
        self.gone.callback(None)


class Polite(Parrot):
    def retire(self):
        self.transport.write(b"bye")
        self.transport.loseConnection()


class SwitchTests(Serving):
    def parts(self):
        self.parrot = Parrot()
        return [self]

    def routes(self):
        return [Route("GET", "/talk", self.talk), Route("POST", "/echo", self.echo, sink=50)]

    async def talk(self, call):
        if call.header("upgrade") is None:
            return Answer(body=b"in HTTP then")
        self.assertEqual(call.header("upgrade"), "parrot")
        return Switch([(b"connection", b"upgrade"), (b"upgrade", b"parrot")], self.parrot)

    async def echo(self, call):
        return Answer(body=b"<" + call.content + b">")

    async def test_switch(self):
        """101, and from then on every byte is the other protocol's, those behind the request too."""
        raw = await self.connect()
        await raw.send(ASK + b"one ").until(b"one ")
        head, _, rest = raw.heard.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n"))
        self.assertNotIn(b"Content-Length", head)
        self.assertEqual(rest, b"hello one ")
        await raw.send(b"GET / HTTP/1.1\r\n\r\n").until(b"one GET / HTTP/1.1\r\n\r\n")
        self.assertEqual([event["status"] for event in self.events], [101])
        raw.transport.loseConnection()
        await self.parrot.gone

    async def test_drain(self):
        """When we drain it is closed, politely where it knows how; nobody waits for it otherwise."""
        for self.parrot, last in ((Parrot(), b"hello "), (Polite(), b"hello bye")):
            raw = await self.connect()
            await raw.send(ASK).until(b"hello")
            (channel,) = self.site.channels
            channel.retire()
            self.assertTrue((await raw.over).endswith(last))
        self.assertFalse(self.site.channels)

    async def test_in_vain(self):
        """Who asks for HTTP/2 by an upgrade, with or without a body, is answered in HTTP/1.1."""
        ask = b"POST /echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        for framed, body in (
            (b"Content-Length: 3\r\n\r\nabc", b"<abc>"),
            (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: v\r\n\r\n", b"<abc>"),
            (b"Content-Length: 0\r\n\r\n", b"<>"),
            (b"\r\n", b"<>"),
        ):
            heard = await self.exchange(ask + framed + ask + framed + LAST)
            self.assertEqual(heard.count(b" 200 OK"), 3, heard)
            self.assertEqual(heard.count(body), 3 if body == b"<>" else 2, heard)

    async def test_old(self):
        """HTTP/1.0 has no upgrades: there it is overlooked (RFC 9110, 7.8)."""
        heard = await self.exchange(ASK.replace(b"HTTP/1.1", b"HTTP/1.0"))
        self.assertTrue(heard.endswith(b"in HTTP then"), heard)

    async def test_connect(self):
        """CONNECT names no path of ours."""
        heard = await self.exchange(b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n" + LAST)
        self.assertEqual((heard.count(b" 400 "), heard.count(b" 200 OK")), (1, 1), heard)
