"""What fsck promises: it finds what is wrong, nothing else, and repairs what can be repaired."""

import os
import random

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import TestCase

from stor.errors import Failed, StorError, Unavailable
from stor.objects.audits.inquiry import Check
from stor.objects.fsck import Counts, fsck
from stor.objects.ids import copy_name
from stor.objects.ownership import KEY
from stor.objects.records import Change, Name, StorageClass, Wish
from stor.storage.keys import path_of
from tests.database.rooms import at_once
from tests.objects.collecting import HOT, bad_sector, begun, collector, execute, keys
from tests.objects.rooms import BACKENDS, LARGE, SMALL, Room, body_of, collect, get, invariants, places, put, started


class Interrupted:
    """A store in whose calls others are faster: `meanwhile` runs once, behind a listing's page or before a look."""

    def __init__(self, store):
        self._store, self.meanwhile, self.call = store, None, ""

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def _interrupt(self, call):
        if call == self.call:
            self.call = ""
            await self.meanwhile()

    async def list(self, prefix="", after=""):
        async for page in self._store.list(prefix, after):
            await self._interrupt("list")
            yield page

    async def head(self, key):
        await self._interrupt("head")
        return await self._store.head(key)


class StorePromises:
    """What depends on the store as well."""

    timeout = 90

    async def setUp(self):
        self.objects = (await started(self, Room(places(self, self.backend)))).objects

    async def write(self, sql, *parameters):
        await self.objects.database.write(execute(sql, *parameters))

    async def read(self, sql, *parameters):
        return await self.objects.database.read(execute(sql, *parameters))

    async def check(self, *wanted, repair=False, deep=False):
        """Run it: these checks must have found something, each as often as it is said here; give the findings."""
        found = []
        counts = await fsck(self.objects, repair, deep, found.append)
        self.assertEqual(sorted(each.check for each in found), sorted(wanted), found)
        repaired = sum(each.is_repaired for each in found)
        self.assertEqual(counts, Counts(len(found), repaired, len(found) - repaired))
        if not repair:
            self.assertEqual(repaired, 0)
        return found

    async def some(self):
        """Put one object of each kind: small and large, in both classes, deleted, under way."""
        made = [
            await put(self.objects, f"{each}{size}", body_of(f"{each}{size}", size), storage_class=each)
            for each in StorageClass
            for size in (0, SMALL, LARGE)
        ]
        gone = await put(self.objects, "gone", body_of("gone", LARGE))
        await self.objects.delete(gone.object.id)
        await begun(self.objects, "under way")
        return made

    async def test_nothing(self):
        """Where nothing is wrong nothing is found, at whatever point objects are in their lives."""
        await self.check()
        await self.some()
        for deep in (False, True):
            await self.check(deep=deep)
        await collector(self.objects).run()
        await self.check(repair=True, deep=True)
        await collect(self.objects)
        await self.check(deep=True)

    async def test_bytes(self):
        """Copies that are missing, cut or changed are found; what is lost is marked, put aside and never dropped."""
        await put(self.objects, "sound", body_of("sound", LARGE))
        missing, cut, changed = [await put(self.objects, key, body_of(key, LARGE)) for key in ("a", "b", "c")]
        inline = await put(self.objects, "inline", body_of("inline", SMALL))
        copies = dict(await self.read("SELECT digest, copy FROM object_blob"))
        of_missing, of_cut, of_changed = (copies[bytes.fromhex(each.object.digest)] for each in (missing, cut, changed))
        store = self.objects.stores[HOT]
        await store.delete(of_missing)
        await store.put(of_cut, b"cut")
        await store.put(of_changed, bytes(LARGE))
        await self.write("UPDATE object_blob SET data = ? WHERE data IS NOT NULL", bytes(SMALL))
        await self.check(*[Check.BYTES] * 2)
        await self.check(*[Check.BYTES] * 4, deep=True)
        self.assertEqual(await self.read("SELECT id FROM object_blob WHERE damage IS NOT NULL"), [])
        found = await self.check(*[Check.BYTES] * 4, deep=True, repair=True)
        self.assertFalse(any(each.is_repaired for each in found))
        for made in (missing, cut, changed, inline):
            with self.assertRaises(Failed):
                await get(self.objects, made.object.id)
        await self.check(*[Check.BYTES] * 4, deep=True)  # known now, and still said
        for made, key in ((missing, "a"), (cut, "b"), (changed, "c")):
            await put(self.objects, f"again {key}", body_of(key, LARGE))
            self.assertEqual(await get(self.objects, made.object.id), body_of(key, LARGE))
        await put(self.objects, "again", body_of("inline", SMALL))
        await self.check(deep=True)

    async def test_strays(self):
        """Files without a row are collected, the way all that is doomed goes; what is not ours is only reported."""
        store, stray = self.objects.stores[HOT], copy_name("e" * 64)
        await store.put(stray, b"stray")
        await self.check(Check.STRAY)
        await self.check(Check.STRAY, repair=True)
        self.assertEqual(await self.read("SELECT copy FROM object_doomed"), [(stray,)])
        await self.check()
        await collector(self.objects).run(0)
        self.assertEqual(await keys(store, prefix="sha256/"), [])
        await store.put("sha256/note", b"whose?")
        await self.check(Check.STRAY, repair=True)
        await self.check(Check.STRAY)

    async def test_under_load(self):
        """While uploads, deletions, moves and collections go on, nothing is found, for nothing is wrong."""
        busy = [True]

        async def worker(seed):
            chance, mine = random.Random(seed), []
            while busy[0]:
                try:
                    await self.do_something(chance, mine)
                except StorError as refusal:
                    self.assertIn(refusal.code, {"KEY_TAKEN", "KEY_BEING_WRITTEN", None}, refusal)

        async def collecting():
            while busy[0]:
                await collect(self.objects)

        working = [Deferred.fromCoroutine(worker(seed)) for seed in range(6)]
        working.append(Deferred.fromCoroutine(collecting()))
        try:
            for n in range(self.rounds):
                await self.check(deep=n % 2 == 0, repair=n % 3 == 0)
        finally:
            busy[0] = False
            for each in working:
                await each
        await collect(self.objects)
        await invariants(self.objects)

    async def do_something(self, chance, mine):
        """Put, replace, move or delete one of a few keys with one of a few bodies."""
        what = chance.random()
        if mine and what < 0.3:
            await self.objects.delete(mine.pop(chance.randrange(len(mine))))
        elif mine and what < 0.45:
            await self.objects.change(chance.choice(mine), Change(storage_class=chance.choice(list(StorageClass))))
        else:
            size = chance.choice((SMALL, LARGE))
            data, wish = body_of(f"{chance.randrange(5)}", size), Wish()
            if mine and what < 0.6:
                found = await self.objects.find(mine.pop())
                name, wish = found.object.name, Wish(match=frozenset({found.object.etag}))
            else:
                name = Name("photos", "acme", f"{chance.getrandbits(60)}")
            mine.append((await put(self.objects, name, data, wish=wish)).object.id)


class FsckPromises(StorePromises):
    """What is a matter of rows."""

    async def test_references(self):
        """Wrong counts of references are found and put right, and who has none is idle and can be collected."""
        one, two, three, *_ = await self.some()
        for made, refs in ((one, 7), (two, 0)):
            of = bytes.fromhex(made.object.digest)
            await self.write("UPDATE object_blob SET refs = ? WHERE digest = ? AND class = 'hot'", refs, of)
        of = bytes.fromhex(three.object.digest)
        await self.write("UPDATE object_blob SET idle_since = 1 WHERE digest = ? AND class = 'hot'", of)
        nobodys = (
            "INSERT INTO object_blob (digest, class, size, refs, etag, checked_at, data) VALUES (?, ?, 1, 0, '', 0, ?)"
        )
        await self.write(nobodys, bytes(32), "hot", b"x")
        wrong = [Check.REFERENCES] * 4
        await self.check(*wrong)
        await self.check(*wrong, repair=True)
        await self.check()
        self.assertEqual((await collect(self.objects)).blobs, 2)  # the one that was gone, and the one that nobody had
        for made in (one, two, three):
            await get(self.objects, made.object.id)

    async def test_usage(self):
        """Wrong counters, one that is missing and one of nobody are found and put right."""
        await self.some()
        other = await put(self.objects, Name("other", "umbrella", "key"), b"some")
        await self.write("UPDATE object_usage SET bytes = bytes + 5 WHERE tenant = 'acme' AND class = 'hot'")
        await self.write("UPDATE object_usage SET objects = objects - 1 WHERE tenant = 'acme' AND class = 'cold'")
        await self.write("DELETE FROM object_usage WHERE tenant = 'umbrella'")
        await self.write("INSERT INTO object_usage VALUES ('nobody', 'nothing', 'hot', 3, 10, 1)")
        wrong = [Check.USAGE] * 4
        await self.check(*wrong)
        await self.check(*wrong, repair=True)
        await self.check()
        used = "SELECT SUM(bytes), SUM(objects) FROM object_usage WHERE tenant = 'umbrella'"
        self.assertEqual([tuple(map(int, row)) for row in await self.read(used)], [(other.object.size, 1)])

    async def test_two_repairs(self):
        """Two of them at once repair a counter once."""
        await self.some()
        await self.write("UPDATE object_usage SET bytes = bytes + 5 WHERE tenant = 'acme' AND class = 'hot'")
        await at_once(*[fsck(self.objects, True, False, lambda _: None) for _ in range(2)])
        await self.check()

    async def test_doomed(self):
        """A copy that is doomed though something refers to it is spared; one of no store is reported."""
        await put(self.objects, "dear", body_of("dear", LARGE))
        doom = "INSERT INTO object_doomed (copy, class, due, claimed_until) VALUES (?, ?, 0, 0)"
        ((copy,),) = await self.read("SELECT copy FROM object_blob")
        await self.write(doom, copy, "hot")
        await self.check(Check.DOOMED)
        await self.check(Check.DOOMED, repair=True)
        self.assertEqual(await self.read("SELECT copy FROM object_doomed"), [])
        await self.write(doom, copy_name("e" * 64), "lukewarm")
        await self.check(Check.DOOMED, repair=True)

    async def test_objects(self):
        """Objects that contradict their state or their blob are found; nobody can know what was meant."""
        made = await self.some()
        ids = [each.object.id for each in made]
        await self.write("UPDATE object SET slot = id WHERE id = ?", ids[0])
        await self.write("UPDATE object SET digest = ? WHERE id = ?", bytes(32), ids[1])
        await self.write("UPDATE object SET copy = ? WHERE id = ?", copy_name("a" * 64), ids[2])
        await self.write("UPDATE object SET class = 'lukewarm' WHERE state = 'DELETING'")
        await self.write("UPDATE object SET slot = 'x' WHERE state = 'WRITING'")
        await self.check(*[Check.OBJECT] * 5)
        await self.check(*[Check.OBJECT] * 5, repair=True)

    async def test_lost(self):
        """An object whose blob is gone, and one in a state that there is not."""
        one, two = [await put(self.objects, key, body_of(key, SMALL)) for key in ("one", "two")]
        await self.write("DELETE FROM object_blob WHERE digest = ?", bytes.fromhex(one.object.digest))
        await self.write("UPDATE object SET state = 'ASLEEP' WHERE id = ?", two.object.id)
        await self.check(Check.OBJECT, Check.OBJECT, Check.REFERENCES, Check.USAGE)

    async def test_another_database(self):
        """The files of a store that belongs to another database are left alone, and it is said."""
        await self.objects.stores[HOT].put(KEY, b"another")
        await self.objects.stores[HOT].put(copy_name("e" * 64), b"theirs")
        await self.check(Check.STORE)
        await self.check(Check.STORE, repair=True)
        self.assertEqual(await self.read("SELECT copy FROM object_doomed"), [])


class RacePromises:
    """What others do between two steps of fsck is no finding, and nothing comes of it."""

    timeout = 60

    async def setUp(self):
        wrapped = {}
        room = Room(places(self, self.backend), stores=lambda name, store: wrapped.setdefault(name, Interrupted(store)))
        self.objects, self.store = (await started(self, room)).objects, wrapped[HOT]

    async def finds_nothing(self, call, meanwhile):
        self.store.call, self.store.meanwhile = call, meanwhile
        found = []
        await fsck(self.objects, False, False, found.append)
        self.assertEqual((found, self.store.call), ([], ""))

    async def test_collected(self):
        """A file that is collected after it was listed is no stray."""
        made = await put(self.objects, "key", body_of("key", LARGE))
        await self.objects.delete(made.object.id)
        await self.finds_nothing("list", lambda: collector(self.objects).run(0))
        self.assertEqual(await keys(self.store, prefix="sha256/"), [])

    async def test_replaced(self):
        """A copy that is replaced and collected before it is looked at is not missed."""
        made = await put(self.objects, "key", body_of("key", LARGE))

        async def replaced():
            await put(self.objects, "again", body_of("key", LARGE))
            await collector(self.objects).run(0)

        await self.finds_nothing("head", replaced)
        self.assertEqual(await get(self.objects, made.object.id), body_of("key", LARGE))

    async def test_gone(self):
        """Nor is one whose object was deleted."""
        made = await put(self.objects, "key", body_of("key", LARGE))

        async def deleted():
            await self.objects.delete(made.object.id)
            await collector(self.objects).run(0)

        await self.finds_nothing("head", deleted)


class SqliteRaceTests(RacePromises, TestCase):
    backend = BACKENDS[0]


class PostgresRaceTests(RacePromises, TestCase):
    backend = BACKENDS[1]


class SqliteFolderTests(FsckPromises, TestCase):
    backend = BACKENDS[0]

    async def test_bad_sector(self):
        """Bytes that cannot be read are one finding, not marked as damaged, and everything else is looked at."""
        made = [await put(self.objects, f"{n}", body_of(f"{n}", LARGE)) for n in range(3)]
        copies = dict(await self.read("SELECT digest, copy FROM object_blob"))
        first, last = (copies[bytes.fromhex(each.object.digest)] for each in (made[0], made[2]))
        await self.objects.stores[HOT].put(last, bytes(LARGE))
        bad_sector(self, first)
        for repair in (False, True):
            found = await self.check(Check.BYTES, Check.BYTES, deep=True, repair=repair)
            self.assertEqual(["cannot be read" in each.text for each in found].count(True), 1)
        ((damaged,),) = await self.read("SELECT digest FROM object_blob WHERE damage IS NOT NULL")
        self.assertEqual(damaged.hex(), made[2].object.digest)
        self.patch(self.objects.stores[HOT], "check", lambda: fail(Unavailable("the disk is away")))
        with self.assertRaisesRegex(Unavailable, "Input/output"):
            await self.check(deep=True)

    rounds = 12

    async def test_cut_off(self):
        """A file that ends early, as after a disk's fault, is found, be it of an object or a stray."""
        made = await put(self.objects, "key", body_of("key", LARGE))
        store, stray = self.objects.stores[HOT], copy_name("e" * 64)
        await store.put(stray, b"stray")
        for key in await keys(store, prefix="sha256/"):
            os.truncate(store._files._root + b"/" + path_of(key), 3)
        for deep in (False, True):
            await self.check(Check.BYTES, Check.STRAY, deep=deep)
        await self.check(Check.BYTES, Check.STRAY, repair=True)
        await collect(self.objects)
        await self.check(Check.BYTES)
        await put(self.objects, "again", body_of("key", LARGE))
        self.assertEqual(await get(self.objects, made.object.id), body_of("key", LARGE))
        await self.check(deep=True)


class PostgresFolderTests(FsckPromises, TestCase):
    backend = BACKENDS[1]
    rounds = 6


class PostgresS3Tests(StorePromises, TestCase):
    backend = BACKENDS[2]
    rounds = 2
