"""What the sweeper promises, and the rounds that it and the scrubber go."""

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import TestCase

from stor.errors import ConfigError
from stor.objects import rounds
from stor.objects.ids import copy_name
from stor.objects.ownership import KEY, identity
from stor.objects.rounds import LEASE_SECONDS, Round, Step
from stor.objects.sweeper import Sweeper, sweep
from stor.objects.unlink import Unlinker
from tests.objects.collecting import HOT, begun, execute, keys
from tests.objects.rooms import BACKENDS, LARGE, Room, body_of, collect, get, opened, places, put, started

FRESH = "0" * 64


class SweeperPromises:
    timeout = 60

    async def setUp(self):
        self.objects = await opened(self, self.backend)
        self.store = self.objects.stores[HOT]

    async def test_strays(self):
        """Files without a row go; those of objects, of uploads under way and of what is doomed have one."""
        made = await put(self.objects, "kept", body_of("kept", LARGE))
        under_way, doomed = copy_name("a" * 64), copy_name("b" * 64)
        await begun(self.objects, "under way", under_way)
        doom = "INSERT INTO object_doomed (copy, class, due, claimed_until) VALUES (?, 'hot', ?, 0)"
        await self.objects.database.write(execute(doom, doomed, self.objects.now() + 10**9))
        digest = made.object.digest  # a former copy of the same bytes is as much a stray as any other
        strays = [copy_name("c" * 64), copy_name(digest), copy_name(digest), copy_name("f" * 64)]
        others = [f"sha256/cc/{'c' * 64}", "sha256/notes", f"sha256/aa/{'c' * 64}.{'0' * 20}", "uploads/x"]
        for key in (under_way, doomed, *strays, *others):
            await self.store.put(key, b"some")
        before = await keys(self.store)
        self.assertEqual(await sweep(self.objects, HOT), len(strays))
        self.assertEqual(await sweep(self.objects, HOT), 0)
        self.assertEqual((await collect(self.objects)).copies, len(strays))
        self.assertEqual(await keys(self.store), [key for key in before if key not in strays])
        self.assertEqual(await get(self.objects, made.object.id), body_of("kept", LARGE))

    async def test_many(self):
        """A page of files is asked for in several statements."""
        made = await put(self.objects, "kept", body_of("kept", LARGE))
        for n in range(self.files):
            await self.store.put(copy_name(f"{n:064x}"), b"")
        self.assertEqual(await sweep(self.objects, HOT), self.files)
        self.assertEqual(await get(self.objects, made.object.id), body_of("kept", LARGE))

    async def test_late(self):
        """The file of an upload that woke up after it was given up, and its row was gone, is swept away."""
        copy = copy_name("d" * 64)
        late = await begun(self.objects, "late", copy)
        await self.objects.give_up(late.reserved.id)
        unlinker = Unlinker(self.objects.database, HOT, self.store, self.objects.now, reactor)
        self.assertEqual(await unlinker.run(), 1)
        await self.store.put(copy, b"too late")
        self.assertEqual(await sweep(self.objects, HOT), 1)
        self.assertEqual(await unlinker.run(), 1)
        self.assertEqual(await keys(self.store), [])


class SqliteFolderTests(SweeperPromises, TestCase):
    backend = BACKENDS[0]
    files = 600

    async def test_another_database(self):
        """A database that is new, or the wrong one, does not take a full store for rubbish: it does not start."""
        copy = copy_name(FRESH)
        self.assertEqual((await self.store.get(KEY)).body.decode(), await identity(self.objects.database, HOT))
        await self.store.put(copy, b"somebody's")
        at = places(self, self.backend)
        with self.assertRaisesRegex(ConfigError, "the hot store"):
            await started(self, Room(at, stores=lambda name, store: self.objects.stores[name]))
        await Sweeper(self.objects, reactor)._look()
        self.assertEqual(await self.objects.database.read(execute("SELECT copy FROM object_doomed")), [(copy,)])

    async def test_owner_changes(self):
        """A store that is another's by now is left alone, which is said once."""
        await self.store.put(KEY, b"x" * 5000)
        await self.store.put(copy_name(FRESH), b"somebody's")
        sweeper = Sweeper(self.objects, reactor)
        with capturedLogs() as logged:
            await sweeper._look()
            await sweeper._look()
        self.assertEqual([each["kind"] for each in logged if each["log_level"] == LogLevel.critical], [HOT])
        self.assertEqual(await self.objects.database.read(execute("SELECT copy FROM object_doomed")), [])

    async def test_by_itself(self):
        """It begins a round, a minute after its start, and then no other for a day."""
        await self.store.put(copy_name(FRESH), b"")
        sweeper = Sweeper(self.objects, reactor)
        self.patch(sweeper, "_seconds", 0.01)
        sweeper.startService()
        self.addCleanup(sweeper.stopService)
        doomed = execute("SELECT copy FROM object_doomed")
        while not await self.objects.database.read(doomed):
            await deferLater(reactor, 0.01)
        ended = execute("""SELECT name FROM object_round WHERE name = 'sweep-hot' AND position LIKE '%"after":null}'""")
        while not await self.objects.database.read(ended):
            await deferLater(reactor, 0.01)
        await self.store.put(copy_name("1" * 64), b"")
        await deferLater(reactor, 0.1)
        self.assertEqual(len(await self.objects.database.read(doomed)), 1)


class PostgresFolderTests(SweeperPromises, TestCase):
    backend = BACKENDS[1]
    files = 600


class PostgresS3Tests(SweeperPromises, TestCase):
    backend = BACKENDS[2]
    files = 10

    async def test_parts(self):
        """An upload in parts that has no row is forgotten, one that has a row is when that was given up."""
        copy, stray = copy_name("d" * 64), copy_name("e" * 64)
        dying = await begun(self.objects, "dying", copy)
        self.addCleanup(self.forget)
        for key in (copy, stray, "sha256/notes", "uploads/x"):
            await self.store._boto.begin_parts(key, "", {})
        others = ["sha256/notes", "uploads/x"]
        await sweep(self.objects, HOT)
        self.assertEqual(await self.unfinished(), [copy, *others])
        await self.objects.give_up(dying.reserved.id)
        await sweep(self.objects, HOT)
        self.assertEqual(await self.unfinished(), others)

    async def unfinished(self):
        """Name what is unfinished."""
        return sorted([one.key async for page in self.store.unfinished() for one in page])

    async def forget(self):
        """Leave nothing to other tests."""
        async for page in self.store.unfinished():
            for one in page:
                await self.store.abandon(one)


class RoundPromises:
    timeout = 60

    async def setUp(self):
        self.database = (await opened(self, self.backend)).database
        self.time = 1_000_000_000_000
        self.steps = []

    def round(self, node="node", stop=None, pages="abc", period=100.0):
        """Give a round over pages with these names; one that comes to the page `stop` fails."""

        async def walk(after):
            for page in pages:
                if page > after:
                    if page == stop:
                        raise ZeroDivisionError
                    self.steps.append((node, page))
                    yield Step(page)

        return Round("test", walk, period, node, self.database, lambda: self.time, reactor)

    async def test_once(self):
        """A round goes through everything, and the next begins when its time has come."""
        self.assertTrue(await self.round().run())
        self.assertEqual(self.steps, [("node", page) for page in "abc"])
        self.time += 99_999_999
        self.assertFalse(await self.round().run())
        self.assertFalse(await self.round("other").run())
        self.time += 1
        self.assertTrue(await self.round("other").run())
        self.assertEqual(len(self.steps), 6)

    async def test_goes_on(self):
        """After a death the same node goes on where it was, another one when nothing was heard for long."""
        self.patch(rounds, "NOTE_SECONDS", 0.01)
        broken = self.round(stop="c")
        walk = broken._walk

        async def slow(after):
            async for step in walk(after):
                yield Step(step.after, 0.1)

        self.patch(broken, "_walk", slow)
        with self.assertRaises(ZeroDivisionError):
            await broken.run()
        self.assertFalse(await self.round("other").run())
        self.time += int(LEASE_SECONDS * 1e6) + 1
        self.steps.clear()
        with self.assertRaises(ZeroDivisionError):
            await self.round("other", stop="c").run()
        self.assertFalse(await self.round().run())
        self.assertTrue(await self.round("other").run())
        self.assertEqual(self.steps, [("other", "c")])

    async def test_taken_over(self):
        """Who was silent for so long that another went on stops, and does not write over the other's place."""
        self.patch(rounds, "NOTE_SECONDS", 0.01)
        mine = self.round()

        async def slow(after):
            yield Step("a")
            self.time += int(LEASE_SECONDS * 1e6) + 1
            self.assertIsNotNone(
                await self.database.write(lambda tx: self.round("other")._take(tx, self.time)),
            )
            yield Step("b", 0.1)
            self.steps.append("too much")
            yield Step("c")

        self.patch(mine, "_walk", slow)
        self.assertFalse(await mine.run())
        self.assertEqual(self.steps, [])
        self.assertTrue(await self.round("other").run())


class SqliteRoundTests(RoundPromises, TestCase):
    backend = BACKENDS[0]


class PostgresRoundTests(RoundPromises, TestCase):
    backend = BACKENDS[1]
