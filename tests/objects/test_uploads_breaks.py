"""Connections that break, requests that meet, bytes that are lost, and time that passes."""

from functools import partial

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from stor.errors import Conflict, Unavailable
from stor.objects.records import Name, StorageClass
from stor.objects.resumable import piece
from stor.objects.resumable.records import Wanted
from stor.objects.resumable.rules import overtaken
from stor.objects.resumable.service import Settings
from tests.objects.rooms import body_of, get
from tests.objects.serving import together
from tests.objects.upload_deeds import at_rest
from tests.objects.uploading import PIECE, Uploading, checksum

LARGE = 300_000  # bytes that a spool keeps in a file
AS_PARTS = Settings(direct_bytes=0, patience=5.0)


class BrokenTests(Uploading):
    of_uploads = AS_PARTS

    async def received(self, size):
        """Wait until the site has had so many bytes of a piece under way."""
        keeping = self.uploads._keeping
        await self.until(lambda: _true(any(each.size >= size for each in keeping._coming.values())))

    async def test_cut(self):
        """What had arrived when the connection broke is kept, and the upload goes on from there."""
        for size in (3, LARGE):
            body = body_of(f"cut {size}", size + 10)
            target = await self.begun(len(body))
            raw = await self.half_sent(target, 0, body[:size], len(body))
            await self.received(size)
            raw.transport.abortConnection()
            await raw.over
            await self.until(lambda target=target, size=size: _is(self.offset(target), size))
            done = await self.patch(target, size, body[size:])
            self.assertEqual(await self.bytes_of(done), body)
        await at_rest(self.objects)

    async def test_asked_at_once(self):
        """Who asks while it is being kept waits for that: no byte is sent twice."""
        body = body_of("at once", LARGE)
        target = await self.begun(len(body) + 1)
        going, held = self._hold(self.objects.stores[StorageClass.HOT], "put")
        raw = await self.half_sent(target, 0, body, len(body) + 1)
        await self.received(LARGE)
        raw.transport.abortConnection()
        await held
        asked = Deferred.fromCoroutine(self.offset(target))
        added = Deferred.fromCoroutine(self.patch(target, LARGE, b"x"))
        await deferLater(reactor, 0.1)
        self.assertEqual((asked.called, added.called), (False, False))
        going.callback(None)
        self.assertIn(await asked, {LARGE, LARGE + 1})
        self.assertEqual(await self.bytes_of(await added), body + b"x")

    async def test_whole_but_cut(self):
        """When only the answer is lost, there is an object all the same."""
        target = await self.begun(5)
        raw = await self.half_sent(target, 0, b"hello", 5)
        raw.transport.abortConnection()
        await raw.over
        await self.until(lambda: _is(self._status_of(target), {"DONE", "OPEN"}))
        if await self._status_of(target) == "OPEN":  # the break was faster than the bytes
            await self.patch(target, await self.offset(target), b"hello"[await self.offset(target) :])
        self.assertEqual((await self.status(target))["status"], "DONE")
        self.assertEqual(await at_rest(self.objects), 1)

    async def _status_of(self, target):
        return (await self.status(target))["status"]

    async def test_cut_with_checksum(self):
        """A broken piece that was to have a checksum is dropped."""
        target = await self.begun(10)
        sum_ = checksum("sha1", b"1234567890")
        raw = await self.half_sent(target, 0, b"1234", 10, Upload_Checksum=sum_)
        await self.received(4)
        raw.transport.abortConnection()
        await raw.over
        await self.until(lambda: _true(not self.uploads._keeping._coming))
        self.assertEqual((await self.offset(target), await self.files()), (0, []))

    async def test_strangers_ask(self):
        """Another tenant that knows an upload's id changes nothing of it, however silent its connection is."""
        self.patch_object(piece, "STALLED_SECONDS", 0.0)
        target = await self.begun(9)
        raw = await self.half_sent(target, 0, b"1234", 9)
        await self.received(4)
        for asked in (self.head, self.get, partial(self.tus, "DELETE")):
            self.assertEqual((await asked(target, caller="globex")).code, 404)
        for start in (0, 4):
            answer = await self.patch(target, start, b"xx", Upload_Length=9, caller="globex")
            self.assert_error(answer, 404, "UPLOAD_NOT_FOUND")
        raw.send(b"56789")
        await raw.until(b"204 No Content")
        self.assertEqual(await self.bytes_of(await self.patch(target, 9)), b"123456789")

    async def test_creation_cut(self):
        """Nobody could go on with an upload whose name was never told: nothing of it is kept."""
        raw = await self.connect()
        lines = ["POST /v1/uploads HTTP/1.1", "Host: here", f"X-API-Key: {'acme':-<40}", "Tus-Resumable: 1.0.0"]
        lines += ["Upload-Length: 9", "X-Namespace: n", "Content-Length: 9", f"Content-Type: {PIECE}", "", "1234"]
        raw.send("\r\n".join(lines).encode())
        await deferLater(reactor, 0.1)
        raw.transport.abortConnection()
        await raw.over
        await deferLater(reactor, 0.1)
        self.assertEqual((await self.rows("object_upload"), await self.files()), (0, []))

    async def test_silent(self):
        """A connection that says nothing for seconds counts as broken as soon as somebody asks for the upload."""
        self.patch_object(piece, "STALLED_SECONDS", 0.0)
        target = await self.begun(9)
        raw = await self.half_sent(target, 0, b"1234", 9)
        await self.received(4)
        self.assertEqual(await self.offset(target), 4)
        raw.send(b"56789")
        await raw.until(b"UPLOAD_OVERTAKEN")
        self.assertTrue(raw.heard.startswith(b"HTTP/1.1 409"), raw.heard)
        self.assertEqual(await self.offset(target), 4)
        self.assertEqual(await self.bytes_of(await self.patch(target, 4, b"5----")), b"12345----")

    def patch_object(self, where, name, value):
        """Set it for this test."""
        self.addCleanup(setattr, where, name, getattr(where, name))
        setattr(where, name, value)

    async def test_two_at_once(self):
        """Of two pieces for one offset the later one counts; the other is told, and its bytes are gone."""
        target = await self.begun(9)
        raw = await self.half_sent(target, 0, b"old", 4)
        await self.received(3)
        answer = await self.patch(target, 0, b"new")
        self.assertEqual((answer.code, answer.headers["upload-offset"]), (204, "3"))
        raw.send(b"x")
        await raw.until(b"UPLOAD_OVERTAKEN")
        done = await self.patch(target, 3, b"er one")
        self.assertEqual(await self.bytes_of(done), b"newer one")

    async def test_overtaken_at_its_end(self):
        """A piece that is overtaken while its last bytes are hashed is told so, not that it is our fault."""
        target = await self.begun(LARGE)
        late = self.uploads.piece(Wanted(target.rpartition("/")[2], "acme", 0, LARGE), None)
        await late.write(body_of("late", LARGE))
        ended = Deferred.fromCoroutine(late.finish())
        late.stop(overtaken())
        self.assertEqual((await self.assertFailure(ended, Conflict)).code, "UPLOAD_OVERTAKEN")

    async def test_many_at_once(self):
        """However many send the same piece at once, it counts once."""
        for direct in (0, 1 << 20):
            self.change(direct_bytes=direct)
            target = await self.begun(2 * LARGE)
            body = body_of("many", LARGE)
            for start in (0, LARGE):
                answers = await together([self.patch(target, start, body) for _ in range(8)])
                codes = [answer.code for answer in answers]
                self.assertEqual((codes.count(204), codes.count(409)), (1, 7), [answer.body for answer in answers])
                self.assertEqual(await self.offset(target), start + LARGE)
            self.assertEqual(await self.bytes_of(next(each for each in answers if each.code == 204)), body * 2)
        self.assertEqual(await at_rest(self.objects), 2)

    async def test_deleted_meanwhile(self):
        """An upload that is deleted under a piece takes nothing more."""
        target = await self.begun(9)
        raw = await self.half_sent(target, 0, b"1234", 9)
        await self.received(4)
        self.assertEqual((await self.tus("DELETE", target)).code, 204)
        raw.send(b"56789")
        await raw.until(b"UPLOAD_NOT_FOUND")
        self.assertEqual((await self.files(), await at_rest(self.objects)), ([], 0))

    async def test_left_early(self):
        """The object is made though who sent the last piece left before that was kept."""
        target, body = await self.begun(LARGE), body_of("early", LARGE)
        going, held = self._hold(self.objects.stores[StorageClass.HOT], "put")
        raw = await self.half_sent(target, 0, body, LARGE)
        await held
        raw.transport.abortConnection()
        await raw.over
        going.callback(None)
        await self.until(lambda: _is(self._status_of(target), {"DONE"}))
        await self._assert_object(target, body)

    async def test_given_up_waiting(self):
        """The object is made though who sent the last piece does not wait for it."""
        target, body = await self.begun(LARGE), body_of("left", LARGE)
        going, held = self._hold(self.objects, "create")
        raw = await self.half_sent(target, 0, body, LARGE)
        await held
        raw.transport.abortConnection()
        await raw.over
        self.change(patience=0.05)
        self.assertEqual(await self.offset(target), LARGE)  # all of it is durable
        self.assertEqual((await self.status(target))["status"], "FINISHING")
        going.callback(None)
        await self.until(lambda: _is(self._status_of(target), {"DONE"}))
        await self._assert_object(target, body)

    async def _assert_object(self, target, body):
        found = await self.status(target)
        self.assertEqual((await self.get(f"/v1/objects/{found['object_id']}")).body, body)

    def _hold(self, where, name):
        """Have a call wait; gives what lets it go on, and what tells that it was made."""
        call, going, held = getattr(where, name), Deferred(), Deferred()

        async def later(*args, **kwargs):
            if not held.called:
                held.callback(None)
            await going
            return await call(*args, **kwargs)

        self.patch_object(where, name, later)
        return going, held


class FinishingTests(Uploading):
    of_uploads = AS_PARTS

    async def parts_of(self, key, *parts):
        """Send an upload but for its last part; give its target and where it goes on."""
        target, start = await self.begun(sum(map(len, parts)), key), 0
        for part in parts[:-1]:
            await self.patch(target, start, part)
            start += len(part)
        return target, start

    async def test_lost_part(self):
        """A part that stays gone, or was touched, ends the upload: no object has other bytes than were sent."""
        self.change(damage_seconds=0.0)
        for change in (self._remove, self._touch):
            target, start = await self.parts_of("", b"12", b"34", b"56")
            await change((await self.files())[-1])
            self.assertEqual((await self.patch(target, start, b"56")).code, 503)  # it may only be away
            self.assertEqual((await self.status(target))["status"], "FINISHING")
            await self._time_passes()
            self.assertEqual((await self.head(target)).code, 500)
            found = await self.status(target)
            self.assertEqual((found["status"], found["error"]["code"]), ("FAILED", "UPLOAD_DAMAGED"))
            await self.tus("DELETE", target)
        self.assertEqual(await at_rest(self.objects), 0)

    async def _remove(self, copy):
        await self.objects.stores[StorageClass.HOT].delete(copy)

    async def _touch(self, copy):
        await self.objects.stores[StorageClass.HOT].put(copy, b"34")

    async def test_trouble(self):
        """What time can mend is tried again: by who asks, not at once, and never twice."""
        create, tries = self.objects.create, []

        async def failing(*args):
            tries.append(args)
            if len(tries) < 3:
                raise Unavailable("the store is away")
            return await create(*args)

        self.objects.create = failing
        target, start = await self.parts_of("k", b"12", b"34")
        self.assertEqual((await self.patch(target, start, b"34")).code, 503)
        self.assertEqual((await self.head(target)).code, 503)  # too early to try again
        found = await self.status(target)
        self.assertEqual((found["status"], found["error"]["message"]), ("FINISHING", "the store is away"))
        self.assertEqual(len(tries), 1)
        await self._time_passes()
        self.assertEqual((await self.head(target)).code, 503)
        await self._time_passes()
        self.assertEqual(await self.offset(target), 4)
        self.assertEqual((await self.status(target))["status"], "DONE")
        self.assertEqual((len(tries), await get(self.objects, Name("photos", "acme", "k"))), (3, b"1234"))
        await at_rest(self.objects)

    async def _time_passes(self):
        sql = "UPDATE object_upload SET claimed_until = 0"
        await self.objects.database.write(lambda tx: tx.execute(sql))

    async def test_committed_unheard(self):
        """A commit whose answer was lost has happened once, and is found."""
        for direct in (0, 1 << 20):
            self.change(direct_bytes=direct)
            create = self.objects.create

            async def unheard(*args, create=create):
                await create(*args)
                raise Unavailable("the database was lost; whether it wrote is not known")

            self.objects.create = unheard
            target = await self.begun(4)
            answer = await self.patch(target, 0, b"1234")
            self.assertIn(answer.code, {204, 503})
            self.objects.create = create
            self.assertEqual(await self.offset(target), 4)
            self.assertEqual((await self.status(target))["status"], "DONE")
        self.assertEqual(await at_rest(self.objects), 2)

    async def test_put_fails(self):
        """A piece that the store would not take does not count, and can be sent again."""
        store, target = self.objects.stores[StorageClass.HOT], await self.begun(9)
        put = store.put

        async def failing(*args, **kwargs):
            raise Unavailable("the store is away")

        store.put = failing
        self.assertEqual((await self.patch(target, 0, b"1234")).code, 503)
        store.put = put
        self.assertEqual(await self.offset(target), 0)
        self.assertEqual((await self.patch(target, 0, b"1234")).code, 204)

    async def test_direct_trouble(self):
        """A small upload that cannot be an object now is kept as a part, and becomes one later."""
        self.change(direct_bytes=1 << 20)
        create = self.objects.create

        async def failing(*args):
            raise Unavailable("the store is away")

        self.objects.create = failing
        target = await self.begun(4)
        self.assertEqual((await self.patch(target, 0, b"1234")).code, 503)
        self.objects.create = create
        await self.until(lambda: _is(self._settled(target), "DONE"))
        self.assertEqual(await at_rest(self.objects), 1)

    async def _settled(self, target):
        await self._time_passes()
        await self.head(target)
        return (await self.status(target))["status"]


class TimeTests(Uploading):
    of_uploads = AS_PARTS

    async def test_expired(self):
        """An upload that nobody continued is gone when its time is over, and its bytes are doomed."""
        self.change(seconds=0.3)
        target, kept = await self.begun(9), await self.begun(9)
        await self.patch(target, 0, b"1234")
        self.change(seconds=60.0)
        await self.patch(kept, 0, b"1234")  # each piece puts it off
        await deferLater(reactor, 0.35)
        self.assertEqual((await self.head(target)).code, 404)
        self.assert_error(await self.patch(target, 4, b"5"), 404, "UPLOAD_NOT_FOUND")
        self.assertEqual((await self.uploads.expire(), await self.uploads.expire()), (1, 0))
        self.assertEqual((await self.rows("object_upload"), await self.rows("object_doomed")), (1, 1))
        self.assertEqual(await self.offset(kept), 4)

    async def test_under_way(self):
        """An upload does not expire while a piece is on its way, however slow."""
        self.change(seconds=0.3)
        target = await self.begun(9)
        raw = await self.half_sent(target, 0, b"1234", 9)
        await self.until(lambda: _true(self.uploads._keeping.coming))
        self.change(seconds=60.0)
        await self.uploads.expire()
        await deferLater(reactor, 0.35)
        await self.uploads.expire()
        raw.send(b"56789")
        await raw.until(b"204 No Content")

    async def test_by_itself(self):
        """All this is done each minute, and files are swept each hour, without being asked."""
        clock, done = Clock(), []
        await self.stop_uploads()
        self.uploads._reactor = clock
        for name in ("expire", "sweep"):
            setattr(self.uploads, name, self._noted(name, done))
        await self.start_uploads()
        for _ in range(60):
            clock.advance(60.0)
        self.assertEqual((done.count("expire"), done.count("sweep")), (61, 1))

    def _noted(self, name, done):
        async def work():
            done.append(name)
            raise Unavailable("a bad round is not the last")

        work.__name__ = name
        return work

    async def test_repaired_by_itself(self):
        """An object that nobody asks for is made all the same."""
        target = await self.begun(4)
        await self.patch(target, 0, b"12")
        finish, self.uploads._finishing.start = self.uploads._finishing.start, lambda upload_id: None
        self.uploads._finished = _same
        await self.patch(target, 2, b"34")
        self.assertEqual((await self.status(target))["status"], "FINISHING")
        self.uploads._finishing.start = finish
        await self.uploads.expire()
        await self.until(lambda: _is(self._status_of(target), "DONE"))

    async def _status_of(self, target):
        return (await self.status(target))["status"]

    async def test_swept(self):
        """A file without a row is removed; one that a row speaks of stays, and so does what is not ours."""
        target = await self.begun(9)
        await self.patch(target, 0, b"1234")
        upload_id = target.rpartition("/")[2]
        (kept,) = await self.files()
        raw = await self.half_sent(target, 4, b"5", 5)
        await self.until(lambda: _true(self.uploads._keeping.coming))
        ((_, coming),) = self.uploads._keeping.coming
        orphan, other = f"uploads/{upload_id}/{0:016}-{'0' * 20}", "uploads/readme"
        for name in (coming, orphan, other):
            await self.objects.stores[StorageClass.HOT].put(name, b"x")
        await self.objects.stores[StorageClass.COLD].put(orphan, b"x")
        self.assertEqual(await self.uploads.sweep(), 2)
        self.assertEqual(await self.files(), sorted([kept, coming, other]))
        raw.send(b"6789")
        await raw.until(b"204 No Content")


async def _true(value):
    return bool(value)


async def _is(coroutine, wanted):
    found = await coroutine
    return found in wanted if isinstance(wanted, set) else found == wanted


async def _same(upload):
    return upload
