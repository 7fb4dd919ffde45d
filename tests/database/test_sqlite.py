"""What only a database in a file can do, or suffer."""

import os
import sqlite3
import threading
import time
from functools import partial
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.database import session, sqlite, writer
from stor.database.group import commit
from stor.database.session import WriteSession
from stor.database.sqlite import Sqlite
from stor.errors import ConfigError, Conflict, Failed, Full, Unavailable
from tests.database.child import TABLES
from tests.database.disks import broken_disk, small_disk
from tests.database.rooms import at_once, opened, settled
from tests.database.writers import Writers
from tests.places import folder

TABLE = "CREATE TABLE thing (name TEXT PRIMARY KEY, data BLOB)"


def add(name, transaction, size=0):
    transaction.execute("INSERT INTO thing VALUES (?, ?)", (name, bytes(size)))


def names(transaction):
    return [name for (name,) in transaction.execute("SELECT name FROM thing ORDER BY name")]


class GroupTests(SynchronousTestCase):
    """Works in one commit, with nothing around them."""

    def setUp(self):
        self.session = WriteSession(folder(self) / "rows")
        self.addCleanup(self.session.close)
        self.said = []
        self.session._db.execute(TABLE)
        self.session._db.set_trace_callback(self.said.append)

    def test_one_commit(self):
        """Many works are one commit, and each gets what it gave."""
        outcomes = commit(self.session, [lambda t, n=n: add(str(n), t) or n for n in range(100)])
        self.assertEqual([outcome.value for outcome in outcomes], list(range(100)))
        self.assertEqual(self.said.count("COMMIT"), 1)

    def test_deferred_rule(self):
        """A rule that is looked at only by the commit fails the one who broke it."""
        self.session._db.execute("CREATE TABLE part (thing TEXT REFERENCES thing (name) DEFERRABLE INITIALLY DEFERRED)")
        works = [
            partial(add, "before"),
            lambda t: t.execute("INSERT INTO part VALUES ('nothing')"),
            partial(add, "after"),
        ]
        outcomes = commit(self.session, works)
        self.assertEqual([type(outcome.error) for outcome in outcomes], [type(None), Conflict, type(None)])
        self.assertEqual(self.session.apart(names), ["after", "before"])

    def test_ended_within(self):
        """A work that ends the transaction of all fails for all, and nobody is told otherwise."""
        outcomes = commit(self.session, [partial(add, "a"), lambda t: t.execute("ROLLBACK"), partial(add, "b")])
        self.assertEqual([type(outcome.error) for outcome in outcomes], [Failed] * 3)
        self.assertEqual(self.session.apart(names), [])


class FileTests(TestCase):
    def setUp(self):
        self.path = folder(self) / "rows.sqlite"

    async def start(self):
        database = await opened(self, Sqlite(self.path, reactor))
        await database.write(lambda t: t.execute(TABLE))
        return database

    async def test_shared_commits(self):
        """64 who write at the same time need few commits; none waits for others to come."""
        database = await self.start()
        commits = []
        database._session._db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)

        async def write(number):
            for turn in range(10):
                await database.write(partial(add, f"{number}-{turn}"))

        await at_once(*(write(number) for number in range(64)))
        self.assertLess(len(commits), 640 / 8)
        self.assertEqual(len(await database.read(names)), 640)

    async def test_order(self):
        """Works are run in the order they came, so a later one sees an earlier one that is not yet durable."""
        database = await self.start()
        values = await at_once(
            *(database.write(lambda t, n=n: add(f"{n:03}", t) or names(t)[-1]) for n in range(300)),
        )
        self.assertEqual(values, [f"{n:03}" for n in range(300)])

    async def test_too_many(self):
        """Beyond so many that wait, a write is Unavailable at once, and says when to come again."""
        self.patch(writer, "MOST_WAITING", 10)
        database = await self.start()
        outcomes = await settled(*(database.write(partial(add, str(number))) for number in range(30)))
        refused = [outcome for outcome in outcomes if outcome is not None]
        self.assertEqual({type(each) for each in refused}, {Unavailable})
        self.assertEqual({each.retry_after for each in refused}, {1.0})
        self.assertEqual(len(await database.read(names)), 30 - len(refused))
        self.assertIn(len(refused), (19, 20))  # the first may have begun

    async def test_locked_out(self):
        """While another process keeps the file locked, a write is Unavailable after a while; then it works again."""
        self.patch(session, "BUSY_SECONDS", 0.3)
        database = await self.start()
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        with self.assertRaises(Unavailable):
            await database.write(partial(add, "locked out"))
        self.assertEqual(await database.read(names), [])  # readers do not care
        other.execute("ROLLBACK")
        await database.write(partial(add, "in"))

    async def test_log_is_bounded(self):
        """The write-ahead log does not grow for ever while readers follow each other without a gap."""
        self.patch(sqlite, "LOG_BYTES", 1 << 20)
        database = await self.start()
        log, longest, writing = Path(f"{self.path}-wal"), 0, True

        async def read():
            while writing:
                await database.read(lambda t: (names(t), time.sleep(0.02)))

        readers = at_once(read(), read(), read())
        for turn in range(200):
            await database.write(partial(add, str(turn), size=50_000))
            longest = max(longest, log.stat().st_size)
        writing = False
        await readers
        self.assertLess(longest, 5 << 20)  # of 10 MB written
        await database.stopService()
        self.assertFalse(log.exists() and log.stat().st_size)

    async def test_long_reader(self):
        """Who reads for long does not stop the writers, and what it sees stays as it was."""
        self.patch(sqlite, "LOG_BYTES", 1 << 20)
        database = await self.start()
        begun, end = threading.Event(), threading.Event()

        def read(transaction):
            before = names(transaction)
            begun.set()
            self.assertTrue(end.wait(30))
            return before, names(transaction)

        reading = Deferred.fromCoroutine(database.read(read))
        while not begun.is_set():
            await database.read(names)
        for turn in range(30):
            await database.write(partial(add, str(turn), size=50_000))
        end.set()
        self.assertEqual(await reading, ([], []))
        self.assertEqual(len(await database.read(names)), 30)

    async def test_private(self):
        """Only the owner may read the file and what lies beside it."""
        database = await self.start()
        await database.write(partial(add, "x"))
        modes = {path.stat().st_mode & 0o777 for path in self.path.parent.iterdir()}
        self.assertEqual(modes, {0o600})

    async def test_no_folder(self):
        """A file that cannot be made is a ConfigError that names it."""
        database = Sqlite(self.path / "not" / "there", reactor)
        with self.assertRaisesRegex(ConfigError, "there"):
            await database.startService()
        await database.stopService()

    async def test_no_database(self):
        """A file that is none of SQLite's is Failed, and left as it is."""
        self.path.write_bytes(b"something of value" * 1000)
        database = Sqlite(self.path, reactor)
        with self.assertRaisesRegex(Failed, "damaged"):
            await database.startService()
        await database.stopService()
        self.assertEqual(self.path.read_bytes(), b"something of value" * 1000)

    async def test_damaged(self):
        """A file that has lost its end is Failed where it is read."""
        database = await self.start()
        for turn in range(40):
            await database.write(partial(add, str(turn), size=4096))
        await database.stopService()
        with self.path.open("r+b") as file:
            file.seek(-80_000, os.SEEK_END)
            file.write(os.urandom(80_000))
        database = await opened(self, Sqlite(self.path, reactor))
        with self.assertRaisesRegex(Failed, "damaged"):
            await database.read(lambda t: t.execute("SELECT sum(length(data || name)) FROM thing"))

    async def test_whatever_is_raised(self):
        """Even an interrupt raised by a work goes to its caller alone."""
        database = await self.start()

        def interrupt(transaction):
            add("interrupted", transaction)
            raise KeyboardInterrupt

        async def interrupted():
            with self.assertRaises(KeyboardInterrupt):
                await database.write(interrupt)

        await at_once(database.write(partial(add, "a")), interrupted(), database.write(partial(add, "b")))
        self.assertEqual(await database.read(names), ["a", "b"])


class FaultTests(TestCase):
    async def test_full_disk(self):
        """On a full disk a write is Full, a small one beside it is not, reads go on; with room all is well again."""
        place = small_disk(self, "2m")
        database = await opened(self, Sqlite(place / "rows", reactor))
        await database.write(lambda t: t.execute(TABLE))
        (place / "rest").write_bytes(bytes(256 << 10))  # what will be room again: the log takes all the other
        outcomes = await settled(
            database.write(partial(add, "first")),
            database.write(partial(add, "small")),
            database.write(partial(add, "large", size=3 << 20)),
            database.write(partial(add, "last")),
        )
        self.assertEqual([type(outcome) for outcome in outcomes], [type(None), type(None), Full, type(None)])
        with self.assertRaises(OSError), (place / "rest").open("ab", buffering=0) as rest:
            while True:
                rest.write(bytes(4096))
        acknowledged = await database.read(names)
        self.assertEqual(acknowledged, ["first", "last", "small"])
        for turn in range(1000):  # there may be room in the log
            try:
                await database.write(partial(add, f"turn {turn}", size=2000))
            except Full:
                break
            acknowledged.append(f"turn {turn}")
        else:
            self.fail("the disk was not full")
        self.assertEqual(await database.read(names), sorted(acknowledged))
        (place / "rest").unlink()
        await database.write(partial(add, "zz"))
        self.assertEqual(await database.read(names), [*sorted(acknowledged), "zz"])

    async def test_broken_disk(self):
        """While the disk cannot be synced no write is acknowledged; afterwards nothing of it is there."""
        environment, sign = broken_disk(self)
        path = folder(self) / "rows.sqlite"
        database = await opened(self, Sqlite(path, reactor))

        def prepare(transaction):
            for statement in TABLES:
                transaction.execute(statement)

        await database.write(prepare)
        process = Writers(self, path, "child", writers=4, rounds=50, **environment)
        lines = [process.line() for _ in range(20)]
        sign.touch()
        while lines[-1] != "Unavailable":
            lines.append(process.line())
        sign.unlink()
        more, complaint = process.end()
        lines += more
        self.assertEqual(complaint, "")
        refused = lines.count("Unavailable")
        self.assertGreater(refused, 0)
        self.assertEqual(len(lines), 200)
        found = await database.read(lambda t: t.execute("SELECT name FROM seen"))
        self.assertEqual({name for (name,) in found}, set(lines) - {"Unavailable"})
        self.assertEqual(await database.read(lambda t: t.execute("SELECT n FROM total")), [(200 - refused,)])
