"""How a database gets its shape, from whichever program starts first."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.database import postgres, sqlite
from stor.database.attempt import Attempt
from stor.database.connections import Connections
from stor.database.migrations import Migration, fall, known, rise, statements
from stor.database.postgres import Postgres
from stor.database.session import WriteSession
from stor.database.sqlite import Sqlite
from stor.errors import ConfigError, Failed
from tests.database.rooms import opened
from tests.database.writers import ROOT
from tests.places import folder
from tests.postgres import shared

STEPS = [
    Migration(1, "0001_one", "CREATE TABLE one (a TEXT); INSERT INTO one VALUES ('x;y');", "DROP TABLE one;"),
    Migration(
        2, "0002_two", "-- with; a comment\nALTER TABLE one ADD COLUMN b TEXT;", "ALTER TABLE one DROP COLUMN b;"
    ),
    Migration(4, "0004_four", "CREATE TABLE four (a TEXT);", "DROP TABLE four;"),
]


class TextTests(SynchronousTestCase):
    def test_statements(self):
        """A script is cut where statements end: not in texts, comments and triggers."""
        trigger = "CREATE TRIGGER x AFTER INSERT ON a BEGIN DELETE FROM b; DELETE FROM c; END;"
        script = f"SELECT 'a;b'; -- c;d\n/* e;f */ SELECT 1;\n{trigger}\n-- the end\n"
        expected = ["SELECT 'a;b';", "-- c;d\n/* e;f */ SELECT 1;", trigger]
        self.assertEqual(list(statements(script)), expected)
        with self.assertRaisesRegex(ConfigError, "no end"):
            list(statements("SELECT 1; SELECT 2"))

    def test_kinds(self):
        """A text for one kind of database is taken for that kind only, and one for all kinds for all."""
        place = folder(self)
        for name in ("0002_b.sqlite.sql", "0002_b.postgresql.sql", "0002_b.down.sql", "0001_a.sql", "README.md"):
            (place / name).write_text(name)
        one = Migration(1, "0001_a", "0001_a.sql")
        self.assertEqual(known("sqlite", place), [one, Migration(2, "0002_b", "0002_b.sqlite.sql", "0002_b.down.sql")])
        (place / "0001_a.down.postgresql.sql").write_text("back")
        self.assertEqual(known("sqlite", place)[0], one)
        self.assertEqual(known("postgresql", place)[0].down, "back")

    def test_ours(self):
        """Our own steps are numbered without a gap, the same for both kinds, and each has a way back."""
        steps = {kind: known(kind) for kind in ("sqlite", "postgresql")}
        for each in steps.values():
            self.assertEqual([step.number for step in each], list(range(1, len(each) + 1)))
            self.assertEqual([step.name for step in each if not step.down], [])
        self.assertEqual(*[[step.name for step in each] for each in steps.values()])


class Migrations:
    """What holds on both databases."""

    def tables(self):
        """Name the tables there are."""
        sql = {
            "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table'",
            "postgresql": "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'",
        }[self.kind]
        return {name for (name,) in self.transact(lambda t: t.execute(sql))}

    def test_up_and_down(self):
        """Steps are taken in order, once, and back the other way; what they leave is as it was."""
        rise(self.transact, STEPS[:1])
        rise(self.transact, STEPS)
        rise(self.transact, STEPS)
        self.assertEqual(self.transact(lambda t: t.execute("SELECT * FROM one")), [("x;y", None)])
        self.assertEqual(self.tables(), {"one", "four", "stor_migration"})
        fall(self.transact, STEPS, 1)
        self.assertEqual(self.transact(lambda t: t.execute("SELECT * FROM one")), [("x;y",)])
        fall(self.transact, STEPS, 0)
        self.assertEqual(self.tables(), {"stor_migration"})
        rise(self.transact, STEPS)
        self.assertEqual(self.tables(), {"one", "four", "stor_migration"})

    def test_late_step(self):
        """A step that came into the program later than its neighbours is taken late."""
        rise(self.transact, [STEPS[0], STEPS[2]])
        rise(self.transact, STEPS)
        self.assertEqual(self.transact(lambda t: t.execute("SELECT * FROM one")), [("x;y", None)])

    def test_newer(self):
        """A database that knows more than the program is refused, with what to do about it."""
        rise(self.transact, STEPS)
        with self.assertRaisesRegex(ConfigError, "newer than this program: it has migration 0004_four"):
            rise(self.transact, STEPS[:2])
        with self.assertRaisesRegex(ConfigError, "newer"):
            fall(self.transact, STEPS[:2], 0)

    def test_changed(self):
        """A step whose text was changed after it was taken is refused."""
        rise(self.transact, STEPS)
        other = Migration(2, "0002_two", "ALTER TABLE one ADD COLUMN c TEXT;")
        with self.assertRaisesRegex(ConfigError, "0002_two was taken with another text"):
            rise(self.transact, [STEPS[0], other, STEPS[2]])

    def test_failing(self):
        """Of a step that fails nothing stays; the ones before it do."""
        bad = Migration(5, "0005_bad", "CREATE TABLE five (a TEXT); INSERT INTO nowhere VALUES (1);")
        with self.assertRaises(Failed):
            rise(self.transact, [*STEPS, bad])
        self.assertEqual(self.tables(), {"one", "four", "stor_migration"})

    def test_together(self):
        """Several that start at once take each step once; who comes second waits, however long the step takes."""
        count = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n"
        slow = Migration(3, "0003_slow", f"INSERT INTO one (a) {count};")
        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(rise, self.another(), [*STEPS[:2], slow]) for _ in range(4)]
            self.assertEqual([each.result() for each in running], [None] * 4)
        self.assertEqual(self.transact(lambda t: t.execute("SELECT count(*) FROM one")), [(200_001,)])

    def test_no_way_back(self):
        """A step without a way back is not gone back over."""
        rise(self.transact, [Migration(1, "0001_one", STEPS[0].up)])
        with self.assertRaisesRegex(ConfigError, "no way back from migration 0001_one"):
            fall(self.transact, [Migration(1, "0001_one", STEPS[0].up)], 0)
        self.assertIn("one", self.tables())


class SqliteMigrationTests(Migrations, SynchronousTestCase):
    kind = "sqlite"

    def setUp(self):
        self.path = folder(self) / "rows"
        self.transact = self.another()

    def another(self):
        session = WriteSession(self.path)
        self.addCleanup(session.close)
        return partial(sqlite._alone, session)


class PostgresMigrationTests(Migrations, SynchronousTestCase):
    kind = "postgresql"

    def setUp(self):
        self.url = shared().fresh()
        self.transact = self.another()

    def another(self):
        connections = Connections(self.url)
        self.addCleanup(connections.drop_idle)
        return lambda work: Attempt(connections, postgres._MIGRATE).run(work)


class StartTests(TestCase):
    """Whole services, several at once."""

    def processes(self, place):
        """Start four programs on one new database at the same time; give what they complained of."""
        argv = [sys.executable, "-m", "tests.database.child", "x", "0", "0"]
        running = [
            subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for _ in range(4)
        ]
        return [process.communicate(str(place).encode(), timeout=60)[0].decode() for process in running]

    async def shape(self, database):
        """The steps it has taken, and that it can go all the way back and forth."""
        await opened(self, database)
        taken = await database.read(lambda t: t.execute("SELECT name FROM stor_migration ORDER BY number"))
        await database.stopService()
        return [name for (name,) in taken]

    async def test_sqlite(self):
        """Four processes that start at once on a new file all find it in shape; it can go all the way back."""
        path = folder(self) / "rows.sqlite"
        self.assertEqual(self.processes(path), [""] * 4)
        ours = [step.name for step in known("sqlite")]
        self.assertEqual(await self.shape(Sqlite(path, reactor)), ours)
        sqlite.down(path, 0)
        self.assertEqual(await self.shape(Sqlite(path, reactor)), ours)

    async def test_postgres(self):
        """The same on a new PostgreSQL database."""
        url = shared().fresh()
        self.assertEqual(self.processes(url), [""] * 4)
        ours = [step.name for step in known("postgresql")]
        self.assertEqual(await self.shape(Postgres(url, reactor)), ours)
        postgres.down(url, 0)
        self.assertEqual(await self.shape(Postgres(url, reactor)), ours)
