"""What somebody sends to hurt: nothing stays unanswered, nothing stays in memory, nobody else waits."""

import gc
import json
import weakref
from errno import EPIPE
from time import process_time

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.tcp import Server
from twisted.trial.unittest import SynchronousTestCase

from stor.errors import BadRequest, Failed, Unavailable
from stor.web import channel
from stor.web.answer import Answer
from stor.web.answers import default_shape, fault
from stor.web.conditions import range_applies, seconds, tags
from stor.web.routes import Route
from tests.web.serving import Serving
from tests.web.streams import Pieces

TEXTS = ("x" + " " * 16_000 + "y", '"x' + " " * 16_000 + "y", '"x"' + " " * 16_000 + "y", '"x"' + " ," * 8000 + "y")
MORE = ("," * 16_000 + "!", 'W/"' * 5000, '"' * 16_001, '"a",' * 4000 + "!", '"a' * 8000, "\t" * 16_000, "W/" * 8000)
CLOSE = b"Connection: close\r\n"


def get(path, *lines):
    return b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"Host: h", *lines, b"", b""])


class LinearTests(SynchronousTestCase):
    def test_headers(self):
        """16 KiB of whatever text are read in a moment, in each header that has ETags or a date."""
        for text in TEXTS + MORE:
            for read in (tags, seconds, lambda text: range_applies({"if-range": text}.get, '"x"')):
                begun = process_time()
                read(text)
                self.assertLess(process_time() - begun, 0.01, text[:10])


class FaultTests(SynchronousTestCase):
    def test_not_text(self):
        """An error may repeat what is no text: it is shown with question marks."""
        answer = fault(BadRequest("no \udcff"), default_shape, "id")
        self.assertEqual(answer.status, 400)
        self.assertEqual(json.loads(answer.body)["detail"], "no ?")

    def test_cannot_be_shown(self):
        """Whatever goes wrong with the showing, there is an answer, and the log says what went wrong."""

        def broken(status, error, request_id):
            raise KeyError("no shape")

        early = fault(BadRequest("x"), broken, "id")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        late = fault(Unavailable("x", retry_after=float("inf")), default_shape, "id")
        self.assertEqual(len(self.flushLoggedErrors(OverflowError)), 1)
        odd = fault(BadRequest("x"), lambda *_: object(), "id")
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        for answer in (early, late, odd):
            self.assertEqual((answer.status, json.loads(answer.body)), (500, default_shape(500, Failed(), "id")))


class Hostile(Serving):
    def parts(self):
        self.waiting, self.left, self.calls = Deferred(), Deferred(), []
        return [self]

    def routes(self):
        yield Route("GET", "/repeats", self.repeats)
        yield Route("GET", "/waits", self.waits)
        yield Route("GET", "/large", self.large)
        yield Route("GET", "/odd", self.odd)
        yield Route("GET", "/file", self.file)
        yield Route("GET", "/read", self.keep, "see")
        yield Route("DELETE", "/read", self.keep, "see")
        yield Route("POST", "/read", self.keep, "see")
        yield Route("POST", "/open", self.keep)

    async def repeats(self, call):
        raise BadRequest(f"not like {call.header('content-md5')}")

    async def waits(self, call):
        self.waiting.callback(None)
        await Deferred(lambda _: self.left.callback(None))

    async def large(self, call):
        return Answer(body=b"x" * (64 << 20))

    async def odd(self, call):
        return self.answer

    async def file(self, call):
        return Answer(body=Pieces(b"abc", BrokenPipeError(EPIPE, "upstream"), length=9))

    async def keep(self, call):
        self.calls.append(call)
        return Answer(body=b"%d of %d" % (len(call.content), call.body.size))


class AnsweredTests(Hostile):
    async def test_not_utf8(self):
        """A header that is not UTF-8 and is repeated in an error: 400, and the connection lives on."""
        ask = get(b"/repeats", b"Content-MD5: \xff")
        heard = await self.exchange(ask + get(b"/repeats", b"Content-MD5: \xff", CLOSE[:-2]))
        self.assertEqual(heard.count(b"HTTP/1.1 400 "), 2, heard)
        self.assertEqual(self.sample("stor_http_requests_in_flight"), 0)

    async def test_no_answer(self):
        """What cannot be sent, whatever is wrong with it, ends the connection: nobody waits for ever."""
        self.answer = Answer(body="no bytes")
        heard = await self.exchange(get(b"/odd"))
        self.assertEqual(heard, b"")
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertEqual([event["status"] for event in self.events], [500])
        self.assertEqual(self.sample("stor_http_requests_in_flight"), 0)

    async def test_no_header(self):
        """A header that cannot be sent is our fault, and the client is told; its stream is closed."""
        stream = Pieces(b"abc")
        self.answer = Answer(headers=(("a", "no bytes"),), body=stream)
        heard = await self.exchange(get(b"/odd", CLOSE[:-2]))
        self.assertTrue(heard.startswith(b"HTTP/1.1 500 "), heard)
        self.assertEqual((stream.closed, len(self.flushLoggedErrors(TypeError))), (1, 1))

    async def test_hang_up_behind_bytes(self):
        """Who leaves with bytes behind a request that waits is noticed, though nothing is read."""
        self.patch(channel, "LOOK_SECONDS", 0.05)
        raw = await self.connect()
        raw.send(get(b"/waits") + get(b"/repeats"))
        await self.waiting
        await deferLater(reactor, 0.2)
        self.assertFalse(self.left.called)  # it is still there
        raw.transport.loseConnection()
        await self.left
        await deferLater(reactor, 0)
        self.assertEqual([event["status"] for event in self.events], [499])
        self.assertEqual(self.site.channels, set())

    async def test_upstream(self):
        """A stream that lost a connection of its own is our fault, not the client's leaving."""
        await self.exchange(get(b"/file"))
        self.assertEqual(len(self.flushLoggedErrors(BrokenPipeError)), 1)
        self.assertEqual([event["status"] for event in self.events], [500])


class MemoryTests(Hostile):
    async def test_bodies_without_meaning(self):
        """The body of a GET or DELETE, and of anybody where no sink was asked for, goes by and is not kept."""
        for method, path, expected in (
            (b"GET", b"/read", b"0 of 100000"),
            (b"DELETE", b"/read", b"0 of 100000"),
            (b"POST", b"/open", b"0 of 100000"),
            (b"POST", b"/read", b"100000 of 100000"),
        ):
            lines = [method + b" " + path + b" HTTP/1.1", b"Host: h", b"X-Api-Key: ann/see", b"Content-Length: 100000"]
            heard = await self.exchange(b"\r\n".join([*lines, CLOSE, b""]) + b"x" * 100_000)
            self.assertTrue(heard.endswith(b"\r\n\r\n" + expected), heard)

    async def test_unsent(self):
        """What a client did not take is let go of when it leaves, without the help of the garbage collector."""
        raw = await self.connect()
        raw.transport.pauseProducing()
        raw.send(get(b"/large"))
        while not any(channel.wire.full for channel in self.site.channels):
            await deferLater(reactor, 0.01)
        (held,) = self.site.channels
        transport, gone = held.transport, weakref.ref(held)
        self.assertIsInstance(transport, Server)
        self.assertGreater(len(transport.dataBuffer) + sum(map(len, transport._tempDataBuffer)), 1 << 20)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        del held
        raw.transport.abortConnection()
        while self.site.channels:
            await deferLater(reactor, 0.01)
        await deferLater(reactor, 0.05)
        self.assertEqual((bytes(transport.dataBuffer), transport._tempDataBuffer), (b"", []))
        there = weakref.ref(transport)
        del transport
        self.assertIsNone(gone())
        self.assertIsNone(there())
