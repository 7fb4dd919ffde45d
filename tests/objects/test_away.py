"""A store or a database that is not there as it was: nothing is taken for lost, and nothing stays blocked."""

import os
from dataclasses import replace
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from stor.errors import ConfigError, Failed, Unavailable
from stor.objects import debts
from stor.objects.records import Draft, StorageClass
from stor.storage.faults import fault
from tests.objects.rooms import KNOWN, LARGE, SMALL, Room, body_of, collect, get, invariants, places, put, started

HOT = StorageClass.HOT


class AwayTests(TestCase):
    async def setUp(self):
        self.places = places(self, "sqlite+folder")
        self.room = await started(self, Room(self.places))
        self.objects = self.room.objects
        self.body = body_of("away", LARGE)
        self.made = await put(self.objects, "kept", self.body)
        self.hot = Path(self.places.folder) / "hot"
        self.aside = self.hot.with_name("unmounted")

    async def test_not_mounted(self):
        """A folder that is not mounted for a while is a 503, not damage; when it is back, so is all that was in it."""
        self.hot.rename(self.aside)
        (self.hot / "data").mkdir(parents=True)
        with self.assertRaises(Unavailable):
            await get(self.objects, self.made.object.id)
        await collect(self.objects)
        (self.hot / "data").rmdir()
        self.hot.rmdir()
        self.aside.rename(self.hot)
        await collect(self.objects)
        self.assertEqual(await get(self.objects, self.made.object.id), self.body)
        await invariants(self.objects)

    async def test_start_unmounted(self):
        """A start over another folder than the one that the database knows is refused, and changes nothing."""
        await self.room.stopService()
        self.hot.rename(self.aside)
        with self.assertRaisesRegex(ConfigError, "is it mounted"):
            await started(self, Room(self.places))
        self.assertFalse(any(each.is_file() for each in (self.hot / "data").rglob("*")))

    async def test_exchanged(self):
        """A start with the folders of the classes exchanged is refused."""
        await self.room.stopService()
        cold = Path(self.places.folder) / "cold"
        self.hot.rename(self.aside)
        cold.rename(self.hot)
        self.aside.rename(cold)
        with self.assertRaisesRegex(ConfigError, "is it mounted"):
            await started(self, Room(self.places))

    async def test_lost_and_found(self):
        """A copy that is gone is damage that heals when the file is there again, as it was."""
        file = next(each for each in self.hot.rglob("*=") if "sha256" in str(each))
        lost = self.hot / "lost"
        file.rename(lost)
        with self.assertRaises(Failed) as raised:
            await get(self.objects, self.made.object.id)
        self.assertEqual(raised.exception.code, "OBJECT_DAMAGED")
        await collect(self.objects)
        lost.rename(file)
        self.assertEqual(await get(self.objects, self.made.object.id), self.body)
        await invariants(self.objects)

    async def test_cut_off(self):
        """A file that is shorter than it was is damage, also for ranges; the same bytes sent by anybody heal it."""
        file = next(each for each in self.hot.rglob("*=") if "sha256" in str(each))
        os.truncate(file, LARGE // 2)
        for span in ((0, None), (10, 20)):
            with self.assertRaises(Failed) as raised:
                await get(self.objects, self.made.object.id, *span)
            self.assertEqual(raised.exception.code, "OBJECT_DAMAGED")
        await put(self.objects, replace(KNOWN, tenant="other", key="healer"), self.body)
        self.assertEqual(await get(self.objects, self.made.object.id), self.body)
        await collect(self.objects)
        await invariants(self.objects)


class Moody:
    """A store that answers reads with a fault while it has one."""

    def __init__(self, store):
        self._store, self.fault = store, None

    def __getattr__(self, name):
        real = getattr(self._store, name)
        if name not in {"get", "head"}:
            return real

        async def ask(*args, **kwargs):
            if self.fault is not None:
                raise self.fault
            return await real(*args, **kwargs)

        return ask


class FaultTests(TestCase):
    async def test_strange_answers(self):
        """A bucket that refuses a read for a reason of its own has lost nothing, and loses nothing by it."""
        at = places(self, "sqlite+folder")
        objects = (await started(self, Room(at, stores=lambda _, store: Moody(store)))).objects
        body = body_of("strange", LARGE)
        made = await put(objects, "kept", body)
        for status, code in ((400, "ExpiredToken"), (403, "InvalidObjectState"), (400, "SomethingNew")):
            objects.stores[HOT].fault = fault(status, code)
            with self.assertRaises((Failed, Unavailable)) as raised:
                await get(objects, made.object.id)
            self.assertNotEqual(raised.exception.code, "OBJECT_DAMAGED")
            objects.stores[HOT].fault = None
            await collect(objects)
            self.assertEqual(await get(objects, made.object.id), body)
        await invariants(objects)


class Lossy:
    """A database whose answer to one write is lost, after it was done: that after `lose` others."""

    def __init__(self, database):
        self._database, self.lose, self.is_away = database, None, False

    def __getattr__(self, name):
        return getattr(self._database, name)

    async def write(self, work):
        if self.is_away:
            raise Unavailable("the database is away", 1.0)
        value, was = await self._database.write(work), self.lose
        if self.lose is not None:
            self.lose = self.lose - 1 if self.lose else None
        if self.lose is None and was is not None:
            raise Unavailable("the database was lost; whether it wrote is not known", 1.0)
        return value


class LossTests(TestCase):
    async def setUp(self):
        self.objects = (await started(self, Room(places(self, "sqlite+folder"), database=Lossy))).objects

    async def test_lost_answers(self):
        """After a lost answer the same upload succeeds at once, small or large; there is one object with the key."""
        for size, writes in ((SMALL, 1), (LARGE, 2), (3 << 20, 3)):
            for lost in range(writes):
                key, body = f"{size} {lost}", body_of(f"{size} {lost}", size)
                self.objects.database.lose = lost
                with self.assertRaises(Unavailable):
                    await put(self.objects, key, body)
                await self.objects._working.settled()
                await put(self.objects, key, body)
                self.assertEqual(await get(self.objects, replace(KNOWN, key=key)), body)
        await collect(self.objects)
        await invariants(self.objects)

    async def test_away_at_the_end(self):
        """An upload that could not be given up, the database being away, is given up when it is back."""
        self.patch(debts, "SECONDS", 0.05)
        large = body_of("large", 3 << 20)
        receiving = self.objects.receive(Draft(replace(KNOWN, key="blocked")), len(large))
        receiving.write(large[:100])
        await receiving.written_down()
        self.objects.database.is_away = True
        receiving.discard()
        await deferLater(reactor, 0.1)
        self.objects.database.is_away = False
        await deferLater(reactor, 0.3)
        self.assertTrue((await put(self.objects, "blocked", large)).is_new)
        await invariants(self.objects)
