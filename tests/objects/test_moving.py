"""What a move between classes promises when it fails."""

import contextlib  # trial takes a module's `suppress` for its own
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from stor.errors import Full, Unavailable
from stor.objects.records import Change, StorageClass
from tests.objects.rooms import Room, body_of, collect, get, invariants, places, put, started

COLD = StorageClass.COLD


class Refusing:
    """A store or a database that refuses one call, when it is told to."""

    def __init__(self, real, call):
        self._real, self._call, self.why = real, call, None

    def __getattr__(self, name):
        if name == self._call and self.why is not None:
            return self._refuse
        return getattr(self._real, name)

    async def _refuse(self, *_, **__):
        raise self.why


class RefusedTests(TestCase):
    timeout = 60

    async def setUp(self):
        self.places = places(self, "sqlite+folder")
        room = Room(
            self.places,
            database=lambda real: Refusing(real, "write"),
            stores=lambda _, real: Refusing(real, "put"),
        )
        self.objects = (await started(self, room)).objects
        self.standing = self.open_files()
        self.made = await put(self.objects, "key", body_of("key", 3 << 20))

    async def refused(self, place, why):
        """Each of many moves fails so, nothing is left open or in a file of them, and the object stays as it was."""
        await self.quiet(self.standing)
        place.why = why
        for _ in range(5):
            with self.assertRaises(type(why)):
                await self.objects.change(self.made.object.id, Change(storage_class=COLD))
        place.why = None
        await self.quiet(self.standing)
        self.assertEqual(await get(self.objects, self.made.object.id), body_of("key", 3 << 20))
        moved = await self.objects.change(self.made.object.id, Change(storage_class=COLD))
        self.assertEqual(moved.storage_class, COLD)
        await collect(self.objects)
        await invariants(self.objects)

    def open_files(self):
        """Name the files of our stores that are open, and those that are on their way."""
        links = []
        for fd in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed by now
                links.append(str(fd.readlink()))
        places = [f"{self.places.folder}/{each}/" for each in StorageClass]
        there = [str(path) for place in places for path in Path(place, "tmp").rglob("*")]
        return sorted([link for link in links if link.startswith(tuple(places))] + there)

    async def quiet(self, wanted):
        """Wait until these are open: others are closed in threads."""
        for _ in range(200):
            if (found := self.open_files()) == wanted:
                return
            await deferLater(reactor, 0.02)
        self.fail(found)

    async def test_full(self):
        """A full target."""
        await self.refused(self.objects.stores[COLD], Full("no room left"))

    async def test_away(self):
        """A database that is away."""
        await self.refused(self.objects.database, Unavailable("away"))
