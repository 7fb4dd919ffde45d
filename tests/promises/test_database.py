"""The promises of a database, kept by SQLite and by PostgreSQL."""

import contextlib  # trial takes a module's `suppress` for its own
import threading
from functools import partial

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from stor.database.postgres import CONNECTIONS, Postgres
from stor.database.sqlite import Sqlite
from stor.errors import Conflict, Failed, Missing, Unavailable
from tests.database.child import TABLES
from tests.database.rooms import at_once, opened
from tests.database.writers import Writers
from tests.places import folder
from tests.postgres import shared


def add(value, transaction):
    transaction.execute("INSERT INTO thing (name) VALUES (?)", (value,))
    return value


def names(transaction):
    return {name for (name,) in transaction.execute("SELECT name FROM thing")}


def count_up(transaction):
    ((value,),) = transaction.execute("UPDATE counter SET n = n + 1 RETURNING n")
    return value


class DatabasePromises:
    async def setUp(self):
        self.place = self.make_place()
        self.database = await self.start()
        await self.database.write(self.make_tables)

    def make_tables(self, transaction):
        transaction.execute(
            f"CREATE TABLE thing (name TEXT PRIMARY KEY, data {self.bytes_type}, n BIGINT, x {self.float_type})"
        )
        transaction.execute("CREATE TABLE counter (n BIGINT NOT NULL)")
        transaction.execute("INSERT INTO counter VALUES (0)")
        for statement in TABLES:
            transaction.execute(statement)

    async def start(self):
        return await opened(self, self.open(self.place))

    async def test_read_your_writes(self):
        """What a write gave comes back, and every later read sees what it wrote."""
        for name in map(str, range(50)):
            self.assertEqual(await self.database.write(partial(add, name)), name)
            self.assertIn(name, await self.database.read(names))

    async def test_values(self):
        """Texts, bytes, numbers and nothing come back as they went."""
        row = ("ä\U0001f980' % ? \\", bytes(range(256)), -(2**63), 0.1 + 0.2)
        await self.database.write(lambda t: t.execute("INSERT INTO thing VALUES (?, ?, ?, ?)", row))
        await self.database.write(lambda t: t.execute("INSERT INTO thing VALUES (?, ?, ?, ?)", ("", None, None, None)))
        found = await self.database.read(lambda t: t.execute("SELECT * FROM thing ORDER BY n"))
        self.assertCountEqual(found, [row, ("", None, None, None)])
        like = await self.database.read(lambda t: t.execute("SELECT name FROM thing WHERE name LIKE 'ä%' || ?", ("_",)))
        self.assertEqual(len(like), 1)

    async def test_many(self):
        """One statement for many rows tells how many it changed."""
        insert = "INSERT INTO thing (name) VALUES (?) ON CONFLICT DO NOTHING"
        rows = [(str(number % 700),) for number in range(1000)]
        self.assertEqual(await self.database.write(lambda t: t.many(insert, iter(rows))), 700)
        self.assertEqual(await self.database.write(lambda t: t.many(insert, [])), 0)
        self.assertEqual(len(await self.database.read(names)), 700)

    async def test_raising_undoes(self):
        """What a work raises comes to its caller, and nothing of that work stays; the others are not touched."""

        async def fail(name):
            def work(transaction):
                add(name, transaction)
                raise Missing(name)

            with self.assertRaisesRegex(Missing, name):
                await self.database.write(work)

        good = [self.database.write(partial(add, f"good {number}")) for number in range(40)]
        bad = [fail(f"bad {number}") for number in range(40)]
        await at_once(*(each for pair in zip(good, bad, strict=True) for each in pair))
        self.assertEqual(await self.database.read(names), {f"good {number}" for number in range(40)})

    async def test_rules(self):
        """What breaks a rule of a table is a Conflict that shows no value of a row."""
        await self.database.write(partial(add, "secret"))
        with self.assertRaises(Conflict) as caught:
            await self.database.write(partial(add, "secret"))
        self.assertNotIn("secret", str(caught.exception))
        self.assertIsNone(caught.exception.__cause__)
        self.assertTrue(caught.exception.__suppress_context__)

    async def test_swallowed_fault(self):
        """A statement that failed ends its transaction, even if the work makes nothing of it."""

        def work(transaction):
            add("before", transaction)
            for name in ("twice", "twice", "after"):
                with contextlib.suppress(Conflict):
                    add(name, transaction)

        with self.assertRaises(Conflict):
            await self.database.write(work)
        self.assertEqual(await self.database.read(names), set())

    async def test_nonsense(self):
        """A statement that makes no sense is Failed, and the next one works."""
        for sql in ("SELEKT 1", "SELECT * FROM nothing", "SELECT ?"):
            for run in (self.database.read, self.database.write):
                with self.assertRaises(Failed):
                    await run(lambda t, sql=sql: t.execute(sql))
                self.assertEqual(await run(lambda t: t.execute("SELECT 1")), [(1,)])

    async def test_read_cannot_write(self):
        """A read that writes is Failed, and writes nothing."""
        for attempt in (partial(add, "x"), count_up, lambda t: t.execute("CREATE TABLE other (n BIGINT)")):
            with self.assertRaisesRegex(Failed, "a read cannot write"):
                await self.database.read(attempt)
        self.assertEqual(await self.database.read(names), set())

    async def test_one_state(self):
        """A read sees one state, whatever is written while it reads."""
        begun, written = threading.Event(), threading.Event()

        def work(transaction):
            before = names(transaction)
            begun.set()
            self.assertTrue(written.wait(10))
            return before, names(transaction)

        reading = Deferred.fromCoroutine(self.database.read(work))
        while not begun.is_set():
            await self.database.read(names)
        await self.database.write(partial(add, "new"))
        written.set()
        self.assertEqual(await reading, (set(), set()))
        self.assertEqual(await self.database.read(names), {"new"})

    async def test_counting(self):
        """A value that is read by the statement that writes it is never given twice."""
        values = await at_once(*(self.database.write(count_up) for _ in range(300)))
        self.assertEqual(sorted(values), list(range(1, 301)))

    async def test_fairness(self):
        """A write that comes when hundreds wait is done before those that come after it."""
        order = []

        async def write(name):
            await self.database.write(partial(add, name))
            order.append(name)

        await at_once(*(write(f"{number:04}") for number in range(600)))
        for place, name in enumerate(order):
            self.assertLess(abs(int(name) - place), self.displacement)

    async def test_stop(self):
        """A stop waits for what came before it; what comes later is refused; a new start finds all."""
        writes = at_once(*(self.database.write(partial(add, str(number))) for number in range(100)))
        await self.database.stopService()
        self.assertTrue(writes.called)
        for run in (self.database.read, self.database.write):
            with self.assertRaises(Unavailable):
                await run(names)
        self.database = await self.start()
        self.assertEqual(len(await self.database.read(names)), 100)

    async def test_cancelled(self):
        """A caller who leaves gets no answer, and nobody else is disturbed."""
        left = [Deferred.fromCoroutine(self.database.write(partial(add, f"left {number}"))) for number in range(50)]
        stayed = at_once(*(self.database.write(partial(add, f"stayed {number}")) for number in range(50)))
        for each in left:
            each.addErrback(lambda failure: None)
            each.cancel()
        await stayed
        found = await self.database.read(names)
        self.assertEqual(len([name for name in found if name.startswith("stayed")]), 50)
        self.assertLess(len(found), 50 + 2 * CONNECTIONS)  # only what had begun was done

    async def test_four_processes(self):
        """Four processes on one database lose nothing and count nothing twice."""
        processes = [Writers(self, self.place, str(number), writers=8, rounds=40) for number in range(4)]
        said = [process.end() for process in processes]
        acknowledged = {line for lines, _ in said for line in lines}
        self.assertEqual([complaint for _, complaint in said], [""] * 4)
        self.assertEqual(len(acknowledged), 4 * 8 * 40, sorted(acknowledged)[:4])
        await self.check(acknowledged)

    async def test_killed_processes(self):
        """Of processes that are killed while they write, all that was acknowledged is there, and only whole works."""
        processes = [Writers(self, self.place, str(number)) for number in range(4)]
        lines = [process.line() for process in processes]  # each has begun
        for number in range(20):
            await self.database.write(partial(add, str(number)))
        killed = [process.kill() for process in processes]
        self.assertGreater(sum(map(len, killed)), 20)
        await self.check({*lines, *(line for each in killed for line in each)})

    async def check(self, acknowledged):
        """All acknowledged names are there, and the total agrees with the rows."""
        found = await self.database.read(lambda t: t.execute("SELECT name, place FROM seen"))
        ((total,),) = await self.database.read(lambda t: t.execute("SELECT n FROM total"))
        self.assertEqual(acknowledged - {name for name, _ in found}, set())
        self.assertEqual(sorted(place for _, place in found), list(range(1, total + 1)))


class SqliteTests(DatabasePromises, TestCase):
    bytes_type, float_type = "BLOB", "REAL"
    displacement = 1  # answered in the very order

    def make_place(self):
        return folder(self) / "rows.sqlite"

    def open(self, place):
        return Sqlite(place, reactor)


class PostgresTests(DatabasePromises, TestCase):
    bytes_type, float_type = "BYTEA", "DOUBLE PRECISION"
    displacement = 200  # begun in order; one of its processes may have to wait for a processor

    def make_place(self):
        return shared().fresh()

    def open(self, place):
        return Postgres(place, reactor)
