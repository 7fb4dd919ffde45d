"""A remote at its worst: away, slow, wrong, cut off; and what that becomes."""

from functools import partial
from hashlib import md5
from itertools import pairwise

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.client import patience
from stor.client.dialects import Namespaced, Plain, read_index, root_of
from stor.client.patience import Patience
from stor.client.plan import Base, Entry
from stor.client.reading import Changed
from stor.client.remote import Remote
from stor.errors import (
    BadRequest,
    Conflict,
    Denied,
    Failed,
    Forbidden,
    Full,
    Missing,
    PreconditionFailed,
    TooLarge,
    TooMany,
    Unavailable,
    Unprocessable,
)
from tests.certificates import Authority
from tests.client.scripted import Reply, Scripted, answer
from tests.places import folder
from tests.servers import free_port

TOKEN = "swordfish-is-the-word"
HELLO = md5(b"hello", usedforsecurity=False).hexdigest()
INDEX = b'{"files":{"a":{"md5":"%s","size":5,"is_deleted":false,"version":7,"last_modified":"x"}}}' % HELLO.encode()


class Bytes:
    """A body in memory; `spoil` is raised in place of its last piece."""

    def __init__(self, content, spoil=None):
        self.length, self.pieces, self.spoil, self.closed = len(content), [content[:-1], content[-1:]], spoil, False

    async def read(self):
        if self.spoil is not None and len(self.pieces) == 1:
            await deferLater(reactor, 0.1)  # an answer may come meanwhile
            raise self.spoil
        return self.pieces.pop(0) if self.pieces else b""

    async def close(self):
        self.closed = True


class RemoteCase(TestCase):
    timeout = 20

    def setUp(self):
        self.patch(patience, "FIRST_PAUSE", 0.01)

    def serve(self, *replies, seconds=10.0):
        self.server = Scripted(*replies)
        self.addCleanup(self.server.close)
        self.remote = Remote(self.server.url, TOKEN, reactor, patience=seconds)
        self.addCleanup(self.remote.close)

    async def fails(self, kind, work):
        with self.assertRaises(kind) as caught:
            await work
        self.assertNotIn(TOKEN, str(caught.exception))
        return caught.exception

    async def put(self, content=b"hello", seen=None, **kinds):
        self.sent = []

        async def source():
            self.sent.append(Bytes(content, **kinds))
            return self.sent[-1]

        return await self.remote.put("a", md5(content, usedforsecurity=False).hexdigest(), seen, source, "text/plain")

    async def receive(self, body):
        self.got = await body.whole(1 << 24)
        return md5(self.got, usedforsecurity=False).hexdigest()


class TryingAgainTests(RemoteCase):
    async def test_passing(self):
        """What may pass is tried again: each of the statuses that say so, and a connection that broke."""
        errors = [answer(status) for status in (500, 502, 503, 504)]
        self.serve(*errors, Reply(cut=True), Reply(answer(200, INDEX)[:-9], cut=True), answer(200, INDEX))
        self.assertEqual(await self.remote.index(), {"a": Entry(HELLO, 5, False, 7)})
        self.assertEqual(len(self.server.asked), 7)

    async def test_retry_after(self):
        """The remote says when to come back, and is not asked before; also when it was too often."""
        self.serve(answer(429, retry_after=1), answer(200, INDEX))
        began = reactor.seconds()
        await self.remote.index()
        self.assertGreaterEqual(reactor.seconds() - began, 1.0)

    async def test_not_that_long(self):
        """Longer than our patience is not waited."""
        self.serve(answer(503, b'{"detail":"the store is away"}', retry_after=3600))
        self.assertIn("the store is away", str(await self.fails(Unavailable, self.remote.index())))
        self.assertEqual(len(self.server.asked), 1)

    async def test_nobody(self):
        """Where nobody listens, the remote is away."""
        self.remote = Remote(f"http://127.0.0.1:{free_port()}", TOKEN, reactor, patience=0.2)
        await self.fails(Unavailable, self.remote.index())

    async def test_silence(self):
        """An answer that does not come, or does not go on, is not waited for without end."""
        for reply in (b"", answer(200, INDEX)[:-9]):
            self.serve(reply, seconds=0.2)
            self.remote._wire._idle_seconds = 0.1
            await self.fails(Unavailable, self.remote.index())

    async def test_final(self):
        """What will not pass is not tried again, and each status has its meaning."""
        meanings = {
            400: BadRequest,
            401: Denied,
            403: Forbidden,
            404: Missing,
            405: BadRequest,
            409: Conflict,
            412: PreconditionFailed,
            413: TooLarge,
            422: Unprocessable,
            507: Full,
        }
        self.serve(*(answer(status, b'{"detail":"said \\u001b[31m so"}') for status in meanings))
        for status, kind in meanings.items():
            why = await self.fails(kind, self.remote.index())
            self.assertEqual((type(why), str(why)), (kind, f"{status} said  [31m so"))
        self.assertEqual(len(self.server.asked), len(meanings))

    async def test_long_reason(self):
        """However long a refusal is, it is read to a bound."""
        self.serve(answer(400, b"x" * 1_000_000))
        self.assertEqual(str(await self.fails(BadRequest, self.remote.index())), "400")

    async def test_untrusted(self):
        """A server whose certificate nobody vouches for is not spoken to, and not asked again."""
        key, certificate = Authority(folder(self)).certificate("server", "localhost")[::-1]
        factory = Scripted(answer(200, INDEX))
        self.addCleanup(factory.close)
        context = DefaultOpenSSLContextFactory(str(key), str(certificate))
        port = reactor.listenSSL(0, factory, context, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.remote = Remote(f"https://localhost:{port.getHost().port}", TOKEN, reactor)
        self.assertIn("certificate", str(await self.fails(Failed, self.remote.index())))
        self.assertEqual(factory.asked, [])

    async def test_redirect(self):
        """A redirect is not followed: the credential is for the host that was named."""
        other = Scripted(answer(200, INDEX))
        self.addCleanup(other.close)
        self.serve(answer(302, location=other.url + "/sync"))
        await self.fails(Failed, self.remote.index())
        self.assertEqual(other.asked, [])


class WritingTests(RemoteCase):
    async def test_put(self):
        """A file is sent with its condition, and the answer says what is there now."""
        self.serve(answer(201, etag=f'"{HELLO}"', x_version=9))
        self.assertEqual(await self.put(), Base(HELLO, 9))
        asked = self.server.asked[0]
        self.assertEqual((asked.method, asked.target, asked.body), ("PUT", "/blob/a", b"hello"))
        self.assertEqual(asked.headers["content-md5"], "new")
        self.assertEqual(asked.headers["authorization"], f"Bearer {TOKEN}")

    async def test_lost_answer(self):
        """A write whose answer was lost is sent again, with its condition: then it is refused, and we look again."""
        self.serve(Reply(cut=True), answer(412, b'{"detail":"File already exists"}'))
        await self.fails(PreconditionFailed, self.put())
        self.assertEqual([asked.body for asked in self.server.asked], [b"hello"] * 2)
        self.assertTrue(all(body.closed for body in self.sent))

    async def test_changed(self):
        """A file that changed while it was sent is never sent whole, and not tried again."""
        self.serve(answer(201, etag=f'"{HELLO}"'))
        await self.fails(Changed, self.put(b"hello" * 100_000, spoil=Changed("a changed")))
        await deferLater(reactor, 0.05)
        self.assertEqual([asked.complete for asked in self.server.asked], [False] * len(self.server.asked))
        self.assertTrue(self.sent[0].closed)

    async def test_early(self):
        """An answer before the body's end is heard, and nothing is left hanging."""
        reply = Reply(answer(413, b'{"detail":"too much"}'), early=0)
        self.serve(reply)
        await self.fails(TooLarge, self.put(b"x" * 3_000_000))
        self.assertTrue(self.sent[0].closed)

    async def test_changed_after_early(self):
        """Nor when the body cannot be read to its end after that."""
        self.serve(Reply(answer(412), early=0))
        await self.fails(PreconditionFailed, self.put(b"x" * 3_000_000, spoil=Changed("a changed")))
        self.assertTrue(self.sent[0].closed)

    async def test_stored_otherwise(self):
        """A remote that has other bytes than were sent is told apart."""
        self.serve(answer(201, etag=f'"{"0" * 32}"'))
        await self.fails(Failed, self.put())

    async def test_cancel(self):
        """A write that is cancelled ends, and lets go of the file."""
        self.serve(b"")
        work = Deferred.fromCoroutine(self.put(b"x" * 1000))
        await deferLater(reactor, 0.05)
        caught = []
        work.addErrback(lambda why: caught.append(why.type.__name__))
        work.cancel()
        await deferLater(reactor, 0.05)
        self.assertEqual(caught, ["CancelledError"])
        self.assertTrue(self.sent[0].closed)

    async def test_delete(self):
        """A deletion names what was seen."""
        self.serve(answer(204))
        await self.remote.delete("ä b/%2F", Entry(HELLO))
        asked = self.server.asked[0]
        self.assertEqual((asked.method, asked.target), ("DELETE", "/blob/%C3%A4%20b/%252F"))
        self.assertEqual(asked.headers["if-match"], f'"{HELLO}"')


class ReadingTests(RemoteCase):
    async def test_get(self):
        """The bytes are what the ETag says."""
        self.serve(answer(200, b"hello", etag=f'"{HELLO}"', x_version=3))
        self.assertEqual(await self.remote.get("a", self.receive), Base(HELLO, 3))
        self.assertEqual(self.got, b"hello")

    async def test_wrong(self):
        """Bytes that are not what the ETag says, or that no ETag speaks of, are refused."""
        for reply in (
            answer(200, b"hullo", etag=f'"{HELLO}"'),
            answer(200, b"hello"),
            answer(200, b"hello", etag='"x"'),
        ):
            self.serve(reply)
            await self.fails(Failed, self.remote.get("a", self.receive))

    async def test_cut(self):
        """A body that breaks off is fetched again, from the beginning."""
        whole = answer(200, b"hello", etag=f'"{HELLO}"')
        self.serve(Reply(whole[:-2], cut=True), whole)
        await self.remote.get("a", self.receive)
        self.assertEqual((self.got, len(self.server.asked)), (b"hello", 2))

    async def test_large(self):
        """A large body waits for whoever reads it; at most a few MiB are in memory."""
        body, most = b"x" * 20_000_000, []
        self.serve(answer(200, body, etag=f'"{md5(body, usedforsecurity=False).hexdigest()}"'))

        async def slowly(incoming):
            found = md5(usedforsecurity=False)
            while piece := await incoming.read():
                most.append(len(piece))
                found.update(piece)
                if len(most) < 20:
                    await deferLater(reactor, 0.01)
            return found.hexdigest()

        await self.remote.get("a", slowly)
        self.assertEqual(sum(most), len(body))
        self.assertLess(max(most), 3_000_000)

    async def test_no_index(self):
        """Something else at the URL is told."""
        for body in (b"<html>", b"[]", b'{"files":{"a":{"md5":"../x","size":1,"is_deleted":false}}}', b"\xff"):
            self.serve(answer(200, body))
            await self.fails(Failed, self.remote.index())

    async def test_not_modified(self):
        """An index that has not changed is not sent again; an older server knows no more than that."""
        self.serve(answer(200, INDEX, etag='"e"'), answer(304, etag='"e"'))
        self.assertEqual(await self.remote.index(), await self.remote.index())
        self.assertEqual(self.server.asked[1].headers["if-none-match"], '"e"')

    async def test_live(self):
        """Whether a file is live is asked of the file itself."""
        self.serve(answer(200), answer(404))
        self.server.replies[0].data = answer(200, length=5)
        self.assertEqual([await self.remote.is_live("a"), await self.remote.is_live("a")], [True, False])

    async def test_listen(self):
        """That we listen is heard, for what was missed before, and each event; a comment is not."""
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        for stream, count in ((b": alive\n\n", 1), (b": alive\n\nevent: changes\ndata: {}\n\n", 2)):
            self.serve(Reply(head + stream, cut=True))
            heard = []
            await self.remote.listen(partial(heard.append, 1))
            self.assertEqual(len(heard), count)


class PatienceTests(SynchronousTestCase):
    def test_pauses(self):
        """The pauses grow, have a bound, and are not the same for all; then it is given up."""
        clock, tries = Clock(), []

        async def attempt():
            tries.append(clock.seconds())
            raise TooMany("too often", 0.0)

        work = Deferred.fromCoroutine(Patience(60.0, clock).spend(attempt))
        caught = []
        work.addErrback(lambda why: caught.append(why.type))
        for _ in range(700):
            clock.advance(0.1)
        self.assertEqual(caught, [TooMany])
        pauses = [after - before for before, after in pairwise(tries)]
        self.assertLess(pauses[0], 0.4)
        self.assertGreater(max(pauses), 4.0)
        self.assertLess(max(pauses), 15.2)
        self.assertLess(tries[-1], 60.0)

    def test_long_work(self):
        """What took long before it failed is tried again all the same."""
        clock, tries = Clock(), []

        async def attempt():
            tries.append(clock.seconds())
            if len(tries) == 1:
                await deferLater(clock, 1000.0)
                raise Unavailable("it broke off")
            return "done"

        results = []
        Deferred.fromCoroutine(Patience(60.0, clock).spend(attempt)).addCallback(results.append)
        clock.pump([500.0, 500.0, 1.0])
        self.assertEqual(results, ["done"])


class DialectTests(SynchronousTestCase):
    def test_plain(self):
        """By md5: nothing, a file, a tombstone that nobody has revived."""
        plain = Plain()
        self.assertEqual(plain.putting("m", None), {"content-md5": "new"})
        self.assertEqual(plain.putting("m", Entry("old")), {"content-md5": "old"})
        grave = Entry("old", is_deleted=True)
        self.assertEqual(plain.putting("m", grave), {"content-md5": "old", "if-none-match": "*"})

    def test_namespaced(self):
        """By version; slashes of ours are the only ones."""
        spaced = Namespaced("personas/default")
        self.assertEqual(spaced.blob("topics/one.md"), "/personas%2Fdefault/blob/topics%2Fone.md")
        self.assertEqual(spaced.index, "/sync/personas%2Fdefault")
        self.assertEqual(spaced.putting("m", None), {"if-match-version": "0", "content-md5": "m"})
        self.assertEqual(spaced.putting("m", Entry("old", version=7))["if-match-version"], "7")
        self.assertEqual(spaced.deleting(Entry("old", version=7)), {"if-match-version": "7"})
        self.assertRaises(Failed, spaced.putting, "m", Entry("old"))

    def test_roots(self):
        """One tree has one name; a credential in a URL is refused, unread."""
        self.assertEqual(root_of("http://Host:80/a/"), "http://host:80/a")
        for url in ("host", "ftp://host", "http://", "http://host?a", "http://host#a", "file:///etc"):
            self.assertRaises(BadRequest, root_of, url)
        with self.assertRaises(BadRequest) as caught:
            root_of("http://user:swordfish@host")
        self.assertNotIn("swordfish", str(caught.exception))

    def test_names(self):
        """What was agreed on is remembered by tree, not by how it is reached."""
        names = [Remote("http://host/", None, reactor, namespace=ns).name for ns in (None, "a", "b/c")]
        self.assertEqual(names, ["http://host", "http://host a", "http://host b/c"])

    def test_secret(self):
        """The token is in no repr, and one that would break a header is refused, unread."""
        one = Remote("http://host", TOKEN, reactor)
        self.assertNotIn(TOKEN, repr(one) + repr(one._wire) + repr(vars(one)))
        with self.assertRaises(BadRequest) as caught:
            Remote("http://host", f"{TOKEN}\r\nX: y", reactor)
        self.assertNotIn(TOKEN, str(caught.exception))

    def test_delta(self):
        """An index says whether it is all, or only what changed."""
        self.assertTrue(read_index(b'{"files":{}}').reset)
        self.assertFalse(read_index(b'{"files":{},"cursor":"1","reset":false}').reset)
