"""Several processes' uploads over one PostgreSQL and one S3, each with a node, objects and a site of its own."""

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from stor.errors import Conflict, StorError
from stor.objects.records import Name, StorageClass
from stor.objects.resumable.records import State, Wanted
from stor.objects.resumable.service import Settings, Uploads
from tests.database.rooms import settled
from tests.objects.rooms import Room, body_of, get, places, started
from tests.objects.upload_deeds import AS_PARTS, at_rest, begin, send

SIZE = 300_000


class Promises:
    timeout = 120

    async def setUp(self):
        self.at = places(self, self.backend)
        self.rooms = [await self.process(f"node {number}") for number in range(2)]
        self.one, self.other = (uploads for _, uploads in self.rooms)
        self.objects = self.one.objects

    async def process(self, node):
        """Start one."""
        room = await started(self, Room(self.at, node=node))
        uploads = Uploads(room.objects, AS_PARTS, reactor)
        await uploads.startService()
        self.addCleanup(lambda: uploads.stopService() if uploads.running else None)
        return room, uploads

    async def test_taking_turns(self):
        """Each piece may go to another process."""
        body = body_of("turns", 4 * SIZE)
        upload_id = await begin(self.one, "k", len(body))
        for at, uploads in enumerate((self.other, self.one, self.one, self.other)):
            upload = await send(uploads, upload_id, at * SIZE, body[at * SIZE : (at + 1) * SIZE])
            for each in (self.one, self.other):
                self.assertEqual((await each.find(upload_id, "acme")).received, (at + 1) * SIZE)
        self.assertEqual(upload.state, State.DONE)
        self.assertEqual(await get(self.objects, Name("photos", "acme", "k")), body)
        self.assertEqual(await at_rest(self.objects), 1)

    async def test_at_once(self):
        """However many processes send the same piece at once, it counts once, and there is one object."""
        body = body_of("at once", 2 * SIZE)
        upload_id = await begin(self.one, "", len(body))
        for start in (0, SIZE):
            piece = body[start : start + SIZE]
            sent = await settled(*(send(each, upload_id, start, piece) for each in (self.one, self.other) * 3))
            kept = [each for each in sent if not isinstance(each, Exception)]
            self.assertEqual(len(kept), 1, sent)
            self.assertEqual({type(each) for each in sent if each is not kept[0]}, {Conflict})
        (upload,) = kept
        self.assertEqual(upload.state, State.DONE)
        self.assertEqual(await get(self.objects, upload.object_id), body)
        self.assertEqual(await at_rest(self.objects), 1)

    async def test_overtaken(self):
        """A process that takes too long with a piece cannot count it: its bytes are doomed."""
        upload_id, body = await begin(self.one, "", 2 * SIZE), body_of("late", SIZE)
        slow = self.one.piece(Wanted(upload_id, None, 0, SIZE), None)
        await slow.write(body)
        later = self.other.piece(Wanted(upload_id, None, 0, SIZE), None)
        await later.write(body_of("soon", SIZE))
        await self.objects.database.write(lambda tx: tx.execute("DELETE FROM object_doomed"))  # the collector was here
        await slow.finish()
        (why,) = await settled(self.one.append(slow))
        self.assertEqual(why.code, "UPLOAD_OVERTAKEN")
        await later.finish()
        self.assertEqual((await self.other.append(later)).received, SIZE)
        upload = await send(self.other, upload_id, SIZE, body)
        self.assertEqual(await get(self.objects, upload.object_id), body_of("soon", SIZE) + body)
        self.assertEqual(await at_rest(self.objects), 1)

    async def test_overtaken_whole(self):
        """An upload does not fail because a piece that was all of it has been overtaken."""
        self.one._desk.settings = Settings(direct_bytes=1 << 20)
        upload_id, body = await begin(self.one, "", SIZE), body_of("whole", SIZE)
        asleep = self.fall_asleep(self.rooms[0][0].objects)
        first = Deferred.fromCoroutine(send(self.one, upload_id, 0, body_of("overtaken", SIZE)))
        going = await asleep
        later = self.other.piece(Wanted(upload_id, None, 0, SIZE), None)
        await later.write(body)
        going.callback(None)
        self.assertEqual((await self.assertFailure(first, Conflict)).code, "UPLOAD_OVERTAKEN")
        await later.finish()
        upload = await self.other.append(later)
        self.assertEqual(await get(self.objects, upload.object_id), body)
        self.assertEqual(await at_rest(self.objects), 1)

    async def test_overtaken_whole_by_parts(self):
        """A piece that was all of it, and overtaken, does not count when others have brought all meanwhile."""
        self.one._desk.settings = Settings(direct_bytes=1 << 20)
        upload_id, body = await begin(self.one, "", SIZE), body_of("parts", SIZE)
        asleep = self.fall_asleep(self.rooms[0][0].objects)
        first = Deferred.fromCoroutine(send(self.one, upload_id, 0, body_of("overtaken", SIZE)))
        going = await asleep
        later_asleep = self.fall_asleep(self.rooms[1][0].objects)
        last = Deferred.fromCoroutine(send(self.other, upload_id, 0, body))
        later_going = await later_asleep
        going.callback(None)
        self.assertEqual((await self.assertFailure(first, Conflict)).code, "UPLOAD_OVERTAKEN")
        later_going.callback(None)
        upload = await last
        self.assertEqual((upload.state, await get(self.objects, upload.object_id)), (State.DONE, body))
        self.assertEqual(await at_rest(self.objects), 1)

    async def test_dead_claim(self):
        """What a dead process was making is made by another when its claim is over; should it wake up, that is all."""
        await self.dead_claim("k", 4 * SIZE)

    async def test_dead_claim_without_key(self):
        """The same where nothing but the upload's row keeps them apart."""
        await self.dead_claim("", 2 * SIZE)

    async def dead_claim(self, key, size):
        upload_id, body = await begin(self.one, key, size), body_of("dead", size)
        asleep = self.fall_asleep(self.rooms[0][0].objects)
        await send(self.one, upload_id, 0, body[:SIZE])
        last = Deferred.fromCoroutine(send(self.one, upload_id, SIZE, body[SIZE:]))
        going = await asleep
        self.assertEqual((await self.other.find(upload_id, None)).is_whole, True)
        await self.objects.database.write(lambda tx: tx.execute("UPDATE object_upload SET claimed_until = 0"))
        upload = await self.other.settled(upload_id, "acme")
        self.assertEqual(upload.state, State.DONE)
        going.callback(None)
        self.assertEqual((await last).object_id, upload.object_id)
        self.assertEqual(await get(self.objects, upload.object_id), body)
        self.assertEqual(await at_rest(self.objects), 1)

    def fall_asleep(self, objects):
        """Have it stop before it makes an object; gives what wakes it."""
        create, asleep, going = objects.create, Deferred(), Deferred()

        async def later(*args):
            asleep.callback(going)
            await going
            return await create(*args)

        objects.create = later
        return asleep

    async def test_most_at_once(self):
        """However many begin at once, a tenant has no more unfinished uploads than it may."""
        for each in (self.one, self.other):
            each._desk.settings = Settings(most=3)
        made = await settled(*(begin(each, "", 9) for each in (self.one, self.other) * 6))
        self.assertEqual(sum(not isinstance(each, StorError) for each in made), 3, made)
        count = "SELECT COUNT(*) FROM object_upload"
        self.assertEqual(await self.objects.database.read(lambda tx: tx.execute(count)), [(3,)])

    async def test_stopped(self):
        """A process that is stopped in the middle of making an object leaves that to others."""
        upload_id, body = await begin(self.one, "", 2 * SIZE), body_of("stop", 2 * SIZE)
        await send(self.one, upload_id, 0, body[:SIZE])
        store = self.rooms[0][0].objects.stores[StorageClass.HOT]
        get_, asked, going = store.get, Deferred(), Deferred()

        async def later(*args, **kwargs):
            if not asked.called:
                reactor.callLater(0, asked.callback, None)
            await going
            return await get_(*args, **kwargs)

        store.get = later
        last = Deferred.fromCoroutine(send(self.one, upload_id, SIZE, body[SIZE:]))
        await asked
        await self.one.stopService()
        await self.assertFailure(last, CancelledError)
        _, again = await self.process("node 0")
        upload = await again.settled(upload_id, None)
        self.assertEqual(await get(self.other.objects, upload.object_id), body)


class FolderTests(Promises, TestCase):
    backend = "postgresql+folder"


class BucketTests(Promises, TestCase):
    backend = "postgresql+s3"
