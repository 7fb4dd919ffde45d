"""A Bucket's own promises: what a server and a network may do to it."""

import contextlib  # trial takes a module's `suppress` for its own
import os
import re
import time

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.errors import BadRequest, ConfigError, Failed, Full, Missing, PreconditionFailed, TooLarge, Unavailable
from stor.storage import headers
from stor.storage.faults import code_of, fault, is_passing
from stor.storage.promise import ABSENT
from stor.storage.s3 import Bucket
from stor.streams import whole
from tests.certificates import Authority
from tests.places import folder
from tests.s3 import CONFLICT, SLOW_DOWN, FaultyProxy, TlsProxy, chunked, settings, shared_moto
from tests.servers import S3Server, free_port
from tests.storage.stores import MIB, at_once, digest, keys, open_bucket, read, spooled

QUICK = {"connect_seconds": 0.5, "read_seconds": 1.0}


class BucketCase(TestCase):
    timeout = 60

    @pytest.fixture(autouse=True)
    def _lend(self, s3_server):
        self.server = s3_server

    async def proxied(self, **more):
        """Give a proxy before the server and a store behind it."""
        proxy = FaultyProxy(self.server.port)
        self.addCleanup(proxy.close)
        store = await open_bucket(self, self.server, endpoint=f"http://127.0.0.1:{proxy.port}", **more)
        return proxy, store

    def key(self, name="key"):
        """Name a key that no other test has."""
        return f"{self.id()}/{name}".replace(":", "")


class FaultTests(BucketCase):
    async def refusing(self, store, seconds):
        """Every call is Unavailable within so many seconds."""
        spool, began = await spooled(store, [bytes(MIB)]), time.monotonic()
        outcomes = await at_once(
            store.get("a"),
            store.head("a"),
            store.put("a", b"x"),
            store.put("a", b"x", when=ABSENT),
            store.put("a", spool),
            store.delete("a"),
            store.copy("a", "b", etag="x"),
            keys(store),
            store.check(),
        )
        self.assertEqual([outcome for outcome in outcomes if not isinstance(outcome, Unavailable)], [])
        self.assertLess(time.monotonic() - began, seconds)
        spool.discard()

    async def test_hangs(self):
        """A server that hangs costs each call its deadline and no thread or connection for longer."""
        with S3Server() as server:
            store = await open_bucket(self, server, **QUICK)
            await store.put("a", b"x")
            server.pause()
            try:
                began = time.monotonic()
                for outcome in await at_once(*[store.get("a") for _ in range(200)]):
                    self.assertIsInstance(outcome, Unavailable)
                self.assertLess(time.monotonic() - began, 3.5)
                await self.refusing(store, 5.0)
                began = time.monotonic()
                with self.assertRaises(Unavailable):
                    await store.check()
                self.assertLess(time.monotonic() - began, 1.0)
            finally:
                server.resume()
            self.assertEqual(await read(store, "a"), b"x")
            await store.stopService()
            server.kill()

    async def test_refuses(self):
        """A server that is gone is told at once; when it is back all works again."""
        proxy, store = await self.proxied()
        await store.put(self.key(), b"x")
        proxy.close()
        await self.refusing(store, 1.0)
        proxy.open()
        self.assertEqual(await read(store, self.key()), b"x")

    async def test_not_well(self):
        """Answers 500, 503 and SlowDown are tried again, and told with a time to wait when they go on."""
        proxy, store = await self.proxied()
        for status, body in ((500, b""), (503, SLOW_DOWN), (429, b"")):
            proxy.answer(status, body, times=2)
            await store.put(self.key(), b"x", when=None)
            proxy.answer(status, body, times=3)
            with self.assertRaises(Unavailable) as raised:
                await store.get(self.key())
            self.assertEqual(raised.exception.retry_after, 1.0)
        proxy.answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        with self.assertRaisesRegex(Unavailable, "refuses our credential"):
            await store.get(self.key())

    async def test_no_http(self):
        """What is no HTTP, and what is too long, is Unavailable."""
        proxy, store = await self.proxied()
        long = b"HTTP/1.1 500 So\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n" + b"x" * 0x20000 + b"\r\n0\r\n\r\n"
        for answer in (b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", long):
            proxy.canned.extend([answer] * 3)
            with self.assertRaises(Unavailable):
                await store.get(self.key())

    async def test_answer_cut(self):
        """A connection that is lost in the middle of the bytes is an error, never an end; and none is left open."""
        proxy, store = await self.proxied()
        data = os.urandom(5 * MIB)
        await store.put(self.key(), data)
        proxy.cut_answer_after = 2 * MIB
        for _ in range(3):
            body, came = (await store.get(self.key())).body, 0
            with self.assertRaises(Unavailable):
                while piece := await body.read():
                    came += len(piece)
            self.assertTrue(0 < came <= 2 * MIB)
            body.close()
        proxy.cut_answer_after = 100
        with self.assertRaises(Unavailable):
            await store.get(self.key())
        proxy.cut_answer_after = None
        self.assertEqual(
            await digest(store, self.key()), await digest(await open_bucket(self, self.server), self.key())
        )

    async def test_request_cut(self):
        """An upload that is cut is Unavailable, and nothing of it is visible."""
        proxy, store = await self.proxied()
        await store.put(self.key("old"), b"old")
        for size in (3 * MIB, 70 * MIB):
            proxy.cut_request_after = 2 * MIB
            spool = await spooled(store, [os.urandom(MIB)] * (size // MIB))
            for name in ("old", "new"):
                with self.assertRaises(Unavailable):
                    await store.put(self.key(name), spool)
            proxy.cut_request_after = None
            self.assertEqual(await keys(store, self.key("")), [self.key("old")])
            self.assertEqual(await read(store, self.key("old")), b"old")
            await store.put(self.key("new"), spool)
            self.assertEqual((await store.head(self.key("new"))).size, size)
            await store.delete(self.key("new"))

    async def test_lost_answer(self):
        """A conditional put whose answer was lost is found to have succeeded, or to be another's."""
        proxy, store = await self.proxied()
        proxy.lost_answers = 1
        info = await store.put(self.key("a"), b"mine", when=ABSENT, metadata={"a": "b"})
        head = await store.head(self.key("a"))
        self.assertEqual((head.etag, head.metadata), (info.etag, {"a": "b"}))
        proxy.lost_answers = 1
        info = await store.put(self.key("a"), b"mine too", when=info.etag)
        self.assertEqual(info.etag, (await store.head(self.key("a"))).etag)
        proxy.lost_answers = 1
        with self.assertRaisesRegex(Unavailable, "cannot be known"):  # refused both times, but who can tell
            await store.put(self.key("a"), b"x", when=ABSENT)
        proxy.lost_answers = 1
        with self.assertRaises(Unavailable):
            await store.delete(self.key("a"), when=info.etag)
        with self.assertRaises(PreconditionFailed):
            await store.put(self.key("b"), b"x", when=info.etag)

    async def test_conflict(self):
        """A conflict (409) is tried again, and certainly nothing was done: a refusal behind it is a plain one."""
        proxy, store = await self.proxied()
        await store.put(self.key(), b"theirs")
        for times in (1, 2, 3):
            proxy.answer(409, CONFLICT, times)
            with self.assertRaises(PreconditionFailed):
                await store.put(self.key(), b"x", when=ABSENT)
            proxy.answer(409, CONFLICT, times)
            with self.assertRaises(PreconditionFailed):
                await store.delete(self.key(), when="0" * 32)
        proxy.answer(409, CONFLICT)
        proxy.answer(503, SLOW_DOWN)
        with self.assertRaisesRegex(Unavailable, "cannot be known"):
            await store.put(self.key(), b"x", when=ABSENT)
        self.assertEqual(await read(store, self.key()), b"theirs")

    async def test_chunked(self):
        """An answer that does not say its length is given whole, and with its size, whatever that is."""
        proxy, store = await self.proxied()
        for size in (0, 10, 64 * 1024, 300_000):
            data = os.urandom(size)
            etag = (await store.put(self.key(), data)).etag
            for more, status in ((b"", 200), (b"Content-Range: bytes 7-%d/%d\r\n" % (size + 6, size + 7), 206)):
                proxy.canned.append(chunked(data, etag, more, status))
                found = await store.get(self.key())
                self.assertEqual(found.info.size, size + 7 if more else size)
                self.assertEqual(await whole(found.body, MIB), data)
        proxy.canned.append(chunked(data, "another"))
        with self.assertRaisesRegex(Unavailable, "was changed"):
            await store.get(self.key())
        proxy.canned.append(chunked(data, etag))
        with self.assertRaisesRegex(Failed, "no ranges"):
            await store.get(self.key(), 0, 5)
        proxy.canned.append(chunked(data, etag).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        with self.assertRaisesRegex(Failed, "lacks a size"):
            await store.head(self.key())
        proxy.canned.append(chunked(data, etag)[:200_000])
        body = (await store.get(self.key())).body
        with self.assertRaises(Unavailable):
            await whole(body, MIB)
        await deferLater(reactor, 0.1)
        self.assertLessEqual(proxy.connections, 2)

    async def test_given_up(self):
        """Streams that are closed before their end, and calls that are cancelled, leave no connection behind."""
        proxy, store = await self.proxied(connections=4)
        await store.put(self.key(), bytes(20 * MIB))
        for _ in range(6):
            body = (await store.get(self.key())).body
            self.assertTrue(await body.read())
            body.close()
            body.close()
            getting = Deferred.fromCoroutine(store.get(self.key()))
            await deferLater(reactor, 0.001)
            getting.cancel()
            with contextlib.suppress(CancelledError):
                (await getting).body.close()
        await deferLater(reactor, 0.1)
        self.assertLessEqual(proxy.connections, 2)
        self.assertEqual((await digest(store, self.key()))[1], 20 * MIB)

    async def test_slow_reader(self):
        """A body comes at the pace of its reader: what waits in memory is bounded, and its time is not limited."""
        _, store = await self.proxied(**QUICK)
        await store.put(self.key(), bytes(20 * MIB))
        body = (await store.get(self.key())).body
        await deferLater(reactor, 1.5)
        self.assertLess(body._size, MIB)
        came = 0
        while piece := await body.read():
            self.assertLess(len(piece), MIB)
            came += len(piece)
        body.close()
        self.assertEqual(came, 20 * MIB)

    async def test_server_stalls(self):
        """A body that stops coming is Unavailable after the time without a sign of life."""
        proxy, store = await self.proxied(**QUICK)
        await store.put(self.key(), bytes(20 * MIB))
        body = (await store.get(self.key())).body
        proxy.flows.clear()
        self.addCleanup(proxy.flows.set)
        began = time.monotonic()
        with self.assertRaises(Unavailable):
            while await body.read():
                pass
        self.assertLess(time.monotonic() - began, 2.5)
        body.close()

    async def test_connections(self):
        """However many call at once there are only so many connections, and they are used again."""
        proxy, store = await self.proxied(connections=3)
        await store.put(self.key(), b"x")
        for outcome in await at_once(*[read(store, self.key()) for _ in range(100)]):
            self.assertEqual(outcome, b"x")
        self.assertLessEqual(proxy.connections, 3 + 2)  # and boto3's

    async def test_too_much(self):
        """When too many wait the next is refused at once."""
        _, store = await self.proxied(connections=1)
        await store.put(self.key(), b"x")
        outcomes = await at_once(*[read(store, self.key()) for _ in range(1500)])
        refused = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
        self.assertGreaterEqual(len(refused), 499)
        self.assertIn(b"x", outcomes)


class WireTests(BucketCase):
    """A byte that changes on the way to a server that compares what it is told."""

    async def setUp(self):
        self.proxy, self.store = await self.proxied()

    async def refused(self, body, **words):
        """It is refused while the network changes bytes, leaves nothing, and is taken when it does not."""
        self.proxy.spoils = b"a" * 100
        with self.assertRaises(Unavailable) as raised:
            await self.store.put(self.key(), body, **words)
        self.assertIn("on their way", str(raised.exception))
        self.assertEqual(await keys(self.store, self.key()), [])
        said = await self.store._boto._call("list_multipart_uploads", Prefix=self.key())
        self.assertEqual(said.get("Uploads", []), [])
        self.proxy.spoils = None
        await self.store.put(self.key(), body, **words)
        self.assertEqual(len(await keys(self.store, self.key())), 1)
        await self.store.delete(self.key())

    async def test_few(self):
        """Bytes in memory."""
        await self.refused(b"a" * 1000)
        await self.refused(b"a" * 1000, when=ABSENT)

    async def test_whole(self):
        """A file that is sent whole, whichever digests of it are known."""
        for digests in (("sha256",), ("md5",), ("sha256", "md5"), ()):
            await self.refused(await spooled(self.store, [b"a" * 300_000], digests=digests))

    async def test_parts(self):
        """A file that is sent in parts, of which one arrives as another."""
        pieces = [bytes(MIB)] * 70
        pieces[40] = b"a" * MIB
        await self.refused(await spooled(self.store, pieces, digests=("sha256",)))

    async def test_other_etags(self):
        """Where etags are no digests of the bytes, nothing is taken for changed."""
        self.store._objects.sums.compares = False
        self.proxy.canned.append(
            b'HTTP/1.1 200 OK\r\nETag: "%s"\r\nContent-Length: 0\r\n'
            b"x-amz-server-side-encryption: aws:kms\r\n\r\n" % (b"0" * 32)
        )
        await self.store.put(self.key(), b"x")


class CarelessWireTests(WireTests):
    """A server that compares nothing, but tells by its etags what has come."""

    @pytest.fixture(autouse=True)
    def _lend(self, s3_server):
        self.server = shared_moto()


class StartTests(BucketCase):
    async def starting(self, **more):
        store = Bucket(settings(self.server, **{**QUICK, **more}), folder(self), reactor)
        try:
            await store.startService()
        finally:
            await store.stopService()

    async def test_wrong(self):
        """What the operator must mend is said at the start: the bucket, the keys, the address; no secret is."""
        for more, words in (
            ({"endpoint": "no-url"}, "Invalid endpoint|a URL"),
            ({"secret_key": "wrong-secret"}, "refuses our credential"),
            ({"bucket": "no-such-bucket"}, "does not exist"),
        ):
            with self.assertRaisesRegex(ConfigError, words) as raised:
                await self.starting(**more)
            self.assertNotIn("secret", str(raised.exception))
        with self.assertRaises(Unavailable):
            await self.starting(endpoint=f"http://127.0.0.1:{free_port()}")

    def test_secrecy(self):
        """The settings do not show their secrets."""
        self.assertNotIn(self.server.secret_key, repr(settings(self.server)))

    async def test_tls(self):
        """Over TLS all is the same; an authority that is not ours is refused."""
        authority, other = Authority(folder(self)), Authority(folder(self))
        with TlsProxy(self.server.port, *authority.certificate("server", "localhost")) as proxy:
            url = f"https://localhost:{proxy.port}"
            store = await open_bucket(self, self.server, endpoint=url, ca_file=authority.file)
            data = os.urandom(5 * MIB)
            await store.put(self.key(), await spooled(store, [data]), when=ABSENT)
            self.assertEqual(await read(store, self.key()), data)
            self.assertEqual(await read(store, self.key(), 5, 10), data[5:10])
            self.assertEqual(await keys(store, self.key("")), [self.key()])
            await store.check()
            for ca_file in (other.file, None):
                with self.assertRaisesRegex(Unavailable, "certificate verify failed"):
                    await self.starting(endpoint=url, ca_file=ca_file)
            await store.stopService()

    async def test_found_credentials(self):
        """Without keys in the settings those of the environment are used, and looked for again."""
        for name, value in (("ACCESS_KEY_ID", self.server.access_key), ("SECRET_ACCESS_KEY", self.server.secret_key)):
            self.patch(os, "environ", {**os.environ, f"AWS_{name}": value})
        store = await open_bucket(self, self.server, access_key="", secret_key="")
        await store.put(self.key(), b"x")
        before = store._asker.credentials
        await store._renew()
        self.assertEqual(store._asker.credentials, before)
        self.assertIsNot(store._asker.credentials, before)
        self.assertEqual(await read(store, self.key()), b"x")

    async def test_together(self):
        """Many that start at once find the same, and leave nothing in the bucket."""
        stores = await at_once(*[open_bucket(self, self.server, probe_prefix=self.key("probe/")) for _ in range(5)])
        for store in stores:
            self.assertEqual(store._can, stores[0]._can)
        self.assertEqual(await keys(stores[0], self.key("")), [])

    async def test_no_conditions(self):
        """A server without conditions is found out and warned of; then this process compares for itself."""
        said = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        store = await open_bucket(self, self.server)
        store._can = type(store._can)(put=False, delete=False, copy=False, parts=False, order=False)
        first = await store.put(self.key(), b"1", when=ABSENT)
        outcomes = await at_once(*[store.put(self.key(), str(n).encode(), when=first.etag) for n in range(8)])
        self.assertEqual(sum(isinstance(outcome, PreconditionFailed) for outcome in outcomes), 7)
        with self.assertRaises(PreconditionFailed):
            await store.delete(self.key(), when=first.etag)
        with self.assertRaises(PreconditionFailed):
            await store.copy(self.key(), self.key("b"), etag=first.etag)
        with self.assertRaises(Missing):
            await store.copy(self.key("no"), self.key("b"), etag=first.etag)
        self.assertEqual(store._turns._locks, {})


class TableTests(SynchronousTestCase):
    def test_faults(self):
        """Each of S3's errors is one of ours, a new one each time."""
        for status, code, kind in (
            (404, "NoSuchKey", Missing),
            (404, "", Missing),
            (412, "PreconditionFailed", PreconditionFailed),
            (412, "", PreconditionFailed),
            (409, "ConditionalRequestConflict", PreconditionFailed),
            (503, "SlowDown", Unavailable),
            (500, "InternalError", Unavailable),
            (403, "AccessDenied", Unavailable),
            (401, "", Unavailable),
            (404, "NoSuchBucket", Unavailable),
            (400, "RequestTimeout", Unavailable),
            (400, "KeyTooLongError", BadRequest),
            (400, "EntityTooLarge", TooLarge),
            (507, "", Full),
            (403, "QuotaExceeded", Full),
            (501, "NotImplemented", Failed),
            (301, "PermanentRedirect", Failed),
        ):
            self.assertIs(type(fault(status, code)), kind, (status, code))
            self.assertIsNot(fault(status, code), fault(status, code))
        self.assertEqual(fault(503, "SlowDown").retry_after, 1.0)

    def test_passing(self):
        """What may be better in a moment is told from what will not."""
        for status, code, passes in ((503, "SlowDown", True), (409, "ConditionalRequestConflict", True)):
            self.assertEqual(is_passing(status, code), passes)
        for status, code in ((404, "NoSuchKey"), (412, ""), (403, ""), (409, "BucketNotEmpty"), (200, "")):
            self.assertFalse(is_passing(status, code))

    def test_code(self):
        """The code is found in the answer's XML, and nothing odd is taken for one."""
        self.assertEqual(code_of(SLOW_DOWN), "SlowDown")
        for body in (b"", b"<Code></Code>", b"<Code>a b</Code>", b"<Code>" + b"x" * 99 + b"</Code>", b"<html>"):
            self.assertEqual(code_of(body), "")

    def test_headers(self):
        """Metadata that is not plain ASCII, or might be taken for encoded, survives; somebody else's is left alone."""
        for value in ("", "a", "ü", " a", "a ", "=?UTF-8?B?YQ==?=", "=?x", "a\u2028b", "a  b"):
            said = headers.said(None, {"n": value})
            self.assertTrue(re.fullmatch(r"[!-~]([ -~]*[!-~])?", said["x-amz-meta-n"]), said)
            self.assertEqual(headers.metadata_of(said), {"n": value})
        for value in ("=?UTF-8?B?!?=", "=?UTF-8?B?/w==?=", "=?UTF-8?Q?=FC?="):
            self.assertEqual(headers.metadata_of({"x-amz-meta-n": value}), {"n": value})

    def test_dates(self):
        """An HTTP date is seconds since 1970."""
        self.assertEqual(headers.seconds("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777.0)
        for wrong in ("", "Sun, 06 Nov 1994", "Sunday, 06-Nov-94 08:49:37 GMT"):
            self.assertRaises(ValueError, headers.seconds, wrong)

    def test_no_info(self):
        """An answer that lacks what each S3 server says is a failure, not a guess."""
        whole = {"content-length": "1", "etag": '"x"', "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT"}
        self.assertEqual(headers.info("k", whole).size, 1)
        for name, value in (
            ("etag", None),
            ("last-modified", None),
            ("last-modified", "soon"),
            ("content-length", "x"),
            ("content-length", None),
        ):
            wrong = {**whole, name: value}
            if value is None:
                del wrong[name]
            self.assertRaises(Failed, headers.info, "k", wrong)
