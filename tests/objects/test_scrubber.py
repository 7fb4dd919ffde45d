"""What the scrubber promises."""

import os
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import fail
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from stor.errors import Failed, Unavailable
from stor.objects.scrubber import Scrubber, ScrubSettings
from stor.storage.keys import path_of
from tests.objects.collecting import HOT, bad_sector, execute
from tests.objects.rooms import BACKENDS, LARGE, SMALL, Room, body_of, collect, get, places, put, started

FAST = ScrubSettings(rate=1e12, days=0.0)


class ScrubberPromises:
    timeout = 60

    async def setUp(self):
        self.places = places(self, self.backend)
        self.objects = (await started(self, Room(self.places))).objects

    async def scrub(self, settings=FAST):
        """Go a round, or on with one."""
        await Scrubber(self.objects, settings, reactor)._look()

    async def blob(self, made):
        """Give what the row of an object's blob says: (copy, damage)."""
        of = "SELECT copy, damage FROM object_blob WHERE digest = ?"
        ((copy, damage),) = await self.objects.database.read(execute(of, bytes.fromhex(made.object.digest)))
        return copy, damage

    async def test_damage(self):
        """Damage is found, in the database and in a store; it is counted once, and reads fail instead of lying."""
        sound = [await put(self.objects, f"sound {size}", body_of(f"sound {size}", size)) for size in (0, SMALL, LARGE)]
        small = await put(self.objects, "small", body_of("small", SMALL))
        large = await put(self.objects, "large", body_of("large", LARGE))
        lost = await put(self.objects, "lost", body_of("lost", LARGE))
        wrong = "UPDATE object_blob SET data = ? WHERE digest = ?"
        await self.objects.database.write(execute(wrong, b"wrong", bytes.fromhex(small.object.digest)))
        copy, _ = await self.blob(large)
        await self.spoil(copy)
        await self.objects.stores[HOT].delete((await self.blob(lost))[0])
        await self.scrub()
        for made in (small, large, lost):
            self.assertIsNotNone((await self.blob(made))[1])
            with self.assertRaises(Failed) as raised:
                await get(self.objects, made.object.id)
            self.assertEqual(raised.exception.code, "OBJECT_DAMAGED")
        self.assertEqual(self.objects.metrics.integrity_errors._value.get(), 3)
        await collect(self.objects)
        self.assertEqual((await self.objects.stores[HOT].head(copy)).size, LARGE)  # it stays for whoever looks at it
        await self.scrub()
        self.assertEqual(self.objects.metrics.integrity_errors._value.get(), 3)
        for made in sound:
            self.assertIsNone((await self.blob(made))[1])
            self.assertEqual(len(await get(self.objects, made.object.id)), made.object.size)

    async def spoil(self, copy):
        """Change a byte; nothing that a store tells of the copy but its hash is another, where we can do that."""
        file = Path(self.places.folder) / "hot" / "data" / os.fsdecode(path_of(copy))
        times = file.stat()
        with file.open("r+b") as spoilt:
            spoilt.seek(LARGE // 2)
            spoilt.write(b"!")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


class SqliteFolderTests(ScrubberPromises, TestCase):
    backend = BACKENDS[0]

    async def test_fresh(self):
        """A copy that was hashed not long ago is passed over, an old one is hashed, and that is written down."""
        made = await put(self.objects, "key", body_of("key", LARGE))
        copy, _ = await self.blob(made)
        await self.spoil(copy)
        await self.scrub(ScrubSettings(rate=1e12, days=30.0))
        self.assertEqual((await self.blob(made))[1], None)
        await self.objects.database.write(execute("UPDATE object_blob SET checked_at = 0"))
        await self.objects.database.write(execute("DELETE FROM object_round"))
        sound = await put(self.objects, "sound", body_of("sound", LARGE))
        old = "UPDATE object_blob SET checked_at = 0 WHERE digest = ?"
        await self.objects.database.write(execute(old, bytes.fromhex(sound.object.digest)))
        await self.scrub(ScrubSettings(rate=1e12, days=30.0))
        self.assertIsNotNone((await self.blob(made))[1])
        self.assertEqual(
            await self.objects.database.read(execute("SELECT id FROM object_blob WHERE checked_at = 0")), []
        )

    async def test_bad_sector(self):
        """What cannot be read is logged, counted and gone past; a store that is away ends the round."""
        made = [await put(self.objects, f"{n}", body_of(f"{n}", LARGE)) for n in range(3)]
        first, _ = await self.blob(made[0])
        last, _ = await self.blob(made[2])
        await self.spoil(last)
        bad_sector(self, first)
        with capturedLogs() as logged:
            await self.scrub()
        (told,) = [each for each in logged if "cannot be read" in each.get("log_format", "")]
        self.assertEqual(told["digest"], made[0].object.digest)
        self.assertEqual(self.objects.metrics.unreadable._value.get(), 1)
        self.assertEqual([(await self.blob(each))[1] is None for each in made], [True, True, False])
        store = self.objects.stores[HOT]
        self.patch(store, "check", lambda: fail(Unavailable("the disk is away")))
        with self.assertRaisesRegex(Unavailable, "Input/output"):
            await self.scrub()

    async def test_rate(self):
        """It hashes no more bytes in a second than it may."""
        for n in range(4):
            await put(self.objects, f"large {n}", body_of(f"large {n}", LARGE))
            await put(self.objects, f"small {n}", body_of(f"small {n}", SMALL))
        began = reactor.seconds()
        await self.scrub(ScrubSettings(rate=4 * (LARGE + SMALL) / 0.5, days=0.0))
        self.assertGreater(reactor.seconds() - began, 0.45)

    async def test_many(self):
        """It goes through more than a page of blobs, and a second round through all of them again."""
        made = [await put(self.objects, f"{n}", body_of(f"{n}", SMALL)) for n in range(150)]
        await self.scrub()
        wrong = "UPDATE object_blob SET data = ? WHERE digest = ?"
        for each in (made[0], made[100], made[149]):
            await self.objects.database.write(execute(wrong, b"wrong", bytes.fromhex(each.object.digest)))
        await self.scrub()
        self.assertEqual(self.objects.metrics.integrity_errors._value.get(), 3)


class PostgresFolderTests(ScrubberPromises, TestCase):
    backend = BACKENDS[1]


class PostgresS3Tests(ScrubberPromises, TestCase):
    backend = BACKENDS[2]

    async def spoil(self, copy):
        """The etag of a bucket tells of the bytes."""
        await self.objects.stores[HOT].put(copy, body_of("other", LARGE))
