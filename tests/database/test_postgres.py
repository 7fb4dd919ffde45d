"""What only a database behind a network can do, or suffer."""

import threading
import time
from functools import partial

import psycopg
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.database import connections, postgres
from stor.database.faults import of_postgres
from stor.database.marks import marked
from stor.database.postgres import CONNECTIONS, Postgres
from stor.errors import ConfigError, Conflict, Failed, Full, Unavailable
from tests.database.child import TABLES
from tests.database.rooms import at_once, opened, settled
from tests.database.writers import Writers
from tests.postgres import PASSWORD, QUOTED, PostgresServer, shared

TABLE = "CREATE TABLE thing (name TEXT PRIMARY KEY, n BIGINT)"


def add(name, transaction):
    transaction.execute("INSERT INTO thing VALUES (?, 0)", (name,))


def names(transaction):
    return {name for (name,) in transaction.execute("SELECT name FROM thing")}


class WordTests(SynchronousTestCase):
    def test_marks(self):
        """Our marks become the driver's, and a percent sign stays one."""
        self.assertEqual(marked("a LIKE '%x' AND b = ? AND c % 2 = ?"), "a LIKE '%%x' AND b = %s AND c %% 2 = %s")

    def test_faults(self):
        """Each kind of fault has its word, and none shows a value."""
        expected = {
            psycopg.errors.DiskFull: Full,
            psycopg.errors.TooManyConnections: Unavailable,
            psycopg.errors.CannotConnectNow: Unavailable,
            psycopg.errors.QueryCanceled: Unavailable,
            psycopg.errors.SerializationFailure: Unavailable,
            psycopg.errors.ForeignKeyViolation: Conflict,
            psycopg.errors.IoError: Unavailable,
            psycopg.errors.DataCorrupted: Failed,
            psycopg.errors.InvalidTextRepresentation: Failed,
            psycopg.OperationalError: Unavailable,
            psycopg.DataError: Failed,
        }
        for kind, fault in expected.items():
            told = of_postgres(kind("a secret"))
            self.assertIs(type(told), fault, kind)
            self.assertNotIn("secret", str(told))


class ServerTests(TestCase):
    """On the server that all tests share."""

    def setUp(self):
        self.url = shared().fresh()

    async def start(self):
        database = await opened(self, Postgres(self.url, reactor))
        await database.write(lambda t: t.execute(TABLE))
        return database

    async def test_deadlock(self):
        """Two works that wait for each other are both done once: the server ends one, and it is run again."""
        database = await self.start()
        await database.write(lambda t: t.many("INSERT INTO thing VALUES (?, 0)", [("a",), ("b",)]))
        both, runs = threading.Barrier(2), []

        def cross(first, second, transaction):
            runs.append(first)
            transaction.execute("UPDATE thing SET n = n + 1 WHERE name = ?", (first,))
            if len(runs) <= 2:
                both.wait(10)
            transaction.execute("UPDATE thing SET n = n + 1 WHERE name = ?", (second,))

        await at_once(database.write(partial(cross, "a", "b")), database.write(partial(cross, "b", "a")))
        self.assertGreater(len(runs), 2)
        self.assertEqual(await database.read(lambda t: t.execute("SELECT DISTINCT n FROM thing")), [(2,)])

    async def test_connections(self):
        """However many ask at the same time, the server sees few connections."""
        database = await self.start()
        await at_once(*(database.read(lambda t: t.execute("SELECT pg_sleep(0.001)")) for _ in range(200)))
        ((count,),) = await database.read(
            lambda t: t.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        )
        self.assertLessEqual(count, CONNECTIONS)

    async def test_deadline(self):
        """A statement that takes too long is Unavailable, and ended at the server too; nobody else waits."""
        database = await self.start()
        began = time.monotonic()
        slow = settled(database.write(lambda t: (add("slow", t), t.execute("SELECT pg_sleep(60)"))))
        for number in range(20):
            await database.write(partial(add, str(number)))
        self.assertLess(time.monotonic() - began, 3)
        (outcome,) = await slow
        self.assertIsInstance(outcome, Unavailable)
        self.assertLess(time.monotonic() - began, 7)
        sleeping = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(60)'"
        )
        ((count,),) = await database.read(lambda t: t.execute(sleeping + " AND pid <> pg_backend_pid()"))
        self.assertEqual(count, 0)
        self.assertEqual(len(await database.read(names)), 20)

    async def test_ended_by_the_server(self):
        """Connections that the server has ended while nobody used them are replaced, and nobody notices."""
        database = await self.start()
        await at_once(*(database.write(partial(add, str(number))) for number in range(50)))
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        for number in range(50, 60):
            await database.write(partial(add, str(number)))
        self.assertEqual(len(await database.read(names)), 60)

    async def test_lazy_database(self):
        """A database that is set to acknowledge before its disk has it waits for the disk all the same."""
        with psycopg.connect(self.url, autocommit=True) as db:
            name = db.info.dbname
            db.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        database = await self.start()
        said = await database.write(lambda t: t.execute("SHOW synchronous_commit"))
        self.assertEqual(said, [("on",)])

    async def test_secrets(self):
        """Neither the object nor what it raises shows the password; the operator reads why he was refused."""
        wrong = self.url.replace(QUOTED, "wrong-%C3%A4")
        for url in (wrong, wrong.replace("test_", "other_")):
            database = Postgres(url, reactor)
            with self.assertRaises(Unavailable) as caught:
                await database.startService()
            await database.stopService()
            self.assertIn("password authentication failed", str(caught.exception))
            for text in (str(caught.exception), repr(caught.exception), repr(database), repr(vars(database))):
                self.assertNotIn("wrong", text)
        with self.assertRaises(ConfigError) as nonsense:
            Postgres(f"postgresql://stor:{QUOTED}@[::1/x?y=%zz", reactor)
        self.assertNotIn(PASSWORD, str(nonsense.exception))
        self.assertNotIn(QUOTED, str(nonsense.exception))


class AwayTests(TestCase):
    """On a server that is disturbed."""

    async def setUp(self):
        self.patch(postgres, "SECONDS", 2.0)
        self.patch(connections, "CONNECT_SECONDS", 2)
        self.server = PostgresServer()
        self.addCleanup(self.server.close)
        self.server.start()
        self.database = await opened(self, Postgres(self.server.fresh(), reactor))
        await self.database.write(lambda t: t.execute(TABLE))

    async def refused(self, most):
        """A write is Unavailable, within so many seconds, and says when to come again."""
        began = time.monotonic()
        with self.assertRaises(Unavailable) as caught:
            await self.database.write(partial(add, "refused"))
        self.assertIsNotNone(caught.exception.retry_after)
        self.assertLess(time.monotonic() - began, most)

    async def waited(self, name):
        """How many seconds a write waits for being refused."""
        began = time.monotonic()
        with self.assertRaises(Unavailable):
            await self.database.write(partial(add, name))
        return time.monotonic() - began

    async def back(self, seconds):
        """It works again by itself, within so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            (outcome,) = await settled(self.database.write(lambda t: t.execute("SELECT 1")))
            if outcome == [(1,)]:
                return
            self.assertIsInstance(outcome, Unavailable)
            await pause(0.05)
        self.fail("the database did not come back")

    async def test_killed(self):
        """A server that is killed is Unavailable at once, for everybody, and is used as soon as it is back."""
        await self.database.write(partial(add, "before"))
        self.server.kill()
        began = time.monotonic()
        outcomes = await settled(*(self.database.write(partial(add, str(number))) for number in range(500)))
        self.assertEqual({type(outcome) for outcome in outcomes}, {Unavailable})
        self.assertLess(time.monotonic() - began, 3)
        await self.refused(1)
        self.server.start()
        await self.back(3)
        self.assertEqual(await self.database.read(names), {"before"})

    async def test_restarted(self):
        """A server that restarts while nobody asks is not noticed."""
        await at_once(*(self.database.write(partial(add, str(number))) for number in range(50)))
        self.server.kill()
        self.server.start()
        await self.database.write(partial(add, "after"))
        self.assertEqual(len(await self.database.read(names)), 51)

    async def test_paused(self):
        """A server that hangs is Unavailable after the deadline, then at once; it works again when it goes on."""
        await at_once(*(self.database.write(partial(add, str(number))) for number in range(20)))
        self.server.pause()
        try:
            for _ in range(3):
                await self.refused(4)
            waited = await at_once(*(self.waited(f"late {number}") for number in range(100)))
            self.assertLess(len([seconds for seconds in waited if seconds > 1]), 2)  # one tries whether it is back
        finally:
            self.server.resume()
        await self.back(5)
        self.assertEqual(len(await self.database.read(names)), 20)

    async def test_killed_under_load(self):
        """Four processes write while the server is killed: what it acknowledged is there when it is back."""
        await self.database.write(lambda t: [t.execute(statement) for statement in TABLES])
        url = self.server.url(psycopg.conninfo.conninfo_to_dict(self.database._connections._url)["dbname"])
        processes = [Writers(self, url, str(number), writers=4) for number in range(4)]
        lines = [process.line() for process in processes for _ in range(20)]
        self.server.kill()
        self.server.start()
        for process in processes:
            while lines[-1] != "Unavailable":
                lines.append(process.line())
            while lines[-1] == "Unavailable":
                lines.append(process.line())  # it writes again
        lines += [line for process in processes for line in process.kill()]
        await self.back(3)
        found = await self.database.read(lambda t: t.execute("SELECT name, place FROM seen"))
        acknowledged = set(lines) - {"Unavailable"}
        self.assertEqual(acknowledged - {name for name, _ in found}, set())
        self.assertEqual(sorted(place for _, place in found), list(range(1, len(found) + 1)))


def pause(seconds):
    """Wait without stopping the world."""
    done = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done
