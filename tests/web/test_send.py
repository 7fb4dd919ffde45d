"""Bodies out: whole, in pieces, from files; at the reader's pace, and never longer or shorter than was said."""

import os
from pathlib import Path
from socket import SHUT_WR

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from stor.web.answer import Answer
from stor.web.limits import Limits
from stor.web.routes import Route
from stor.web.send import Broken
from stor.web.sendfile import Cut
from tests.web.serving import Serving
from tests.web.streams import File, Pieces, file_of

GET = b"GET /it HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /it HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
HEAD = LAST.replace(b"GET", b"HEAD")
OLD = b"GET /it HTTP/1.0\r\n\r\n"


class Sending(Serving):
    def parts(self):
        self.answers = []
        return [self]

    def routes(self):
        return [Route("GET", "/it", self.it)]

    async def it(self, call):
        return self.answers.pop(0)

    async def ask(self, answer, request=LAST):
        """Give the head, in lower case, and the body of what is answered."""
        self.answers.append(answer)
        head, _, body = (await self.exchange(request)).partition(b"\r\n\r\n")
        return head.lower(), body

    async def open_descriptors(self):
        """Count ours when nothing moves any more."""
        await deferLater(reactor, 0.05)
        return len(list(Path("/proc/self/fd").iterdir()))


class WholeTests(Sending):
    async def test_large(self):
        """Bytes of any size arrive, also those that no socket takes at once."""
        for size in (0, 1, 1 << 14, (1 << 14) + 1, 20_000_000):
            body = os.urandom(size)
            head, heard = await self.ask(Answer(body=body))
            self.assertTrue(heard == body, size)
            self.assertIn(b"content-length: %d\r\n" % size, head + b"\r\n")

    async def test_head(self):
        """HEAD says what GET would have said, and sends nothing behind it."""
        head, heard = await self.ask(Answer(body=b"abc"), HEAD)
        self.assertIn(b"content-length: 3", head)
        self.assertEqual(heard, b"")
        head, heard = await self.ask(Answer(length=7), HEAD)
        self.assertIn(b"content-length: 7", head)
        stream = Pieces(b"abc", length=3)
        head, heard = await self.ask(Answer(body=stream), HEAD)
        self.assertIn(b"content-length: 3", head)
        self.assertEqual((heard, stream.closed, stream.pieces), (b"", 1, [b"abc"]))

    async def test_without_body(self):
        """204 and 304 have no body and no length."""
        for status in (204, 304):
            stream = Pieces(b"abc", length=3)
            for body in (b"abc", stream):
                head, heard = await self.ask(Answer(status, body=body))
                self.assertNotIn(b"content-length", head)
                self.assertNotIn(b"transfer-encoding", head)
                self.assertEqual(heard, b"")
            self.assertEqual(stream.closed, 1)


class StreamTests(Sending):
    async def test_known_length(self):
        """A stream that knows its length is sent as it is, and closed once."""
        stream = Pieces(b"ab", b"c", length=3)
        head, heard = await self.ask(Answer(body=stream))
        self.assertIn(b"content-length: 3", head)
        self.assertEqual((heard, stream.closed), (b"abc", 1))

    async def test_chunks(self):
        """One that does not is sent in chunks; to HTTP/1.0 its end is the end of the connection."""
        head, heard = await self.ask(Answer(body=Pieces(b"ab", b"x" * 100_000)))
        self.assertIn(b"transfer-encoding: chunked", head)
        self.assertEqual(heard, b"2\r\nab\r\n186a0\r\n" + b"x" * 100_000 + b"\r\n0\r\n\r\n")
        head, heard = await self.ask(Answer(body=Pieces(b"ab", b"c")), OLD)
        self.assertNotIn(b"transfer-encoding", head)
        self.assertEqual(heard, b"abc")

    async def test_at_once(self):
        """Each piece leaves when it is there, not with the next one."""
        later = Deferred()
        self.answers.append(Answer(body=Pieces(b"first", later)))
        raw = await self.connect()
        await raw.send(LAST).until(b"first")
        later.callback(b"second")
        await raw.until(b"second")

    async def test_next(self):
        """Behind a stream the connection goes on."""
        self.answers += [Answer(body=Pieces(b"ab")), Answer(body=Pieces(b"cd", length=2)), Answer(body=b"ef")]
        heard = await self.exchange(GET + GET + LAST)
        self.assertEqual(heard.count(b"HTTP/1.1 200"), 3)
        self.assertTrue(heard.endswith(b"ef"))

    async def test_lies(self):
        """One that gives more or less than it said, or fails, leaves a broken transfer, never one that looks whole."""
        for stream in (
            Pieces(b"ab", b"cd", length=3),
            Pieces(b"ab", length=3),
            Pieces(b"ab", KeyError("why"), length=3),
            Pieces(b"ab", KeyError("why")),
        ):
            _, heard = await self.ask(Answer(body=stream))
            self.assertNotIn(b"\r\n0\r\n\r\n", heard)
            self.assertLess(len(heard), 10)
            self.assertEqual(stream.closed, 1)
        self.assertEqual((len(self.flushLoggedErrors(Broken)), len(self.flushLoggedErrors(KeyError))), (2, 2))
        self.assertEqual([event["status"] for event in self.events], [500] * 4)

    async def test_slow_reader(self):
        """No more is read from the stream than the reader takes, but for what the kernel's buffers hold."""
        stream = Pieces(*[b"x" * 100_000] * 1000)
        self.answers.append(Answer(body=stream))
        raw = await self.connect()
        raw.send(LAST)
        raw.transport.pauseProducing()
        await deferLater(reactor, 0.3)
        self.assertGreater(len(stream.pieces), 800)
        raw.transport.resumeProducing()
        self.assertEqual((await raw.over).count(b"x"), 100_000_000)

    async def test_others_have_a_turn(self):
        """While one stream is sent as fast as it is read, others are answered."""
        self.answers += [Answer(body=Pieces(*[b"x" * 100_000] * 2000)), Answer(body=b"quick")]
        raw, other = await self.connect(), await self.connect()
        raw.send(LAST)
        await raw.until(b"x")
        other.send(LAST)
        self.assertTrue((await other.over).endswith(b"quick"))
        self.assertFalse(raw.over.called)
        await raw.over

    async def test_reader_leaves(self):
        """A reader who leaves ends the stream, also one that waits for something to say."""
        waiting = Deferred()
        stream = Pieces(b"first", waiting)
        self.answers.append(Answer(body=stream))
        raw = await self.connect()
        await raw.send(LAST).until(b"first")
        raw.transport.abortConnection()
        await deferLater(reactor, 0.05)
        self.assertEqual((stream.closed, waiting.called), (1, True))
        self.assertEqual([event["status"] for event in self.events], [499])

    async def test_drain(self):
        """A stream without an end is asked to find one when we drain."""
        later = Deferred()
        stream = Pieces(b"first", later)
        stream.retire = lambda: later.callback(b"")
        self.answers.append(Answer(body=stream))
        raw = await self.connect()
        await raw.send(GET).until(b"first")
        await self.service.stopService()
        self.assertTrue((await raw.over).endswith(b"\r\n0\r\n\r\n"))


class StuckTests(Sending):
    limits = Limits(idle_seconds=0.3)

    async def test_stuck_reader(self):
        """A reader who takes nothing for too long is cut off, whatever is sent to him."""
        path, _ = file_of(self, 10_000_000)
        endless = Pieces(*[b"x" * 100_000] * 1000)
        for body in (b"x" * 50_000_000, endless, File(path, 0, 10_000_000)):
            self.answers.append(Answer(body=body))
            raw = await self.connect()
            raw.send(GET)
            raw.transport.pauseProducing()
            await deferLater(reactor, 0.05)
            while self.site.channels:
                await deferLater(reactor, 0.05)
            raw.transport.abortConnection()

    async def test_pipelined(self):
        """Who asks for more and more and takes nothing is not read on."""
        self.answers += [Answer(body=b"x" * 10_000_000) for _ in range(100)]
        raw = await self.connect()
        raw.send(GET * 100)
        raw.transport.pauseProducing()
        await deferLater(reactor, 0.1)
        self.assertGreaterEqual(len(self.answers), 98)


class FileTests(Sending):
    async def test_parts(self):
        """Any part of a file arrives as it is, by sendfile; and no descriptor is left."""
        size = 3_000_007
        path, content = file_of(self, size)
        before = await self.open_descriptors()
        for start, stop in ((0, size), (0, 0), (5, 6), (1_000_000, size)):
            file = File(path, start, stop)
            head, heard = await self.ask(Answer(206, body=file))
            self.assertTrue(heard == content[start:stop], (start, stop))
            self.assertIn(b"content-length: %d" % (stop - start), head)
            self.assertEqual(file.closed, 1)
        self.assertEqual(await self.open_descriptors(), before)

    async def test_slow_reader(self):
        """A slow reader gets all of it, and nobody else waits for him."""
        path, content = file_of(self, 30_000_000)
        self.answers += [Answer(body=File(path, 0, len(content))) for _ in range(6)] + [Answer(body=b"quick")]
        slow = [await self.connect() for _ in range(6)]
        for raw in slow:
            raw.send(LAST)
            raw.transport.pauseProducing()
        await deferLater(reactor, 0.1)
        self.assertTrue((await self.exchange(LAST)).endswith(b"quick"))
        for raw in slow:
            raw.transport.resumeProducing()
        for raw in slow:
            self.assertTrue((await raw.over).endswith(content[-100_000:]))
            self.assertGreater(len(raw.heard), len(content))

    async def test_next(self):
        """Behind a file the connection goes on."""
        path, content = file_of(self, 200_000)
        self.answers += [Answer(body=File(path, 0, 200_000)), Answer(body=b"next")]
        heard = await self.exchange(GET + LAST)
        self.assertIn(content, heard)
        self.assertTrue(heard.endswith(b"next"))

    async def test_shorter(self):
        """A file that has become shorter leaves a broken transfer."""
        path, _ = file_of(self, 100_000)
        file = File(path, 0, 100_000)
        os.truncate(path, 50_000)
        _, heard = await self.ask(Answer(body=file))
        self.assertLess(len(heard), 50_001)
        self.assertEqual((file.closed, len(self.flushLoggedErrors(Cut))), (1, 1))

    async def test_reader_leaves(self):
        """A reader who leaves in the middle leaves no descriptor behind."""
        path, _ = file_of(self, 50_000_000)
        before = await self.open_descriptors()
        for pause in (0, 0.02):
            file = File(path, 0, 50_000_000)
            self.answers.append(Answer(body=file))
            raw = await self.connect()
            await raw.send(GET).until(b"\r\n\r\n")
            raw.transport.pauseProducing()
            await deferLater(reactor, pause)
            raw.transport.abortConnection()
            while not file.closed:
                await deferLater(reactor, 0.01)
        self.assertEqual(await self.open_descriptors(), before)
        self.assertEqual([event["status"] for event in self.events], [499, 499])

    async def test_left_unheard(self):
        """A reader whose leaving is first seen by the sending has left all the same: nothing of ours is wrong."""
        path, _ = file_of(self, 50_000_000)
        file = File(path, 0, 50_000_000)
        self.answers.append(Answer(body=file))
        raw = await self.connect()
        await raw.send(GET).until(b"\r\n\r\n")
        raw.transport.pauseProducing()
        (channel,) = self.site.channels
        while not channel.wire.full:
            await deferLater(reactor, 0.01)
        channel.transport.socket.shutdown(SHUT_WR)  # EPIPE for who sends, and nothing to read
        while not file.closed or not self.events:
            await deferLater(reactor, 0.01)
        self.assertEqual([event["status"] for event in self.events], [499])

    async def test_cut_off(self):
        """Nor does one that we cut off at the end of a drain."""
        path, _ = file_of(self, 50_000_000)
        file = File(path, 0, 50_000_000)
        self.answers.append(Answer(body=file))
        raw = await self.connect()
        await raw.send(GET).until(b"\r\n\r\n")
        raw.transport.pauseProducing()
        await deferLater(reactor, 0.02)
        self.site.abort()
        await self.service.stopService()
        self.assertEqual(file.closed, 1)
