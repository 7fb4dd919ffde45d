"""What the collector promises, over each pair of database and stores."""

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import TestCase

from stor.errors import Failed, Unavailable
from stor.objects import condemn, copies, stuck, unlink
from stor.objects.collector import Collected, GcSettings
from stor.objects.core import Settings
from stor.objects.ids import copy_name
from stor.objects.records import Name, StorageClass
from stor.objects.stuck import abandon
from tests.database.rooms import at_once
from tests.objects.collecting import HOT, begun, collector, count, execute, keys
from tests.objects.rooms import (
    BACKENDS,
    LARGE,
    QUICK,
    SMALL,
    Room,
    body_of,
    get,
    invariants,
    places,
    put,
    started,
)

MINUTE = 60 * 1_000_000


class Refusing:
    """A store that may refuse to delete; counts what it was asked."""

    def __init__(self, store):
        self._store, self.away, self.asked = store, False, []

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def delete(self, key):
        self.asked.append(key)
        if self.away:
            raise Unavailable("the store is away")
        await self._store.delete(key)


class StorePromises:
    """What depends on the store as well."""

    timeout = 60

    async def setUp(self):
        self.places = places(self, self.backend)
        self.objects = await self.open()

    async def open(self, settings=QUICK, node="node", **wrapped):
        return (await started(self, Room(self.places, settings, node, **wrapped))).objects

    async def test_bytes_go(self):
        """What was deleted goes, with all rows and files but the memory of it, whatever its size and class."""
        for each in StorageClass:
            for size in (0, SMALL, LARGE):
                made = await put(self.objects, f"{each}/{size}", body_of(f"{each}{size}", size), storage_class=each)
                await self.objects.delete(made.object.id)
        self.assertEqual(await collector(self.objects).run(0), Collected(0, 6, 6, 2, 0))
        self.assertEqual(await keys(*self.objects.stores.values()), [])
        for table in ("object_blob", "object_doomed"):
            self.assertEqual(await count(self.objects, table), 0, table)
        self.assertEqual(await count(self.objects, "object", "state = 'DELETED' AND blob IS NULL"), 6)
        self.assertEqual(self.objects.metrics.gc_runs._value.get(), 1)
        self.assertEqual(self.objects.metrics.gc_deleted_blobs._value.get(), 6)
        self.assertEqual(await collector(self.objects).run(0), Collected(0, 0, 0, 0, 0))
        await invariants(self.objects)

    async def test_two_at_once(self):
        """Two processes share the work: everything is done, and nothing twice."""
        refusing = {}

        def wrap(name, store):
            return refusing.setdefault((len(refusing), name), Refusing(store))

        both = [await self.open(node=name, stores=wrap) for name in ("one", "two")]
        made = await at_once(*[put(self.objects, f"{n}", body_of(f"{n}", LARGE)) for n in range(40)])
        await at_once(*[self.objects.delete(each.object.id) for each in made])
        runs = [collector(each, GcSettings(batch=4, deleted_seconds=0)).run(0) for each in both]
        one, two = await at_once(*runs)
        rest = await collector(self.objects, GcSettings(deleted_seconds=0)).run(0)  # what each left to the other
        for field in ("deletions", "blobs", "copies", "rows"):
            self.assertEqual(sum(getattr(each, field) for each in (one, two, rest)), 40, field)
        asked = [key for each in refusing.values() for key in each.asked]
        self.assertEqual(len(asked), len(set(asked)))
        self.assertEqual(await keys(*self.objects.stores.values()), [])

    async def test_store_away(self):
        """A store that is away is asked little and logged once; what is doomed waits until it is back."""
        refusing = {}
        objects = await self.open(node="other", stores=lambda name, store: refusing.setdefault(name, Refusing(store)))
        hot = refusing[StorageClass.HOT]
        hot.away = True
        made = [await put(objects, f"{n}", body_of(f"{n}", LARGE)) for n in range(40)]
        cold = await put(objects, "cold", body_of("cold", LARGE), storage_class=StorageClass.COLD)
        for each in (*made, cold):
            await objects.delete(each.object.id)
        gc = collector(objects)
        with capturedLogs() as logged:
            collected = await gc.run(0)
            self.assertEqual((collected.blobs, collected.copies), (41, 1))
            for _ in range(3):
                self.assertEqual((await gc.run(0)).copies, 0)
        self.assertLessEqual(len(hot.asked), 16)
        self.assertEqual(len([each for each in logged if each["log_level"] == LogLevel.warn]), 1)
        self.assertEqual(await count(objects, "object_doomed", f"claimed_until <= {objects.now()}"), 40)
        hot.away = False
        await objects.database.write(execute("UPDATE object_doomed SET due = 0"))
        self.assertEqual((await collector(objects).run(0)).copies, 40)
        await invariants(objects)

    async def test_mistake(self):
        """Should something that is doomed be wanted all the same, it is kept, and said aloud."""
        made = await put(self.objects, "dear", body_of("dear", LARGE))
        ((copy,),) = await self.objects.database.read(execute("SELECT copy FROM object_blob"))
        doom = "INSERT INTO object_doomed (copy, class, due, claimed_until) VALUES (?, 'hot', 0, 0)"
        await self.objects.database.write(execute(doom, copy))
        with capturedLogs() as logged:
            self.assertEqual((await collector(self.objects).run(0)).copies, 0)
        self.assertEqual([each["copy"] for each in logged if each["log_level"] == LogLevel.critical], [copy])
        self.assertEqual(await get(self.objects, made.object.id), body_of("dear", LARGE))


class CollectorPromises(StorePromises):
    """What is a matter of rows."""

    async def test_shared_bytes_stay(self):
        """Bytes stay as long as one object of anybody has them, and one in another class does not count."""
        for size in (SMALL, LARGE):
            data = body_of(f"shared {size}", size)
            ours = await put(self.objects, f"ours {size}", data)
            theirs = await put(self.objects, Name("photos", "umbrella", f"{size}"), data)
            cold = await put(self.objects, f"cold {size}", data, storage_class=StorageClass.COLD)
            for gone in (ours, cold):
                await self.objects.delete(gone.object.id)
            collected = await collector(self.objects).run(0)
            self.assertEqual((collected.deletions, collected.blobs), (2, 1))
            self.assertEqual(await get(self.objects, theirs.object.id), data)
            await invariants(self.objects)

    async def test_grace(self):
        """Bytes that nothing refers to stay for the grace, and are used again by who sends them meanwhile."""
        for size in (SMALL, LARGE):
            data = body_of(f"grace {size}", size)
            made = await put(self.objects, f"first {size}", data)
            await self.objects.delete(made.object.id)
            self.assertEqual((await collector(self.objects).run(60)).blobs, 0)
            self.assertEqual(await count(self.objects, "object_blob", "refs = 0 AND idle_since IS NOT NULL"), 1)
            again = await put(self.objects, f"again {size}", data)
            self.assertEqual((await collector(self.objects).run(0)).blobs, 0)
            self.assertEqual(await get(self.objects, again.object.id), data)
            await invariants(self.objects)

    async def test_hold(self):
        """While somebody holds the store, no bytes go, were they doomed or only idle; one that has ended holds none."""
        doomed = await put(self.objects, "doomed", body_of("doomed", LARGE))
        idle = await put(self.objects, "idle", body_of("idle", LARGE))
        await self.objects.delete(doomed.object.id)
        rows_only = collector(self.objects)
        rows_only._unlinkers = []
        self.assertEqual((await rows_only.run(0)).blobs, 1)
        await self.objects.delete(idle.object.id)
        hold = "INSERT INTO object_hold (id, until) VALUES (?, ?)"
        await self.objects.database.write(execute(hold, "backup", self.objects.now() + MINUTE))
        collected = await collector(self.objects).run(0)
        self.assertEqual((collected.deletions, collected.blobs, collected.copies), (1, 0, 0))
        self.assertEqual(len(await keys(*self.objects.stores.values())), 2)
        await self.objects.database.write(execute("UPDATE object_hold SET until = ?", self.objects.now() - 1))
        collected = await collector(self.objects).run(0)
        self.assertEqual((collected.blobs, collected.copies), (1, 2))
        self.assertEqual(await keys(*self.objects.stores.values()), [])

    async def test_not_due(self):
        """A copy stays until it is due."""
        lingering = await self.open(Settings(lingers=dict.fromkeys(StorageClass, 60.0)), "other")
        made = await put(lingering, "lingers", body_of("lingers", LARGE))
        await lingering.delete(made.object.id)
        collected = await collector(lingering).run(0)
        self.assertEqual((collected.blobs, collected.copies), (1, 0))
        await lingering.database.write(execute("UPDATE object_doomed SET due = ?", lingering.now()))
        self.assertEqual((await collector(lingering).run(0)).copies, 1)

    async def test_stuck(self):
        """An upload of which nothing was heard for long is given up: its key is free, and it cannot be committed."""
        hasty = await self.open(Settings(upload_seconds=0.0), "other")
        slow = await begun(hasty, "key")
        slow.write(body_of("slow", 2 << 20))
        await slow.finish()
        self.assertEqual((await collector(self.objects).run()).uploads, 0)  # an hour has not passed
        self.assertEqual((await collector(hasty).run()).uploads, 1)
        made = await put(self.objects, "key", b"of somebody else")
        with self.assertRaises(Unavailable):
            await hasty.create(slow)
        self.assertEqual(await get(self.objects, made.object.id), b"of somebody else")
        await invariants(self.objects)

    async def test_abandoned(self):
        """At a start what this node has left WRITING is given up, its copies too, and nobody else's."""
        other = await self.open(node="other")
        for each, name in ((self.objects, "ours"), (other, "theirs")):
            for n in range(3):
                copy = copy_name(f"{n}" * 64)
                await begun(each, f"{name} {n}", copy)
                await each.stores[HOT].put(copy, b"half")
        self.assertEqual(await abandon(self.objects), 3)
        self.assertEqual(await count(self.objects, "object", "state = 'WRITING' AND node = 'other'"), 3)
        self.assertEqual((await collector(self.objects).run()).copies, 3)
        self.assertEqual(len(await keys(*self.objects.stores.values())), 3)
        await put(self.objects, "ours 0", b"free again")

    async def test_forgotten(self):
        """It is remembered for a day that an object was deleted."""
        made = await put(self.objects, "brief", b"brief")
        await self.objects.delete(made.object.id)
        self.assertEqual((await collector(self.objects).run(0)).rows, 0)
        self.assertEqual((await collector(self.objects, GcSettings(deleted_seconds=0)).run(0)).rows, 1)
        self.assertEqual(await count(self.objects, "object"), 0)

    async def test_small_batches(self):
        """However small the batches, one collection does all that is due."""
        made = await at_once(*[put(self.objects, f"{n}", body_of(f"{n}", SMALL)) for n in range(20)])
        await at_once(*[self.objects.delete(each.object.id) for each in made])
        small = GcSettings(batch=3, deleted_seconds=0)
        self.assertEqual(await collector(self.objects, small).run(0), Collected(0, 20, 20, 0, 20))
        self.assertEqual(await count(self.objects, "object"), 0)

    async def test_not_ours_to_change(self):
        """A batch of which a part cannot be done is undone, whole."""
        made = await put(self.objects, "key", body_of("key", LARGE))
        await self.objects.delete(made.object.id)
        await collector(self.objects).run(60)
        self.patch(condemn, "_CONDEMN", condemn._CONDEMN + " AND size = 0")
        with self.assertRaises(Failed):
            await collector(self.objects).run(0)
        self.assertEqual((await count(self.objects, "object_blob"), await count(self.objects, "object_doomed")), (1, 0))

    async def test_service(self):
        """It collects by itself, goes on after a fault, and a stop ends it wherever it is."""
        made = await put(self.objects, "key", body_of("key", LARGE))
        await self.objects.delete(made.object.id)
        gc = collector(self.objects, GcSettings(interval=0.02, grace_seconds=0))
        faults = [Unavailable("away"), Unavailable("away")]
        drain, begun = gc._pace.drain, Deferred()

        async def sometimes(work):
            if faults:
                raise faults.pop()
            return await drain(work)

        def never(work):
            begun.callback(None)
            return forever

        self.patch(gc._pace, "drain", sometimes)
        with capturedLogs() as logged:
            gc.startService()
            while await keys(*self.objects.stores.values()):
                await deferLater(reactor, 0.01)
        self.assertEqual(len([each for each in logged if "goes on later" in each["log_format"]]), 1)
        forever = Deferred()
        self.patch(gc._pace, "drain", never)
        await begun
        await deferLater(reactor, 0)
        await gc.stopService()
        self.assertTrue(forever.called)


class SqliteFolderTests(CollectorPromises, TestCase):
    backend = BACKENDS[0]

    async def test_indexes(self):
        """However many rows there are, what is due is found by an index, and in its order."""
        for module, name in (
            (condemn, "_DELETING"),
            (condemn, "_IDLE"),
            (condemn, "_DELETED"),
            (stuck, "_QUIET"),
            (unlink, "_DUE"),
            (copies, "_OF_BLOBS"),
            (copies, "_OF_UPLOADS"),
            (copies, "_OF_DOOMED"),
        ):
            sql = getattr(module, name)
            explain = execute(f"EXPLAIN QUERY PLAN {sql}", *[0] * sql.count("?"))
            for *_, step in await self.objects.database.read(explain):
                self.assertNotRegex(step, "SCAN (object|object_blob|object_doomed)$|TEMP B-TREE", name)


class PostgresFolderTests(CollectorPromises, TestCase):
    backend = BACKENDS[1]


class PostgresS3Tests(StorePromises, TestCase):
    backend = BACKENDS[2]
