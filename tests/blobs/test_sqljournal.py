"""The journal in a database, beyond the promises: loading beside writers, what is forgotten, lost answers."""

import random

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from stor.blobs import rows, sqljournal
from stor.blobs.records import Namespace, Purge, Put
from stor.blobs.replica import Replica
from stor.blobs.rules import Entry
from stor.blobs.sqljournal import SqlJournal
from stor.database.postgres import Postgres
from stor.database.sqlite import Sqlite
from stor.errors import Unavailable
from stor.threads import Threads
from tests.database.rooms import at_once, opened
from tests.places import folder
from tests.postgres import shared


class Strict(Replica):
    """A replica that takes nothing but the next position, and only records that fit."""

    resets = 0

    def reset(self, state):
        self.resets += 1
        super().reset(state)

    def apply(self, log, position, records):
        assert log == self.moment.now.log, "another log"
        assert position == self.position + 1, f"{position} after {self.position}"
        assert records, "nothing"
        assert all(self.fits(record) for record in records), "a record does not fit"
        super().apply(log, position, records)


def put(path, version, base, *, is_deleted=False):
    return Put(Entry(path, "0" * 32, version % 7, version, is_deleted, version, f"etag {version}"), base)


def whole(replica):
    """All that a replica knows, whatever the order it came in."""
    state = replica.state()
    entries = sorted(state.entries, key=lambda entry: entry.path)
    return entries, state.log, state.position, state.namespaces, state.purged_at, state.purged_version, state.horizon


class Model:
    """What a journal should hold, and records for it, most of which fit."""

    def __init__(self):
        self.versions, self.names, self.version = {}, set(), 0

    def record(self, dice):
        path, what = f"{dice.randrange(12)}/ä", dice.random()
        self.version += dice.randrange(1, 3)
        base = self.versions.get(path, 0) if dice.random() < 0.8 else dice.randrange(self.version)
        if what < 0.1:
            return Namespace(f"n{self.version}")
        if what < 0.3 and base:
            return Purge(path, base)
        return put(path, self.version, base, is_deleted=what < 0.5)

    def take(self, records):
        """Take those that fit, of each path only the first; tell which."""
        touched = set()
        return [self._take(record, touched) for record in records]

    def _take(self, record, touched):
        if isinstance(record, Namespace):
            self.names.add(record.name)
            return True
        if record.path in touched or record.base != self.versions.get(record.path, 0):
            return False
        touched.add(record.path)
        if isinstance(record, Purge):
            del self.versions[record.path]
        else:
            self.versions[record.path] = record.entry.version
        return True


class SqlJournalPromises:
    timeout = 60

    async def setUp(self):
        self.threads = Threads("views", 1, reactor)
        self.threads.startService()
        self.addCleanup(self.threads.stopService)
        self.place = self.make_place()
        self.databases = [await opened(self, self.open(self.place)) for _ in range(2)]

    async def journal(self, number=0, tree="memory"):
        """One process' journal, and the replica that follows it."""
        journal, replica = SqlJournal(self.databases[number % 2], tree), Strict(self.threads)
        self.addCleanup(journal.close)
        await journal.open(replica)
        return journal, replica

    async def test_model(self):
        """Whatever three processes append, what is taken and what all of them know is what a dictionary would."""
        pairs = [await self.journal(number) for number in range(3)]
        model, dice = Model(), random.Random(7)
        for _ in range(150):
            journal, _ = dice.choice(pairs)
            records = [model.record(dice) for _ in range(dice.randrange(1, 5))]
            self.assertEqual(await journal.append(records), model.take(records))
        pairs.append(await self.journal(1))  # who comes late
        for journal, replica in pairs:
            await journal.tail()
            self.assertEqual({entry.path: entry.version for entry in replica}, model.versions)
            self.assertEqual(replica.namespaces, model.names)
            self.assertEqual(whole(replica), whole(pairs[0][1]))
        self.assertEqual([replica.resets for _, replica in pairs], [1] * 4)

    async def test_racing(self):
        """Of many who replace the same version, in any process, one is taken each time; all learn who."""
        pairs = [await self.journal(number) for number in range(4)]
        won = []

        async def race(number, journal, replica):
            for _ in range(10):
                entry = replica.get("path")
                base = 0 if entry is None else entry.version
                version = base * 100 + number + 1 if base < 10**9 else base + number + 1
                (taken,) = await journal.append([put("path", version, base)])
                if taken:
                    won.append(base)
                self.assertNotEqual(replica.get("path").version, base)  # either way we know more now

        await at_once(*(race(number, *pair) for number, pair in enumerate(pairs * 5)))
        self.assertEqual(len(won), len(set(won)))
        self.assertGreaterEqual(len(won), 10)

    async def test_tail_shows_all(self):
        """A tail shows what any process had appended before it was asked for, while others go on appending."""
        writers, (reader, seen) = [await self.journal(number) for number in range(4)], await self.journal(1)

        async def write(number, journal):
            for turn in range(40):
                self.assertEqual(await journal.append([put(f"{number}-{turn}", turn + 1, 0)]), [True])
                await reader.tail()
                self.assertIsNotNone(seen.get(f"{number}-{turn}"))

        await at_once(*(write(number, journal) for number, (journal, _) in enumerate(writers)))
        self.assertEqual(len(seen), 160)
        self.assertEqual(seen.resets, 1)

    async def test_loading_beside_writers(self):
        """Who loads page by page while others write has the same as they, whatever was put or purged meanwhile."""
        self.patch(rows, "PAGE", 5)
        writer, known = await self.journal()
        await writer.append([put(f"{number}", 1, 0) for number in range(100)])
        dice, going = random.Random(11), True

        async def write():
            version = 1
            while going:
                version += 1
                path = str(dice.randrange(120))
                there = known.get(path)
                base = 0 if there is None else there.version
                record = Purge(path, base) if base and dice.random() < 0.5 else put(path, version, base)
                self.assertEqual(await writer.append([record]), [True])

        writing = at_once(write())
        loaded = [await self.journal(turn) for turn in range(8)]
        going = False
        await writing
        for journal, replica in loaded:
            await journal.tail()
            self.assertEqual(whole(replica), whole(known))

    async def test_far_behind(self):
        """Who is further behind than what is kept loads everything, once; who is not reads on."""
        self.patch(sqljournal, "KEPT", 100)
        self.patch(sqljournal, "SWEEP", 10)
        self.patch(sqljournal, "MOST_BEHIND", 7)
        writer, known = await self.journal()
        near, far = await self.journal(1), await self.journal(1)
        for version in range(1, 161):
            await writer.append([put("path", version, version - 1), put(f"{version}", version, 0)])
            if version % 50 == 0:
                await near[0].tail()
        for journal, replica in (near, far):
            self.assertEqual(await journal.append([put(f"new {id(journal)}", 1, 0)]), [True])
            await writer.tail()
            self.assertEqual(whole(replica), whole(known))
        self.assertEqual((near[1].resets, far[1].resets), (1, 2))
        kept = await self.databases[0].read(lambda t: t.execute("SELECT count(*) FROM blob_log"))
        self.assertLess(kept[0][0], 115)

    async def test_unanswered(self):
        """An append that is not answered may be there: it is found, and not appended twice."""
        journal, replica = await self.journal()
        real = self.databases[0].write

        async def silent(work):
            await real(work)
            raise Unavailable("the answer was lost")

        self.patch(self.databases[0], "write", silent)
        with self.assertRaises(Unavailable):
            await journal.append([put("path", 5, 0)])
        self.patch(self.databases[0], "write", real)
        self.assertEqual(await journal.append([put("path", 5, 0)]), [False])
        self.assertEqual(replica.get("path").version, 5)
        self.assertEqual(await journal.append([put("path", 6, 5)]), [True])

    async def test_shared_turns(self):
        """Many who append at once share few positions; what contradicts each other in one batch is told apart."""
        journal, replica = await self.journal()
        appends = [journal.append([put(f"{number % 90}", number + 1, 0)]) for number in range(100)]
        taken = await at_once(*appends)
        self.assertEqual([each for (each,) in taken].count(True), 90)
        self.assertLess(replica.position, 5)

    async def test_many_paths(self):
        """A thousand records and more are one position, and as many paths are compared."""
        journal, replica = await self.journal()
        self.assertEqual(await journal.append([put(f"{number}", 1, 0) for number in range(1500)]), [True] * 1500)
        again = [put(f"{number}", 2, number % 2) for number in range(1500)]
        self.assertEqual(await journal.append(again), [bool(number % 2) for number in range(1500)])
        self.assertEqual((len(replica), replica.position), (1500, 2))

    async def test_older_copy(self):
        """When the database is put back to an older copy, no position that was told is told for something else."""
        journal, replica = await self.journal()
        for version in range(1, 6):
            await journal.append([put("path", version, version - 1)])
        told = replica.moment.now

        def put_back(transaction):
            transaction.execute("DELETE FROM blob_log WHERE position > 3")
            transaction.execute("UPDATE blob_entry SET version = 3, position = 3")
            transaction.execute("UPDATE blob_tree SET position = 3")

        await self.databases[0].write(put_back)
        await journal.tail()
        self.flushLoggedErrors()
        self.assertEqual(replica.get("path").version, 3)
        self.assertNotEqual(replica.moment.now.log, told.log)
        self.assertGreater(replica.position, told.position)
        self.assertEqual(await journal.append([put("path", 6, 3)]), [True])

    async def test_trees(self):
        """Trees of one database know nothing of each other."""
        one, other = await self.journal(0, "memory"), await self.journal(1, "memory.tenants/ä")
        self.assertEqual(await one[0].append([put("path", 1, 0)]), [True])
        self.assertEqual(await other[0].append([put("path", 2, 0), Purge("x", 3)]), [True, False])
        await one[0].tail()
        self.assertEqual([one[1].get("path").version, other[1].get("path").version], [1, 2])
        self.assertEqual([one[1].position, other[1].position], [1, 1])

    async def test_closed(self):
        """After a close nothing is taken any more."""
        journal, _ = await self.journal()
        await journal.close()
        with self.assertRaises(Unavailable):
            await journal.append([put("path", 1, 0)])


class SqliteJournalTests(SqlJournalPromises, TestCase):
    def make_place(self):
        return folder(self) / "rows.sqlite"

    def open(self, place):
        return Sqlite(place, reactor)


class PostgresJournalTests(SqlJournalPromises, TestCase):
    def make_place(self):
        return shared().fresh()

    def open(self, place):
        return Postgres(place, reactor)
