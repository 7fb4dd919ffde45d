"""Resumable uploads and quotas: what is there, on its way, and still to come never exceeds what a tenant may have."""

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from stor.errors import Full
from stor.objects.records import Draft, Name
from stor.objects.resumable.service import Settings
from tests.objects.serving import etag_of
from tests.objects.upload_deeds import at_rest
from tests.objects.uploading import PIECE, Uploading

LARGE = 2_000_000  # bytes of an object that is written down before they come
CHUNKED = {"Transfer_Encoding": "chunked", "Content_Length": None}


def chunked(data):
    """Give a body in one chunk."""
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)


class QuotaTests(Uploading):
    of_uploads = Settings(direct_bytes=0, patience=5.0)

    async def limit(self, most, objects=None):
        sql = "INSERT INTO object_quota (tenant, bytes, objects) VALUES ('acme', ?, ?)"
        await self.objects.database.write(lambda tx: tx.execute(sql, (most, objects)))

    async def deferred(self):
        """Begin an upload whose length nobody has said."""
        return (await self.begin(Upload_Defer_Length="1")).headers["location"]

    async def test_unknown_size(self):
        """A piece of unknown size in an upload of unknown length ends where the quota does: none of it is kept."""
        await self.limit(1000)
        target = await self.deferred()
        self.assert_error(await self.patch(target, 0, chunked(bytes(5000)), **CHUNKED), 507, "QUOTA_EXCEEDED")
        self.assertEqual((await self.files(), await self.offset(target)), ([], 0))
        self.assertEqual((await self.patch(target, 0, chunked(bytes(900)), **CHUNKED)).code, 204)
        for body, said in ((chunked(bytes(101)), CHUNKED), (bytes(101), {})):
            self.assert_error(await self.patch(target, 900, body, **said), 507, "QUOTA_EXCEEDED")
        self.assertEqual((await self.patch(target, 900, chunked(bytes(100)), **CHUNKED)).code, 204)
        self.assert_error(await self.patch(target, 1000, chunked(b"x"), **CHUNKED), 507, "QUOTA_EXCEEDED")
        self.assertEqual((await self.patch(target, 1000, Upload_Length=1000)).code, 204)
        await at_rest(self.objects)

    async def test_unknown_size_at_creation(self):
        """The first piece of an upload of unknown length is no exception."""
        await self.limit(1000)
        said = {"Upload_Defer_Length": "1", "Content_Type": PIECE}
        for body, more, code in ((chunked(bytes(5000)), CHUNKED, 507), (bytes(5000), {}, 413)):
            self.assert_error(await self.begin(body, **said, **more), code, "QUOTA_EXCEEDED")
        self.assertEqual((await self.rows("object_upload"), await self.files()), (0, []))
        self.assertEqual((await self.begin(chunked(bytes(1000)), **said, **CHUNKED)).code, 201)

    async def test_length_said_later(self):
        """A length that is said later is refused like one that is said first, and counts from then on."""
        await self.limit(1000)
        first, second = await self.deferred(), await self.deferred()
        self.assertEqual((await self.patch(first, 0, bytes(100))).code, 204)
        self.assert_error(await self.patch(first, 100, Upload_Length=10_000), 413, "QUOTA_EXCEEDED")
        self.assertIn("upload-defer-length", (await self.head(first)).headers)
        self.assertEqual((await self.patch(first, 100, Upload_Length=900)).code, 204)
        self.assert_error(await self.patch(second, 0, Upload_Length=101), 507, "QUOTA_EXCEEDED")
        self.assertEqual((await self.patch(second, 0, bytes(10), Upload_Length=100)).code, 204)
        self.assertEqual((await self.patch(first, 100, bytes(800))).code, 204)
        self.assertEqual((await self.patch(second, 10, bytes(90))).code, 204)
        self.assertEqual(await at_rest(self.objects), 2)

    async def test_length_under_way(self):
        """A length counts as soon as the piece that says it has begun."""
        await self.limit(1000)
        first, second = await self.deferred(), await self.deferred()
        raw = await self.half_sent(first, 0, b"12", 10, **{"Upload-Length": 600})
        await self.until(self.is_coming)
        self.assert_error(await self.patch(second, 0, b"1", Upload_Length=401), 507, "QUOTA_EXCEEDED")
        raw.send(b"34567890")
        await raw.until(b"204 No Content")

    async def is_coming(self):
        return self.uploads._keeping.coming

    async def test_two_at_once(self):
        """Of two pieces that fit alone and not together one counts; nothing stays of the other."""
        await self.limit(1000)
        targets = [await self.deferred(), await self.deferred()]
        raws = [await self.half_sent(target, 0, bytes(100), 600) for target in targets]
        await self.until(lambda: self.are_coming(2))
        raws[0].send(bytes(500))
        await raws[0].until(b"204 No Content")
        raws[1].send(bytes(500))
        await raws[1].until(b"QUOTA_EXCEEDED")
        self.assertEqual([await self.offset(target) for target in targets], [600, 0])
        self.assertEqual((await self.rows("object_upload_part"), await self.rows("object_doomed")), (1, 1))

    async def are_coming(self, count):
        return len(self.uploads._keeping.coming) == count

    async def test_small_objects(self):
        """What an upload is to have is not there for others, and what it was promised it gets."""
        await self.limit(1000, 3)
        target = await self.begun(600)
        self.assert_error(await self.put("a", bytes(401)), 507, "QUOTA_EXCEEDED")
        self.assertEqual((await self.put("a", bytes(400))).code, 201)
        self.assertEqual((await self.put("b", b"")).code, 201)
        self.assert_error(await self.put("c", b""), 507, "QUOTA_EXCEEDED")
        self.assert_error(await self.begin(Upload_Length=1), 507, "QUOTA_EXCEEDED")
        await self.patch(target, 0, bytes(300))
        self.assertEqual((await self.patch(target, 300, bytes(300))).code, 204)
        self.assertEqual(await at_rest(self.objects), 3)

    async def test_large_objects(self):
        """What is on its way as a whole object is not there for uploads, and the other way round."""
        await self.limit(2 * LARGE)
        body = self.objects.receive(Draft(Name("photos", "acme")), LARGE)
        await body.written_down()
        self.assert_error(await self.begin(Upload_Length=LARGE + 1), 507, "QUOTA_EXCEEDED")
        await self.begun(LARGE)
        another = self.objects.receive(Draft(Name("photos", "acme")), LARGE)
        await self.assertFailure(Deferred.fromCoroutine(another.written_down()), Full)
        body.discard()
        await at_rest(self.objects)

    async def test_replaced(self):
        """What an upload replaces makes room for it, and those that were promised room keep it."""
        await self.limit(10, 2)
        await self.made("k", bytes(8))
        other = await self.begun(2)
        target = await self.begun(7, "k", If_Match=etag_of(bytes(8)))
        self.assertEqual((await self.patch(other, 0, b"12")).code, 204)
        self.assertEqual((await self.patch(target, 0, b"1234567")).code, 204)
        self.assert_error(await self.begin(Upload_Length=2), 507, "QUOTA_EXCEEDED")
        self.assertEqual(await at_rest(self.objects), 3)  # the replaced one is DELETING

    async def test_used_up(self):
        """An upload that cannot end for lack of quota expires like any other; to ask for it puts nothing off."""
        await self.made("there", bytes(6))
        target = await self.begun(7, "k")
        await self.patch(target, 0, bytes(3))
        await self.limit(10)
        self.change(seconds=2.0)
        self.assert_error(await self.patch(target, 3, bytes(4)), 507, "QUOTA_EXCEEDED")
        before = await self.status(target)
        self.assertEqual(before["status"], "FINISHING")
        self.change(seconds=60.0)
        for _ in range(3):
            await self.objects.database.write(lambda tx: tx.execute("UPDATE object_upload SET claimed_until = 0"))
            self.assertEqual((await self.head(target)).code, 507)
            self.assert_error(await self.patch(target, 7), 507, "QUOTA_EXCEEDED")
            self.assertEqual((await self.status(target))["expires_at"], before["expires_at"])
            await self.uploads.expire()
        await deferLater(reactor, 2.0)
        self.assertEqual((await self.head(target)).code, 404)
        self.assertEqual(await self.uploads.expire(), 1)
        self.assertEqual((await self.rows("object_upload_part"), await self.rows("object_doomed")), (0, 2))
        self.assertEqual((await self.put("k", b"1234")).code, 201)
        await at_rest(self.objects)


class PostgresQuotaTests(QuotaTests):
    backend = "postgresql+folder"
