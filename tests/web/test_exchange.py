"""From the header to the answer: the order of things, and what happens when one of them fails."""

import json

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from stor.access.principal import Principal
from stor.errors import BadRequest, Full, Unavailable
from stor.web.answer import Answer
from stor.web.limits import Limits
from stor.web.routes import Route
from tests.web.serving import Serving
from tests.web.streams import Heap, Slow

CLOSE = b"Connection: close\r\n\r\n"


def shape(status, error, request_id):
    return {"code": status, "said": str(error), "kind": type(error).__name__}


class Part:
    """Routes that tell what happened in which order."""

    def __init__(self):
        self.happened, self.slow, self.heap = [], Slow(), Heap(100_000)
        self.wait, self.answer = None, Answer(201, body=b"made")

    def routes(self):
        yield Route("PUT", "/slow", self.handle, "write", sink=self.to(lambda: self.slow))
        yield Route("PUT", "/heap", self.handle, "write", sink=self.to(lambda: self.heap))
        yield Route("PUT", "/small", self.handle, "write", sink=10)
        yield Route("PUT", "/refuses", self.handle, "write", sink=self.refuse, errors=shape)
        yield Route("GET", "/read", self.handle, "read", errors=shape, hot=True)
        yield Route("GET", "/open", self.handle)

    def to(self, choose):
        def sink(call):
            self.happened.append(f"sink for {call.principal.name}, {call.announced}")
            return choose()

        return sink

    def refuse(self, call):
        raise BadRequest("not like this")

    async def handle(self, call):
        self.happened.append(f"handler after {call.body.size}")
        if self.wait is not None:
            await self.wait
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Exchanges(Serving):
    limits = Limits(drain_bytes=200_000)

    def parts(self):
        self.part = Part()
        return [self.part]

    def put(self, path, body, *headers, key=b"ann/write"):
        """A PUT whose connection is closed afterwards."""
        lines = [b"PUT %b HTTP/1.1" % path, b"Host: h", b"X-Api-Key: " + key, *headers, CLOSE]
        return b"\r\n".join(lines) + body

    def get(self, path, *headers, key=b"ann/read"):
        return b"\r\n".join([b"GET %b HTTP/1.1" % path, b"Host: h", b"X-Api-Key: " + key, *headers, CLOSE])

    def status(self, heard):
        return int(heard.split(b" ", 2)[1])


class OrderTests(Exchanges):
    async def test_order(self):
        """Admitted, then the sink is asked, who knows caller and length, then the body comes, then the handler."""
        heard = await self.exchange(self.put(b"/heap", b"abc", b"Content-Length: 3"))
        self.assertEqual(self.status(heard), 201)
        self.assertEqual(self.part.happened, ["sink for ann, 3", "handler after 3"])
        self.assertEqual(self.notes, [("PUT", "/heap", "ann", 201)])
        self.assertEqual(self.most.inside, [])

    async def test_chunks(self):
        """A body in chunks has no announced length."""
        await self.exchange(self.put(b"/heap", b"3\r\nabc\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"))
        self.assertEqual(self.part.happened, ["sink for ann, None", "handler after 3"])

    async def test_refused(self):
        """Who is refused reaches no sink; the body goes by, and the answer is heard."""
        for key, status in ((b"", 401), (b"bob/read", 403)):
            heard = await self.exchange(self.put(b"/heap", b"x" * 150_000, b"Content-Length: 150000", key=key))
            self.assertEqual(self.status(heard), status)
        self.assertEqual((self.part.happened, self.part.heap.size), ([], 0))
        self.assertEqual([note[-1] for note in self.notes], [401, 403])

    async def test_nothing_is_a_body_too(self):
        """A route's own sink is finished for a request without a body as well."""
        self.part.heap = Heap(-1)
        heard = await self.exchange(self.put(b"/heap", b"", b"Content-Length: 0"))
        self.assertEqual(self.status(heard), 507)

    async def test_sink_refuses(self):
        """What the choice of a sink raises is answered in the route's own shape."""
        heard = await self.exchange(self.put(b"/refuses", b"abc", b"Content-Length: 3"))
        said = json.loads(heard.partition(b"\r\n\r\n")[2])
        self.assertEqual(said, {"code": 400, "said": "not like this", "kind": "BadRequest"})

    async def test_no_details(self):
        """A shape never sees what was not meant for callers."""
        self.part.answer = RuntimeError("secret detail")
        heard = await self.exchange(self.get(b"/read"))
        self.assertEqual(self.status(heard), 500)
        self.assertNotIn(b"secret", heard)
        self.assertIn(b'"kind":"Failed"', heard)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_nobody_asked(self):
        """A route without a permission looks at no credential."""
        heard = await self.exchange(self.get(b"/open", key=b""))
        self.assertEqual(self.status(heard), 201)
        self.assertIsNone(self.events[0]["principal"])

    async def test_broken_header(self):
        """A stored value with a line end becomes no header of its own: it is our fault, and said so."""
        self.part.answer = Answer(headers=((b"content-type", b"text/plain\r\nEvil: yes"),), body=b"x")
        heard = await self.exchange(self.get(b"/open"))
        self.assertEqual(self.status(heard), 500)
        self.assertNotIn(b"Evil", heard)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class LaterTests(Exchanges):
    """A guard that has to ask somebody."""

    async def test_body_waits(self):
        """Until it is known who calls, no byte of the body is read beyond one buffer; then all of it."""
        raw = await self.connect()
        body = b"x" * 3_000_000
        self.part.heap = Heap(4_000_000)
        raw.send(self.put(b"/heap", body, b"Content-Length: 3000000", key=b"later"))
        await deferLater(reactor, 0.1)
        (channel,) = self.site.channels
        self.assertLessEqual(channel.reader.waiting, 1 << 17)
        self.assertEqual(self.part.happened, [])
        self.keys.asked.callback(Principal("late", frozenset()))
        self.assertEqual(self.status(await raw.over), 201)
        self.assertEqual(self.part.happened, ["sink for late, 3000000", "handler after 3000000"])

    async def test_refused_late(self):
        """An answer of somebody else that comes late is an answer too."""
        raw = await self.connect()
        raw.send(self.put(b"/heap", b"x" * 150_000, b"Content-Length: 150000", key=b"later"))
        await deferLater(reactor, 0.05)
        self.keys.asked.errback(Unavailable("away", retry_after=2))
        heard = await raw.over
        self.assertEqual(self.status(heard), 503)
        self.assertIn(b"retry-after: 2", heard)

    async def test_client_leaves(self):
        """Who does not wait for that is forgotten: nothing is counted, nothing runs on."""
        raw = await self.connect()
        raw.send(self.get(b"/read", key=b"later"))
        await deferLater(reactor, 0.05)
        raw.transport.abortConnection()
        await raw.over
        await deferLater(reactor, 0.05)
        self.assertTrue(self.keys.asked.called)
        self.assertEqual(([event["status"] for event in self.events], self.part.happened), ([499], []))
        self.assertEqual(self.sample("stor_http_requests_in_flight"), 0)


class GaugeTests(Exchanges):
    async def test_one_at_a_time(self):
        """Who has as many calls under way as allowed is told to wait; when one has ended there is room again."""
        self.part.wait = Deferred()
        busy = await self.connect()
        busy.send(self.get(b"/read"))
        await deferLater(reactor, 0.05)
        heard = await self.exchange(self.get(b"/read"))
        self.assertEqual(self.status(heard), 429)
        self.assertIn(b"retry-after: 3", heard)
        self.part.wait.callback(None)
        await busy.over
        self.part.wait = None
        self.assertEqual(self.status(await self.exchange(self.get(b"/read"))), 201)

    async def test_always_left(self):
        """Whatever the end of a call, it is no longer counted: an error, a refused body, a client that left."""
        self.part.answer = Full("no room")
        await self.exchange(self.get(b"/read"))
        await self.exchange(self.put(b"/small", b"x" * 11, b"Content-Length: 11"))
        await self.exchange(self.put(b"/heap", b"nonsense\r\n", b"Transfer-Encoding: chunked"))
        self.part.wait = Deferred()
        raw = await self.connect()
        raw.send(self.get(b"/read"))
        await deferLater(reactor, 0.05)
        self.assertEqual(len(self.most.inside), 1)
        raw.transport.abortConnection()
        await deferLater(reactor, 0.05)
        self.assertEqual(self.most.inside, [])
        self.assertEqual([event["status"] for event in self.events], [507, 413, 400, 499])
        self.assertEqual(self.sample("stor_http_requests_in_flight"), 0)


class SinkTests(Exchanges):
    async def test_back_pressure(self):
        """While a sink asks to wait it is given nothing, and the socket is not read."""
        raw = await self.connect()
        raw.send(self.put(b"/slow", b"x" * 1_000_000, b"Content-Length: 1000000"))
        await deferLater(reactor, 0.1)
        (channel,) = self.site.channels
        sink = self.part.slow
        self.assertEqual(len(sink.pieces), 1)
        self.assertLessEqual(channel.reader.waiting, 1 << 17)
        while sink.size < 1_000_000 or sink.ready is not None:
            if sink.ready is not None:
                sink.go_on()
            await deferLater(reactor, 0)
        self.assertEqual(self.status(await raw.over), 201)
        self.assertEqual(b"".join(sink.pieces), b"x" * 1_000_000)
        self.assertEqual(sink.discarded, 0)

    async def test_finish_fails(self):
        """What went wrong on the way in is told by `finish`; the sink is discarded, the handler not called."""
        self.part.slow = Slow(Full("no room"))
        raw = await self.connect()
        raw.send(self.put(b"/slow", b"abc", b"Content-Length: 3"))
        await deferLater(reactor, 0.05)
        self.part.slow.go_on()
        self.assertEqual(self.status(await raw.over), 507)
        self.assertEqual(self.part.slow.discarded, 1)
        self.assertEqual(len(self.part.happened), 1)

    async def test_client_leaves(self):
        """Who leaves within a body takes it along."""
        raw = await self.connect()
        raw.send(self.put(b"/slow", b"abc", b"Content-Length: 30"))
        await deferLater(reactor, 0.05)
        raw.transport.abortConnection()
        await deferLater(reactor, 0.05)
        self.assertEqual(self.part.slow.discarded, 1)
        self.assertEqual([event["status"] for event in self.events], [499])
        self.part.slow.go_on()

    async def test_over(self):
        """A sink that has had too much is not filled further; up to a bound the connection lives on."""
        chunk = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
        request = self.put(b"/heap", chunk * 25 + b"0\r\n\r\n", b"Transfer-Encoding: chunked")
        heard = await self.exchange(request.replace(b"Connection: close", b"A: b") + self.get(b"/open"))
        self.assertEqual((self.status(heard), heard.count(b"HTTP/1.1")), (507, 2))
        self.assertLess(self.part.heap.size, 200_000)
        self.assertEqual(self.part.heap.discarded, 1)

    async def test_endless(self):
        """Beyond that bound it is answered and closed, though there is no end of the body in sight."""
        raw = await self.connect()
        raw.send(self.put(b"/heap", b"", b"Transfer-Encoding: chunked"))
        chunk = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
        for _ in range(100):
            raw.send(chunk)
            await deferLater(reactor, 0)
            if raw.heard:
                break
        await raw.until(b"no room left")
        self.assertEqual(self.status(raw.heard), 507)
        self.assertIn(b"Connection: close", raw.heard)

    async def test_announced(self):
        """What is announced as longer than that bound is answered at once."""
        raw = await self.connect()
        raw.send(self.put(b"/heap", b"", b"Content-Length: 10000000000", key=b"bob/read"))
        heard = await raw.until(b"needs the permission")
        self.assertEqual(self.status(heard), 403)
        self.assertIn(b"Connection: close", heard)


class PatientTests(Exchanges):
    limits = Limits(header_seconds=0.2)

    async def test_slow_sink(self):
        """While the sink is what we wait for, the client is not called slow; afterwards it is."""
        raw = await self.connect()
        raw.send(self.put(b"/slow", b"x" * 1000, b"Content-Length: 2000"))
        await deferLater(reactor, 0.5)
        self.assertEqual(raw.heard, b"")
        self.part.slow.go_on()
        self.assertEqual(self.status(await raw.over), 408)
        self.assertEqual(self.part.slow.discarded, 1)


class ExpectTests(Exchanges):
    async def test_refused(self):
        """Who asks first, and is refused, hears it before the body, and no 100."""
        raw = await self.connect()
        raw.send(self.put(b"/heap", b"", b"Content-Length: 100000", b"Expect: 100-continue", key=b""))
        heard = await raw.until(b"credential")
        self.assertEqual(self.status(heard), 401)
        self.assertIn(b"Connection: close", heard)

    async def test_told_to_go_on(self):
        """Whom we told to go on is listened to, though the sink then has had too much."""
        raw = await self.connect()
        raw.send(self.put(b"/heap", b"", b"Content-Length: 150000", b"Expect: 100-continue"))
        await raw.until(b"100 Continue")
        raw.send(b"x" * 120_000)
        await deferLater(reactor, 0.05)
        self.assertNotIn(b"507", raw.heard)
        heard = await raw.send(b"x" * 30_000).over
        self.assertIn(b"HTTP/1.1 507", heard)

    async def test_only_when_it_is_wanted(self):
        """With the body here already, or from HTTP/1.0, there is no 100."""
        heard = await self.exchange(self.put(b"/heap", b"abc", b"Content-Length: 3", b"Expect: 100-continue"))
        self.assertNotIn(b"100 Continue", heard)
