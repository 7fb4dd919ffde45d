"""A backup shows one moment, whatever goes on beside it, and nothing that it needs is collected under its hands."""

import random
from dataclasses import dataclass, field, replace
from itertools import count

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from stor.errors import Unavailable
from stor.objects.backup import hold
from stor.objects.backup.verifying import verify
from stor.objects.records import Change, StorageClass, Wish
from tests.objects.backups import backed_up, contents, fill, holds, restored, tree
from tests.objects.rooms import KNOWN, LARGE, SMALL, Room, body_of, collect, invariants, opened, places, put, started
from tests.places import folder

KEYS = 4  # of each writer
ticks = count()


@dataclass
class Deed:
    """What a writer did to one of its keys: what that showed afterwards, and when it was asked for and acknowledged."""

    key: str
    state: tuple | None
    asked: int
    answered: float = float("inf")


@dataclass
class Writer:
    """Does one thing after the other to keys of its own."""

    name: str
    random: random.Random
    deeds: list[Deed] = field(default_factory=list)
    objects: dict = field(default_factory=dict)

    async def work(self, objects, stop):
        """Go on until told to stop."""
        for number in count():
            if stop():
                return
            key = f"{self.name}/{self.random.randrange(KEYS)}"
            self.deeds.append(deed := Deed(key, None, next(ticks)))
            deed.state = await self._do(objects, key, number)
            deed.answered = next(ticks)

    async def _do(self, objects, key, number):
        there = self.objects.get(key)
        choice = self.random.random()
        if there is not None and choice < 0.3:
            await objects.delete(there.id)
            self.objects[key] = None
            return None
        if there is not None and choice < 0.5:
            other = StorageClass.COLD if there.storage_class is StorageClass.HOT else StorageClass.HOT
            asked = Change(storage_class=other) if choice < 0.4 else Change(metadata={"n": str(number)})
            there = await objects.change(there.id, asked)
        else:
            seed = f"{self.random.randrange(8)}"  # many have the same bytes, and so lose and win them all the time
            data = body_of(seed, self.random.choice([SMALL, LARGE]))
            wish = Wish() if there is None else Wish(match=frozenset({"*"}))
            made = await put(objects, replace(KNOWN, key=key), data, wish=wish, metadata={"n": str(number)})
            there = made.object
        self.objects[key] = there
        return _shown(there)

    def states(self):
        """Give what its keys showed after each deed, before the first one too."""
        now = {}
        yield dict(now)
        for deed in self.deeds:
            now = {key: state for key, state in {**now, deed.key: deed.state}.items() if state}
            yield now


def _shown(one):
    return one.id, one.digest, one.storage_class, dict(one.metadata)


class Slow:
    """A store that takes its time to give bytes, so that much happens meanwhile."""

    def __init__(self, _, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def get(self, *args, **kwargs):
        await deferLater(reactor, 0.05)
        return await self._store.get(*args, **kwargs)


class Afterwards:
    """A database that calls `then` when a survey has ended: whatever is done there is done after its moment."""

    def __init__(self, database):
        self._database = database
        self.then = None
        self.away = False

    def __getattr__(self, name):
        return getattr(self._database, name)

    async def write(self, work):
        if self.away:
            raise Unavailable("away")
        return await self._database.write(work)

    async def survey(self, work):
        found = await self._database.survey(work)
        if self.then is not None:
            await self.then()
        return found


class OnlinePromises:
    timeout = 120

    async def setUp(self):
        self.dir = folder(self) / "backups"
        self.at = places(self, self.backend)
        self.objects = (await started(self, Room(self.at))).objects

    async def test_writers(self):
        """Beside writers and a collector that leaves nothing, it is the state of one moment after it was begun.

        For each writer it shows what was there after one of its deeds, the last one acknowledged before or a later one;
        and no deed is in it that was begun when another was acknowledged that is not.
        """
        writers = [Writer(f"writer {number}", random.Random(number)) for number in range(5)]
        over = False
        working = [Deferred.fromCoroutine(writer.work(self.objects, lambda: over)) for writer in writers]
        working.append(Deferred.fromCoroutine(self._collect(lambda: over)))
        backing = (await started(self, Room(self.at, stores=Slow))).objects
        moments = []
        for _ in range(3):
            await deferLater(reactor, 0.2)
            begun = next(ticks)
            report = await backed_up(backing, self.dir)
            self.assertEqual(report.copied.damaged, {})
            moments.append((begun, next(ticks), report.entry.at))
        over = True
        await gatherResults(working)
        self.assertEqual(verify(self.dir).faults, 0)
        for begun, ended, at in moments:
            there = await opened(self, "sqlite+folder")
            await restored(there, self.dir, at)
            found = {}
            for one, digest in (await contents(there)).values():
                self.assertEqual(digest, one.digest)
                found[one.name.key] = _shown(one)
            self._is_one_moment(writers, found, begun, ended)
        self.assertGreater(sum(len(writer.deeds) for writer in writers), 30)
        await collect(self.objects)
        await invariants(self.objects)

    async def _collect(self, stop):
        while not stop():
            await collect(self.objects)

    def _is_one_moment(self, writers, found, begun, ended):
        cuts = [self._cuts(writer, found, begun, ended) for writer in writers]
        self.assertTrue(all(cuts), "a writer's keys were never so")
        # The latest possible cut of each writer, brought down until no deed that is in follows one that is out.
        chosen = [max(possible) for possible in cuts]
        for number in range(len(writers)):
            first_out = min(
                [deed.answered for writer, cut in zip(writers, chosen, strict=True) for deed in writer.deeds[cut:]],
                default=float("inf"),
            )
            fit = [cut for cut in cuts[number] if not cut or writers[number].deeds[cut - 1].asked < first_out]
            self.assertTrue(fit, "it shows a deed, and not another that was acknowledged before that was begun")
            chosen[number] = max(fit)

    def _cuts(self, writer, found, begun, ended):
        """After how many of its deeds all its keys were as they were found."""
        mine = {key: state for key, state in found.items() if key.startswith(f"{writer.name}/")}
        acknowledged = sum(deed.answered < begun for deed in writer.deeds)
        asked = sum(deed.asked < ended for deed in writer.deeds)
        return [
            number for number, state in enumerate(writer.states()) if state == mine and acknowledged <= number <= asked
        ]

    async def test_collected_behind_it(self):
        """What is deleted, and collected, right after the moment is saved with all its bytes; then it may go."""
        await fill(self.objects)
        before = await contents(self.objects)
        room = await started(self, Room(self.at, database=Afterwards))

        async def delete_all():
            for object_id in before:
                await self.objects.delete(object_id)
            collected = await collect(self.objects)
            self.assertEqual((collected.blobs, collected.copies), (0, 0))

        room.database.then = delete_all
        report = await backed_up(room.objects, self.dir)
        self.assertEqual((report.copied.damaged, report.entry.objects), ({}, len(before)))
        self.assertEqual(await holds(self.objects), 0)
        there = await opened(self, "sqlite+folder")
        await restored(there, self.dir)
        self.assertEqual(await contents(there), before)
        self.assertGreater((await collect(self.objects)).copies, 0)
        await invariants(self.objects)

    async def test_replaced_behind_it(self):
        """When all bytes have come again, so that other copies hold them, they are found there."""
        await fill(self.objects)
        before = await contents(self.objects)
        room = await started(self, Room(self.at, database=Afterwards))

        async def heal_all():
            for number, (one, _) in enumerate(before.values()):
                found = await self.objects.find(one.id)
                data = found.blob.data
                if found.blob.copy is not None:
                    data = body_of({"small/one": "shared", "replaced": "new"}.get(one.name.key, "large"), one.size)
                await put(self.objects, f"again {number}", data, storage_class=one.storage_class)
                if found.blob.copy is not None:  # as if it had been unlinked before the hold
                    await self.objects.stores[one.storage_class].delete(found.blob.copy)

        room.database.then = heal_all
        self.assertEqual((await backed_up(room.objects, self.dir)).copied.damaged, {})
        there = await opened(self, "sqlite+folder")
        await restored(there, self.dir)
        self.assertEqual(await contents(there), before)

    async def test_lost_hold(self):
        """A backup whose hold could not be renewed says so; what was there is as before, and the next one is whole."""
        await fill(self.objects)
        await backed_up(self.objects, self.dir)
        before = tree(self.dir)
        self.patch(hold, "SECONDS", 0.3)
        room = await started(self, Room(self.at, database=Afterwards))

        async def be_away():
            room.database.away = True
            await deferLater(reactor, 0.5)

        room.database.then = be_away
        with self.assertRaisesRegex(Unavailable, "begin again"):
            await backed_up(room.objects, self.dir)
        self.assertEqual(tree(self.dir), before)
        self.assertGreater((await collect(self.objects)).copies, 0)  # the hold has ended by itself
        room.database.away, room.database.then = False, None
        self.assertEqual((await backed_up(room.objects, self.dir)).copied.blobs, 0)
        self.assertEqual(await holds(self.objects), 1)  # that of the dead, until a day has passed


class SqliteTests(OnlinePromises, TestCase):
    backend = "sqlite+folder"


class PostgresTests(OnlinePromises, TestCase):
    backend = "postgresql+folder"


class BucketTests(OnlinePromises, TestCase):
    backend = "postgresql+s3"
