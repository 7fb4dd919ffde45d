"""Faults between the pieces and the object: what was acknowledged is neither lost nor turned into other bytes."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from stor.errors import Failed, Full, Missing, StorError, Unavailable
from stor.objects.ownership import owns
from stor.objects.records import Name, StorageClass
from stor.objects.resumable.records import State
from stor.objects.resumable.rows import find
from stor.objects.resumable.service import Settings, Uploads
from stor.storage.faults import fault
from tests.objects.rooms import Room, body_of, collect, get, invariants, places, put, started
from tests.objects.upload_deeds import AS_PARTS, at_rest, begin, send

HALF = 100_000
BODY = body_of("acknowledged", 2 * HALF)
LARGE = body_of("large", 2_000_000)  # so that it takes its key before it is put
MINE = Name("photos", "acme", "mine")


class Store:
    """A store that can be told to wait before it puts a copy, and to fail when a part is asked for."""

    def __init__(self, real):
        self._real = real
        self.error = self.going = self.reached = None

    def __getattr__(self, name):
        return getattr(self._real, name)

    def hold(self):
        """Have the next copy wait for `going`; gives what tells that it came."""
        self.going, self.reached = Deferred(), Deferred()
        return self.reached

    async def put(self, key, *args, **kwargs):
        if key.startswith("sha256/") and self.reached is not None:
            reached, self.reached = self.reached, None
            reached.callback(None)
            await self.going
        return await self._real.put(key, *args, **kwargs)

    async def get(self, key, *args, **kwargs):
        if self.error is not None and key.startswith("uploads/"):
            raise self.error
        return await self._real.get(key, *args, **kwargs)


class Faults(TestCase):
    timeout = 60
    backend = "sqlite+folder"

    async def setUp(self):
        self.at = places(self, self.backend)
        await self.open(AS_PARTS)

    async def open(self, settings):
        """Start, or start again."""
        self.room = await started(self, Room(self.at, stores=lambda each, real: Store(real)))
        self.objects = self.room.objects
        self.store = self.objects.stores[StorageClass.HOT]
        self.uploads = uploads = Uploads(self.objects, settings, reactor)
        await uploads.startService()
        self.addCleanup(lambda: uploads.stopService() if uploads.running else None)

    def hold_begin(self):
        """Have the object's row WRITING take its time; gives what tells that it is there."""
        begin_, reached, going = self.objects._uploading.begin, Deferred(), Deferred()

        async def later(*args):
            row = await begin_(*args)
            reached.callback(None)
            await going
            return row

        self.objects._uploading.begin, self.store.going = later, going
        return reached

    async def half_sent(self, body=BODY):
        """Give an upload that has its first half."""
        upload_id = await begin(self.uploads, "mine", len(body))
        await send(self.uploads, upload_id, 0, body[: len(body) // 2])
        return upload_id

    def rest(self, upload_id, body=BODY):
        """Send the second half; gives a Deferred of the upload."""
        half = len(body) // 2
        return Deferred.fromCoroutine(send(self.uploads, upload_id, half, body[half:]))

    async def again(self, upload_id):
        """Ask for the upload when it is time to try again."""
        sql = "UPDATE object_upload SET claimed_until = 0"
        await self.objects.database.write(lambda tx: tx.execute(sql))
        return await self.uploads.settled(upload_id, None)

    async def count(self, table):
        """Count rows."""
        ((count,),) = await self.objects.database.read(lambda tx: tx.execute(f"SELECT COUNT(*) FROM {table}"))  # noqa: S608 - names of ours
        return count

    async def assert_kept(self, upload_id):
        """The upload is still to become an object, and has all its parts."""
        self.assertEqual((await self.uploads.find(upload_id, None)).state, State.OPEN)
        self.assertEqual((await self.count("object_upload_part"), await self.count("object_doomed")), (2, 0))

    async def assert_made(self, upload):
        """The upload is done, and its object has its bytes."""
        self.assertEqual(upload.state, State.DONE)
        self.assertEqual(await get(self.objects, upload.object_id), BODY)
        await at_rest(self.objects)


class EndTests(Faults):
    async def test_stopped_while_it_is_made(self):
        """A stop while an object is made loses no byte of it, nor of anybody else who has the same bytes."""
        other = await put(self.objects, Name("photos", "umbrella", "theirs"), BODY)
        upload_id = await self.half_sent()
        reached = self.hold_begin()
        last = self.rest(upload_id)
        await reached
        await self.uploads.stopService()
        await self.assertFailure(last, CancelledError)
        stopping = self.room.stopService()
        self.store.going.callback(None)
        await stopping
        await self.open(AS_PARTS)
        upload = await self.uploads.settled(upload_id, None)
        await self.assert_made(upload)
        self.assertEqual(upload.tries, 1)  # what was begun has gone on
        await collect(self.objects)
        self.assertEqual(await get(self.objects, other.object.id), BODY)
        await invariants(self.objects)

    async def test_removed_while_it_is_made(self):
        """An upload that is removed while its object is made has none, and its key is free."""
        upload_id = await self.half_sent()
        reached = self.hold_begin()
        last = self.rest(upload_id)
        await reached
        await self.uploads.remove(upload_id, None)
        await self.assertFailure(last, CancelledError)
        self.store.going.callback(None)
        self.assertEqual(await at_rest(self.objects), 0)
        self.assertTrue((await put(self.objects, MINE, b"another")).is_new)
        await collect(self.objects)
        await invariants(self.objects)

    async def test_key_is_free_at_once(self):
        """The key is free as soon as the upload is removed, however long the store takes."""
        upload_id = await self.half_sent(LARGE)
        reached = self.store.hold()
        last = self.rest(upload_id, LARGE)
        await reached
        await self.uploads.remove(upload_id, None)
        made = await put(self.objects, MINE, b"another")
        self.assertTrue(made.is_new)
        self.store.going.callback(None)
        await self.assertFailure(last, CancelledError)
        await self.objects._working.settled()
        await collect(self.objects)
        self.assertEqual(await get(self.objects, made.object.id), b"another")
        self.assertEqual(await at_rest(self.objects), 1)


class PassingTests(Faults):
    async def test_store_fails(self):
        """A store that answers with something that we do not know ends no upload."""
        for error in (fault(400, "ExpiredToken"), Missing("no such key"), Unavailable("away")):
            upload_id = await self.half_sent()
            self.store.error = error
            await self.assertFailure(self.rest(upload_id), Unavailable)
            await self.assert_kept(upload_id)
            self.store.error = None
            await self.assert_made(await self.again(upload_id))
            await self.uploads.remove(upload_id, None)
            await self.objects.delete((await self.objects.find_key(MINE)).object.id)
            await collect(self.objects)

    async def test_folder_away(self):
        """A folder that is away for a while ends no upload, however often it is tried."""
        upload_id = await self.half_sent()
        parts = Path(self.at.folder) / "hot" / "data" / "uploads"
        aside = parts.with_name("aside")
        self.store.error = Unavailable("not yet")
        await self.assertFailure(self.rest(upload_id), Unavailable)
        self.store.error = None
        parts.rename(aside)
        for _ in range(4):
            await self.assertFailure(Deferred.fromCoroutine(self.again(upload_id)), Unavailable)
        aside.rename(parts)
        await self.assert_kept(upload_id)
        await self.assert_made(await self.again(upload_id))

    async def test_another_store(self):
        """However long parts are missing in a store that is not ours, that ends no upload."""
        self.uploads._desk.settings = replace(AS_PARTS, damage_seconds=0.0)
        upload_id = await self.half_sent()
        data = Path(self.at.folder) / "hot" / "data"
        self.store.error = Unavailable("not yet")
        await self.assertFailure(self.rest(upload_id), Unavailable)
        self.store.error = None
        data.rename(data.with_name("aside"))
        data.mkdir()  # where nothing is mounted
        for _ in range(3):
            await self.assertFailure(Deferred.fromCoroutine(self.again(upload_id)), Unavailable)
        data.rmdir()
        data.with_name("aside").rename(data)
        await self.assert_kept(upload_id)
        await self.assert_made(await self.again(upload_id))

    async def test_fault_that_stays(self):
        """An upload that meets a passing fault each time expires like any other, and gives its key back."""
        upload_id = await self.half_sent(LARGE)
        self.uploads._desk.settings = replace(AS_PARTS, seconds=2.0)
        self.store.error = Unavailable("away")
        await self.assertFailure(self.rest(upload_id, LARGE), Unavailable)
        begun = (await self.uploads.find(upload_id, None)).expires_at
        self.uploads._desk.settings = AS_PARTS
        for _ in range(3):
            await self.assertFailure(Deferred.fromCoroutine(self.again(upload_id)), Unavailable)
        upload = await self.uploads.find(upload_id, None)
        self.assertEqual((upload.expires_at, upload.tries), (begun, 4))
        await self.wait(begun)
        self.assertEqual(await self.uploads.expire(), 1)
        await self.assertFailure(Deferred.fromCoroutine(self.uploads.find(upload_id, None)), Missing)
        self.assertEqual((await self.count("object_upload_part"), await self.count("object_doomed")), (0, 2))
        self.assertTrue((await put(self.objects, MINE, b"another")).is_new)
        await at_rest(self.objects)

    async def wait(self, moment):
        """Wait until a time in microseconds since 1970 is over."""
        while self.objects.now() <= moment:
            await deferLater(reactor, 0.05)

    async def test_expiry_while_it_is_made(self):
        """An upload does not expire while its object is being made, and what a dead process was at does."""
        self.uploads._desk.settings = replace(AS_PARTS, seconds=0.5)
        upload_id = await self.half_sent(LARGE)
        reached = self.store.hold()
        last = self.rest(upload_id, LARGE)
        await reached
        await self.wait((await self.upload_row(upload_id)).expires_at)
        self.assertEqual(await self.uploads.expire(), 0)
        self.uploads._desk.settings = AS_PARTS
        self.store.going.callback(None)
        upload = await last
        self.assertEqual(await get(self.objects, upload.object_id), LARGE)
        await at_rest(self.objects)

    async def upload_row(self, upload_id):
        """Give the upload, though its time may be over."""
        return await self.objects.database.read(partial(find, upload_id=upload_id, tenant=None, now=0))

    async def test_counts_once(self):
        """While its object is being made an upload counts once against the quota, neither twice nor not at all."""
        sql = "INSERT INTO object_quota (tenant, bytes, objects) VALUES ('acme', ?, 2)"
        await self.objects.database.write(lambda tx: tx.execute(sql, (len(BODY) + 1000,)))
        upload_id = await self.half_sent()
        reached = self.store.hold()
        last = self.rest(upload_id)
        await reached
        self.assertEqual(await self.count("object"), 1)  # it is WRITING
        other = Name("photos", "acme")
        with self.assertRaises(Full):
            await begin(self.uploads, "other", 1001)
        self.assertTrue(await begin(self.uploads, "other", 999))
        for size in (2, 1):
            with self.assertRaises(Full):
                await put(self.objects, other, bytes(size))  # there is room for the byte, but for no third object
        self.store.going.callback(None)
        await self.assert_made(await last)

    async def test_failed_keeps_its_parts(self):
        """What was acknowledged stays until the upload is removed, also when there can be no object."""
        upload_id = await self.half_sent()
        await put(self.objects, MINE, b"another")
        self.assertEqual((await self.assertFailure(self.rest(upload_id), StorError)).code, "KEY_TAKEN")
        self.assertEqual((await self.uploads.find(upload_id, None)).state, State.FAILED)
        self.assertEqual((await self.count("object_upload_part"), await self.count("object_doomed")), (2, 0))
        await self.uploads.remove(upload_id, None)
        self.assertEqual((await self.count("object_upload_part"), await self.count("object_doomed")), (0, 2))
        await collect(self.objects)
        await at_rest(self.objects)


class DamageTests(Faults):
    async def test_flipped_bit(self):
        """A part in which a bit has fallen over never becomes an object, whatever its etag says."""
        self.uploads._desk.settings = replace(AS_PARTS, damage_seconds=0.0)
        upload_id = await self.half_sent()
        folder = Path(self.at.folder) / "hot" / "data" / "uploads"
        (part,) = (each for each in folder.rglob("*") if each.is_file())
        _flip(part, 5000)
        await self.assertFailure(self.rest(upload_id), Unavailable)
        await self.assert_kept(upload_id)
        why = await self.assertFailure(Deferred.fromCoroutine(self.again(upload_id)), Failed)
        self.assertEqual((why.code, why.context), ("UPLOAD_DAMAGED", {"at": "0"}))
        self.assertEqual(await at_rest(self.objects), 0)
        _flip(part, 5000)

    async def test_damage_that_heals(self):
        """Damage counts from when it was last found without a break."""
        self.uploads._desk.settings = replace(AS_PARTS, damage_seconds=0.0)
        upload_id = await self.half_sent()
        self.store.error = Missing("no such key")
        await self.assertFailure(self.rest(upload_id), Unavailable)
        for error in (Unavailable("away"), Missing("no such key")):
            self.store.error = error
            await self.assertFailure(Deferred.fromCoroutine(self.again(upload_id)), Unavailable)
        self.store.error = None
        await self.assert_made(await self.again(upload_id))


class StrangerTests(Faults):
    async def test_only_parts(self):
        """A folder that is not mounted is noticed, though there should be nothing but parts in it."""
        await self.half_sent()
        data = Path(self.at.folder) / "hot" / "data"
        data.rename(data.with_name("aside"))
        data.mkdir()
        database, (hot, cold) = self.objects.database, StorageClass
        self.assertFalse(await owns(database, hot, self.store))
        self.assertEqual(list(data.iterdir()), [])
        self.assertTrue(await owns(database, cold, self.objects.stores[cold]))
        data.rmdir()
        data.with_name("aside").rename(data)
        self.assertTrue(await owns(database, hot, self.store))

    async def test_other_database(self):
        """A server with another database leaves the parts of a store alone that is not its own."""
        upload_id = await self.half_sent()
        await self.uploads.stopService()
        await self.room.stopService()
        stranger = Room(replace(self.at, database=f"{self.at.database}.new"))
        services = (stranger.real_database, *stranger.real_stores.values())
        for service in services:
            await service.startService()
        self.assertEqual(await Uploads(stranger.objects, Settings(), reactor).sweep(), 0)
        for service in services:
            await service.stopService()
        await self.open(AS_PARTS)
        await self.assert_made(await self.rest(upload_id))


class UsedUp:
    timeout = 60

    async def test_spool_without_bytes(self):
        """A spool that was discarded, used up, or is not finished is no body: nothing is kept of it."""
        room = await started(self, Room(places(self, self.backend)))
        store = room.stores[StorageClass.HOT]
        for size in (9, 300_000):
            for spool in (await self.discarded(store, size), await self.put(store, size), self.unfinished(store)):
                with self.assertRaises(ValueError):
                    await store.put("sha256/none", spool)
                spool.discard()
        await self.assertFailure(Deferred.fromCoroutine(store.head("sha256/none")), Missing)

    async def discarded(self, store, size):
        spool = store.spool(size)
        spool.write(bytes(size))
        await spool.finish()
        spool.discard()
        return spool

    async def put(self, store, size):
        spool = store.spool(size)
        spool.write(bytes(size))
        await spool.finish()
        await store.put("sha256/used", spool)
        return spool

    def unfinished(self, store):
        spool = store.spool(9)
        spool.write(b"123")
        return spool


class FolderTests(UsedUp, TestCase):
    backend = "sqlite+folder"


class BucketTests(UsedUp, TestCase):
    backend = "postgresql+s3"


def _flip(path, offset):
    """Turn one bit of a file, and let nothing else show it."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        (value,) = file.read(1)
        file.seek(offset)
        file.write(bytes([value ^ 4]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
