"""What the core promises of uploads that come together: each as if it were alone."""

from dataclasses import replace

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from stor.errors import Conflict, Full, Missing, PreconditionFailed, TooLarge, Unavailable
from stor.objects.core import Settings
from stor.objects.records import Change, Draft, Name, StorageClass, Wish
from stor.objects.smalls import MOST
from tests.objects.rooms import (
    KNOWN,
    LARGE,
    SMALL,
    Room,
    body_of,
    collect,
    get,
    invariants,
    opened,
    places,
    put,
    started,
)


def at_once(*works):
    """Run them together; give (fine, result or failure) of each."""
    return DeferredList([Deferred.fromCoroutine(work) for work in works], consumeErrors=True)


def reasons(ended):
    return [None if fine else result.value.code for fine, result in ended]


class CorePromises:
    async def setUp(self):
        self.objects = await opened(self, self.backend)

    async def test_many(self):
        """Hundreds of small uploads at once are all there, and of equal bytes one copy."""
        works = [put(self.objects, f"key/{n}", b"%d" % (n % 50)) for n in range(3 * MOST)]
        made = await gatherResults([Deferred.fromCoroutine(work) for work in works])
        self.assertEqual({each.is_new for each in made}, {True})
        for n in range(3 * MOST):
            self.assertEqual(await get(self.objects, replace(KNOWN, key=f"key/{n}")), b"%d" % (n % 50))
        ((blobs, refs),) = await self.objects.database.read(
            lambda tx: tx.execute("SELECT count(*), sum(refs) FROM object_blob")
        )
        self.assertEqual((blobs, refs), (50, 3 * MOST))
        await invariants(self.objects)

    async def test_one_key(self):
        """Of many who want one key with different bytes one gets it; the others hear that it is taken."""
        ended = await at_once(*(put(self.objects, "wanted", b"%d" % n) for n in range(40)))
        self.assertEqual(sorted(map(str, reasons(ended))), sorted(["None", *["KEY_TAKEN"] * 39]))
        (winner,) = [n for n, (fine, _) in enumerate(ended) if fine]
        self.assertEqual(await get(self.objects, replace(KNOWN, key="wanted")), b"%d" % winner)
        await invariants(self.objects)

    async def test_one_key_same_bytes(self):
        """Of many who want one key with the same bytes one makes the object, and all are told its id."""
        ended = await at_once(*(put(self.objects, "wanted", b"the same") for _ in range(40)))
        made = [result for fine, result in ended if fine]
        self.assertEqual(len(made), 40)
        self.assertEqual(len({each.object.id for each in made}), 1)
        self.assertEqual(sum(each.is_new for each in made), 1)
        await invariants(self.objects)

    async def test_no_key(self):
        """Uploads without a key are an object each, whatever their bytes."""
        ended = await at_once(*(put(self.objects, "", b"the same") for _ in range(20)))
        self.assertEqual(len({result.object.id for fine, result in ended if fine}), 20)
        await invariants(self.objects)

    async def test_quota(self):
        """A quota that is used up in the middle of a group stops those beyond it, and no others."""
        await self.objects.database.write(
            lambda tx: tx.execute("INSERT INTO object_quota (tenant, objects) VALUES (?, 7)", ("small",))
        )
        others = [put(self.objects, Name("photos", "other", f"{n}"), b"x%d" % n) for n in range(20)]
        limited = [put(self.objects, Name("photos", "small", f"{n}"), b"y%d" % n) for n in range(20)]
        ended = await at_once(*(work for pair in zip(others, limited, strict=True) for work in pair))
        self.assertTrue(all(fine for fine, _ in ended[::2]))
        self.assertEqual(sum(fine for fine, _ in ended[1::2]), 7)
        self.assertTrue(all(result.check(Full) for fine, result in ended[1::2] if not fine))
        await invariants(self.objects)

    async def test_quota_told_early(self):
        """A large upload that is too much is refused before its bytes are here; a move needs no room."""
        await put(self.objects, Name("photos", "small", "held"), body_of("held", LARGE))
        await self.objects.database.write(
            lambda tx: tx.execute("INSERT INTO object_quota (tenant, bytes) VALUES (?, ?)", ("small", LARGE + 10))
        )
        body = self.objects.receive(Draft(Name("photos", "small", "more")), 2 << 20)
        with self.assertRaises(TooLarge) as refused:
            await body.written_down()
        self.assertEqual(refused.exception.code, "QUOTA_EXCEEDED")
        body.discard()
        held = await self.objects.find_key(Name("photos", "small", "held"))
        await self.objects.change(held.object.id, Change(storage_class=StorageClass.COLD))
        await invariants(self.objects)

    async def test_quota_on_the_way(self):
        """What is on its way counts; an upload that says no size is ended when there is no more room."""
        await self.objects.database.write(
            lambda tx: tx.execute("INSERT INTO object_quota (tenant, bytes) VALUES (?, ?)", ("small", 3 << 20))
        )
        first = self.objects.receive(Draft(Name("photos", "small", "first")), 2 << 20)
        await first.written_down()
        second = self.objects.receive(Draft(Name("photos", "small", "second")), (1 << 20) + 1)
        with self.assertRaises(Full):
            await second.written_down()
        second.discard()
        third = self.objects.receive(Draft(Name("photos", "small", "third")), None)
        for _ in range(5):
            third.write(bytes(1 << 19))
            await deferLater(reactor, 0.05)
        self.assertTrue(third.over)
        with self.assertRaises(Full) as refused:
            await third.finish()
        self.assertEqual(refused.exception.code, "QUOTA_EXCEEDED")
        first.discard()
        await self.objects._working.settled()
        await put(self.objects, Name("photos", "small", "fits"), bytes(3 << 20))
        await invariants(self.objects)

    async def test_key_given_up(self):
        """Who may delete a key may end an upload that holds it: its sender cannot commit."""
        slow = self.objects.receive(Draft(replace(KNOWN, key="held")), 3 << 20)
        await slow.written_down()
        self.assertTrue(await self.objects.give_up_key(replace(KNOWN, key="held")))
        self.assertFalse(await self.objects.give_up_key(replace(KNOWN, key="held")))
        self.assertTrue((await put(self.objects, "held", b"now")).is_new)
        self.assertFalse(await self.objects.give_up_key(replace(KNOWN, key="held")))
        slow.write(bytes(3 << 20))
        await slow.finish()
        with self.assertRaises(Unavailable):
            await self.objects.create(slow)
        self.assertEqual(await get(self.objects, replace(KNOWN, key="held")), b"now")
        await invariants(self.objects)

    async def test_wishes(self):
        """If-Match replaces what it names and nothing else; If-None-Match wants a free key, equal bytes or not."""
        for size in (SMALL, LARGE):
            key, first, second = f"wish {size}", body_of("1", size), body_of("2", size)
            with self.assertRaises(PreconditionFailed):
                await put(self.objects, key, first, wish=Wish(match=frozenset({"*"})))
            made = (await put(self.objects, key, first, wish=Wish(absent=True))).object
            with self.assertRaises(PreconditionFailed):
                await put(self.objects, key, first, wish=Wish(absent=True))
            with self.assertRaises(PreconditionFailed):
                await put(self.objects, key, second, wish=Wish(match=frozenset({'"sha256:0"'})))
            with self.assertRaises(Conflict):
                await put(self.objects, key, second)
            replaced = (await put(self.objects, key, second, wish=Wish(match=frozenset({made.etag})))).object
            self.assertNotEqual(replaced.id, made.id)
            with self.assertRaises(Missing):
                await self.objects.find(made.id)
            self.assertEqual(await get(self.objects, replace(KNOWN, key=key)), second)
            self.assertFalse((await put(self.objects, key, second)).is_new)
        await invariants(self.objects)

    async def test_refused_upload_frees_its_key(self):
        """An upload that fails, or whose sender leaves, frees its key at once, also when it had been written down."""
        large = body_of("large", 3 << 20)
        body = self.objects.receive(Draft(replace(KNOWN, key="left"), expected={"md5": "0" * 32}), len(large))
        body.write(large)
        with self.assertRaisesRegex(Exception, "not the bytes"):
            await body.finish()
        left = self.objects.receive(Draft(replace(KNOWN, key="left")), len(large))
        left.write(large[:100])
        left.discard()
        await left.written_down()
        await self.until_settled()
        self.assertTrue((await put(self.objects, "left", large)).is_new)
        await invariants(self.objects)

    async def until_settled(self):
        await self.objects._working.settled()

    async def test_key_being_written(self):
        """A second upload of a key hears early that another is under way, and no half of the first is ever seen."""
        large = body_of("large", 3 << 20)
        first = self.objects.receive(Draft(replace(KNOWN, key="slow")), len(large))
        first.write(large[:100])
        await first.written_down()
        second = self.objects.receive(Draft(replace(KNOWN, key="slow")), len(large) + 1)
        with self.assertRaises(Conflict) as refused:
            await second.written_down()
        self.assertEqual(refused.exception.code, "KEY_BEING_WRITTEN")
        self.assertTrue(second.over)
        second.discard()
        with self.assertRaises(Missing):
            await self.objects.find_key(replace(KNOWN, key="slow"))
        first.write(large[100:])
        await first.finish()
        await self.objects.create(first)
        self.assertEqual(await get(self.objects, replace(KNOWN, key="slow")), large)
        await invariants(self.objects)

    async def test_adopted(self):
        """Bytes that the tenant holds need not be sent again, in either class; those of others are not held."""
        for size in (SMALL, LARGE):
            data = body_of("adopted", size)
            made = (await put(self.objects, f"sent {size}", data)).object
            for storage_class in StorageClass:
                draft = Draft(replace(KNOWN, key=f"adopted {size} {storage_class}"), storage_class)
                adopted = (await self.objects.adopt(draft, made.digest)).object
                self.assertIs(adopted.storage_class, storage_class)
                self.assertEqual(await get(self.objects, adopted.id), data)
            with self.assertRaises(Missing):
                await self.objects.adopt(Draft(Name("photos", "stranger", "k")), made.digest)
            with self.assertRaises(Missing):
                await self.objects.holds("stranger", made.digest)
            self.assertEqual(await self.objects.holds("acme", made.digest), size)
        await invariants(self.objects)

    async def test_moves(self):
        """A move to another class keeps id, bytes and what was said; what is behind is collected."""
        for size in (0, SMALL, LARGE):
            data = body_of("moved", size)
            made = (await put(self.objects, f"moved {size}", data, metadata={"a": "ü"})).object
            for target in (StorageClass.COLD, StorageClass.HOT, StorageClass.HOT):
                moved = await self.objects.change(made.id, Change(storage_class=target))
                self.assertEqual((moved.id, moved.storage_class, moved.metadata), (made.id, target, {"a": "ü"}))
                self.assertEqual(await get(self.objects, made.id), data)
        await collect(self.objects)
        ((blobs,),) = await self.objects.database.read(lambda tx: tx.execute("SELECT count(*) FROM object_blob"))
        self.assertEqual(blobs, 3)
        await invariants(self.objects)


class SqliteFolderTests(CorePromises, TestCase):
    backend = "sqlite+folder"


class PostgresFolderTests(CorePromises, TestCase):
    backend = "postgresql+folder"

    async def test_two_processes(self):
        """Of two processes that write the same keys at the same time, each key has one owner."""
        at = places(self, self.backend)
        rooms = [await started(self, Room(at, Settings(), f"node {n}")) for n in range(2)]
        works = [put(room.objects, f"key {n}", b"%d of %d" % (n, id(room))) for n in range(200) for room in rooms]
        codes = reasons(await at_once(*works))
        self.assertEqual((codes.count(None), codes.count("KEY_TAKEN")), (200, 200))
        await invariants(rooms[0].objects)


class PostgresBucketTests(CorePromises, TestCase):
    backend = "postgresql+s3"
