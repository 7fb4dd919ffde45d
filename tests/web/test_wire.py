import json

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.web.http import datetimeToString

from stor.web.answer import Answer
from stor.web.limits import Limits
from stor.web.routes import Route
from tests.web.serving import Serving


class Echo:
    """Gives back what it got, and remembers it."""

    def __init__(self):
        self.bodies = []

    def routes(self):
        return [Route("POST", "/echo", self.echo, sink=1000), Route("GET", "/hello", self.hello)]

    async def echo(self, call):
        self.bodies.append(call.content)
        return Answer(body=self.bodies[-1])

    async def hello(self, call):
        return Answer(body=b"hello %b?%b" % (call.raw_path, call.raw_query))


GET = b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /hello?last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def post(body, *headers, last=False):
    lines = [
        b"POST /echo HTTP/1.1",
        b"Host: h",
        *headers,
        *([b"Connection: close"] if last else []),
        b"",
        body,
    ]
    return b"\r\n".join(lines)


class Wire(Serving):
    limits = Limits(body_bytes=1000, header_bytes=2000, header_count=20)

    def parts(self):
        self.echo = Echo()
        return [self.echo]

    async def refused(self, data, status=400):
        """It is answered with this status and a close, and nothing behind it is read as a request."""
        heard = await self.exchange(data + GET)
        head, _, body = heard.partition(b"\r\n\r\n")
        self.assertEqual(head.split(b" ", 2)[:2], [b"HTTP/1.1", str(status).encode()], heard)
        self.assertIn(b"\r\nConnection: close", head)
        self.assertEqual(heard.count(b"HTTP/1.1"), 1, heard)
        self.assertEqual(set(json.loads(body)), {"error", "detail", "request_id"})
        self.assertEqual(self.echo.bodies, [])


class FramingTests(Wire):
    """RFC 9112, sections 2, 3, 5, 6 and 7."""

    async def test_two_lengths(self):
        """A second Content-Length, equal or not, alone or in a list."""
        await self.refused(post(b"abc", b"Content-Length: 3", b"Content-Length: 3"))
        await self.refused(post(b"abc", b"Content-Length: 3", b"Content-Length: 2"))
        await self.refused(post(b"abc", b"Content-Length: 3, 3"))

    async def test_no_number(self):
        """A Content-Length that is not digits, or more of them than make a number."""
        for length in (b"+3", b"-3", b"0x3", b"3 ;", b"", b"3_0", b"9" * 1500, b"\xb2"):
            await self.refused(post(b"abc", b"Content-Length: " + length))

    async def test_length_and_encoding(self):
        """Transfer-Encoding beside Content-Length, in either order: the seam of request smuggling."""
        await self.refused(post(b"0\r\n\r\n", b"Content-Length: 5", b"Transfer-Encoding: chunked"))
        await self.refused(post(b"0\r\n\r\n", b"Transfer-Encoding: chunked", b"Content-Length: 5"))

    async def test_encodings(self):
        """Any encoding but one `chunked`, and any at all in HTTP/1.0."""
        for coding in (
            b"gzip",
            b"gzip, chunked",
            b"chunked, chunked",
            b"identity",
            b"xchunked",
            b"\x0bchunked",
        ):
            await self.refused(post(b"0\r\n\r\n", b"Transfer-Encoding: " + coding))
        await self.refused(post(b"abc", b"Transfer-Encoding: identity", b"Content-Length: 3"))
        await self.refused(b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

    async def test_bad_chunks(self):
        """A chunk size that is no hexadecimal number, and a chunk longer than it said."""
        for chunks in (
            b"x\r\nabc\r\n",
            b"-3\r\nabc\r\n",
            b"0x3\r\nabc\r\n",
            b"3\r\nabcdef\r\n",
            b"\r\n",
            b"3" * 2000,
        ):
            await self.refused(post(chunks, b"Transfer-Encoding: chunked"))

    async def test_host(self):
        """HTTP/1.1 asks for one Host, and for a valid one."""
        await self.refused(b"GET /hello HTTP/1.1\r\n\r\n")
        await self.refused(b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        await self.refused(b"GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n")
        await self.refused(b"GET /hello HTTP/1.1\r\nHost: \xff\r\n\r\n")

    async def test_any_valid_host(self):
        """Routes do not depend on the Host: none of these breaks the router."""
        for host in (b"", b"a" * 300, b"..", b"[::1]:80", b"xn--zzzz-", b"h:notaport"):
            heard = await self.exchange(LAST.replace(b"Host: h", b"Host: " + host))
            self.assertIn(b" 200 ", heard, host)

    async def test_lines(self):
        """Malformed header lines, other versions, request lines of two or four words."""
        for line in (
            b"Name : v",
            b"name",
            b": v",
            b"Name: a\rb",
            b"N\x00: v",
            b"Name: a\x00b",
            b"Name: a\nEvil: b",
            b"Name: a\r\n folded",
        ):
            await self.refused(b"GET /hello HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n\r\n")
        for first in (
            b"GET /hello HTTP/1.2",
            b"GET  /hello HTTP/1.1",
            b"GET /hello",
            b"G(T / HTTP/1.1",
            b"GET /a b HTTP/1.1",
            b"GET\t/hello HTTP/1.1",
            b"GET /hello HTTP/1.1 ",
            b"GET /hello HTTP/0.9",
            b"GET /hello HTTP/2.0",
            b"GET /hello ICE/1.0",
            b"GET hello HTTP/1.1",
            b"GET /\xff HTTP/1.1",
            b"get /hello HTTP/1.1",
            b"BREW /hello HTTP/1.1",
            b"PRI * HTTP/2.0",
        ):
            await self.refused(first + b"\r\nHost: h\r\n\r\n")

    async def test_too_large(self):
        """Headers beyond their bytes or number get 431, an endless target 414."""
        await self.refused(b"GET /hello HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 2500 + b"\r\n\r\n", 431)
        await self.refused(b"GET /hello HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 1_000_000, 431)
        await self.refused(b"GET /hello HTTP/1.1\r\nHost: h\r\n" + b"A: aaaaaaaaaa\r\n" * 200 + b"\r\n", 431)
        await self.refused(b"GET /hello HTTP/1.1\r\nHost: h\r\n" + b"A: \r\n" * 30 + b"\r\n", 431)
        await self.refused(b"GET /" + b"a" * 2500 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414)

    async def test_paths(self):
        """A path that is not UTF-8, or a target that is none, is refused; the connection lives on."""
        for target in (b"/%ff", b"/a/%C3%28", b"*", b"/a#b"):
            heard = await self.exchange(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n" + LAST)
            self.assertTrue(heard.startswith(b"HTTP/1.1 400 "), heard)
            self.assertIn(b"hello /hello?last", heard)

    async def test_trailers(self):
        """What stands behind the last chunk is no header, and has its bounds."""
        chunks = b"3\r\nabc\r\n0\r\nConnection: close\r\nX-Request-Id: evil\r\n\r\n"
        heard = await self.exchange(post(chunks, b"Transfer-Encoding: chunked") + LAST)
        self.assertEqual(heard.count(b" 200 OK"), 2)
        self.assertNotIn(b"evil", heard)
        self.echo.bodies.clear()
        await self.refused(post(b"0\r\n" + b"A: aaaaaaaa\r\n" * 20_000, b"Transfer-Encoding: chunked"), 431)

    async def test_extensions(self):
        """Chunk extensions are allowed, and mean nothing."""
        heard = await self.exchange(post(b"3;a=b;c\r\nabc\r\n0;d\r\n\r\n", b"Transfer-Encoding: chunked", last=True))
        self.assertTrue(heard.endswith(b"abc"))

    async def test_empty_lines(self):
        """Empty lines before a request are overlooked (section 2.2)."""
        heard = await self.exchange(b"\r\n\r\n" + GET + b"\r\n" + LAST)
        self.assertEqual(heard.count(b" 200 OK"), 2)

    async def test_several_lines(self):
        """Several lines of one header are one list."""
        heard = await self.exchange(LAST.replace(b"Connection", b"A: b\r\nConnection: keep-alive\r\nConnection"))
        self.assertIn(b"Connection: close", heard)

    async def test_absolute_form(self):
        """The target of a request to a proxy names the same path (section 3.2.2)."""
        heard = await self.exchange(LAST.replace(b"/hello?", b"http://other.example/hello?"))
        self.assertIn(b" 200 ", heard)
        heard = await self.exchange(LAST.replace(b"/hello?last", b"http://other.example"))
        self.assertIn(b" 404 ", heard)

    async def test_pipeline(self):
        """Requests sent in one go are answered in order on one connection."""
        heard = await self.exchange(GET + post(b"abc", b"Content-Length: 3") + GET + LAST)
        self.assertEqual(heard.count(b"HTTP/1.1 200 OK"), 4)
        self.assertLess(heard.index(b"abc"), heard.index(b"last"))

    async def test_others_have_a_turn(self):
        """However many requests one connection has sent, another one is answered in between."""
        raw, other = await self.connect(), await self.connect()
        await other.send(GET).until(b"hello")
        raw.send(GET * 1000)
        await raw.until(b"hello")
        other.send(LAST)
        await other.over
        self.assertLess(raw.heard.count(b"HTTP/1.1 200"), 1000)
        raw.send(LAST)
        self.assertEqual((await raw.over).count(b"HTTP/1.1 200"), 1001)

    async def test_old_client(self):
        """HTTP/1.0 without a Host is answered, and closed."""
        heard = await self.exchange(b"GET /hello HTTP/1.0\r\n\r\n")
        self.assertIn(b" 200 ", heard)
        self.assertNotIn(b"chunked", heard)

    async def test_refusal_is_logged(self):
        """What was no request has a line in the log, with the id that its answer named."""
        heard = await self.exchange(b"nonsense\r\n\r\n")
        said = json.loads(heard.partition(b"\r\n\r\n")[2])["request_id"]
        (event,) = self.events
        self.assertEqual((event["status"], event["request_id"], event["remote"]), (400, said, "127.0.0.1"))


class BodyTests(Wire):
    async def test_over_limit(self):
        """A body over the limit, announced or not, gets 413 when it has come; the connection lives on."""
        large = b"x" * 300_000
        for request in (
            post(large, b"Content-Length: 300000"),
            post(b"493e0\r\n" + large + b"\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"),
            post(b"1\r\na\r\n" * 1001 + b"0\r\n\r\n", b"Transfer-Encoding: chunked"),
        ):
            heard = await self.exchange(request + LAST)
            self.assertTrue(heard.startswith(b"HTTP/1.1 413 "), heard[:100])
            self.assertIn(b'"error":"TooLarge"', heard)
            self.assertIn(b"hello /hello?last", heard)
        self.assertEqual(self.echo.bodies, [])

    async def test_up_to_limit(self):
        """A body of exactly the limit comes through, in one piece or in chunks."""
        full = bytes(range(250)) * 4
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in full) + b"0\r\n\r\n"
        await self.exchange(post(full, b"Content-Length: 1000", last=True))
        await self.exchange(post(chunks, b"Transfer-Encoding: chunked", last=True))
        self.assertEqual(self.echo.bodies, [full, full])

    async def test_forms(self):
        """A body that looks like a form arrives untouched: `curl -d` sends anything as one."""
        await self.exchange(
            post(
                b"a=1&b=%20",
                b"Content-Length: 9",
                b"Content-Type: application/x-www-form-urlencoded",
                last=True,
            )
        )
        await self.exchange(
            post(b"--x--", b"Content-Length: 5", b"Content-Type: multipart/form-data; boundary=x", last=True)
        )
        self.assertEqual(self.echo.bodies, [b"a=1&b=%20", b"--x--"])

    async def test_expect(self):
        """`Expect: 100-continue` is answered before the body is sent."""
        raw = await self.connect()
        raw.send(post(b"", b"Content-Length: 3", b"Expect: 100-continue", last=True))
        await raw.until(b"100 Continue")
        self.assertIn(b"200 OK", await raw.send(b"abc").over)
        self.assertEqual(self.echo.bodies, [b"abc"])


class SlowTests(Wire):
    limits = Limits(header_seconds=0.3, idle_seconds=0.6, body_bytes=1000, body_rate=5000)

    async def drip(self, data, seconds):
        """Send byte after byte; give what was heard when the server closed, and how long that took."""
        raw, begun = await self.connect(), reactor.seconds()
        for number in range(len(data)):
            if raw.over.called or reactor.seconds() - begun > seconds:
                break
            raw.send(data[number : number + 1])
            await deferLater(reactor, 0.05)
        heard = raw.heard
        raw.transport.abortConnection()
        return heard

    async def test_slow_header(self):
        """A header that comes byte by byte is given up after its time, though the line is never idle."""
        heard = await self.drip(GET * 3, seconds=1.0)
        self.assertTrue(heard.startswith(b"HTTP/1.1 408 "), heard)

    async def test_slow_body(self):
        """So is a body that stays below the least rate."""
        raw = await self.connect()
        raw.send(post(b"", b"Content-Length: 1000"))
        for _ in range(20):
            raw.send(b"x")
            await deferLater(reactor, 0.05)
        self.assertTrue(raw.heard.startswith(b"HTTP/1.1 408 "), raw.heard)

    async def test_later_header(self):
        """Each request on a connection has its own time, and a slow second one is noticed too."""
        raw = await self.connect()
        await raw.send(GET).until(b"hello /hello")
        await deferLater(reactor, 0.4)
        raw.send(GET[:10])
        self.assertIn(b" 408 ", await raw.over)

    async def test_idle(self):
        """A connection that says nothing is closed without a word."""
        self.assertEqual(await (await self.connect()).over, b"")
        raw = await self.connect()
        heard = await raw.send(GET).over
        self.assertEqual(heard.count(b"HTTP/1.1"), 1)

    async def test_stuck_body(self):
        """A body that stops half-way is answered 408."""
        raw = await self.connect()
        self.assertIn(b" 408 ", await raw.send(post(b"abc", b"Content-Length: 10")).over)

    async def test_who_does_not_leave(self):
        """A refused client that keeps sending is cut off after a moment, and kept nowhere."""
        self.patch(__import__("stor.web.channel", fromlist=["x"]), "LINGER_SECONDS", 0.2)
        raw = await self.connect()
        await raw.send(b"nonsense\r\n\r\n").until(b"400")
        for _ in range(20):
            raw.send(b"x" * 10_000)
            await deferLater(reactor, 0.05)
            if raw.over.called:
                break
        self.assertTrue(raw.over.called)
        self.assertEqual(self.site.channels, set())


class DateTests(Wire):
    async def test_date(self):
        """Refusals carry a Date too (RFC 9110, 6.6.1)."""
        heard = await self.exchange(b"nonsense\r\n\r\n")
        self.assertIn(b"\r\nDate: " + datetimeToString()[:16], heard)
