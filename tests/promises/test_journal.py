"""The promises of a journal, kept by segments in a folder and in a bucket, and by rows of either database."""

from secrets import token_hex

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.trial.unittest import TestCase

from stor.blobs.layout import Layout
from stor.blobs.records import Namespace, Purge, Put
from stor.blobs.replica import Replica
from stor.blobs.rules import Entry
from stor.blobs.segments import StoreJournal
from stor.blobs.sqljournal import SqlJournal
from stor.database.postgres import Postgres
from stor.database.sqlite import Sqlite
from stor.errors import Unavailable
from stor.storage.directory import Directory
from stor.storage.s3 import Bucket, BucketSettings
from stor.threads import Threads
from tests.blobs.core import weed
from tests.database.rooms import opened
from tests.places import folder
from tests.postgres import shared


def entry(path, version):
    return Entry(path=path, md5="m", size=1, modified=1, is_deleted=False, version=version, etag="e")


def put(path, version, base):
    return Put(entry(path, version), base)


def shown(replica):
    return {each.path: (each.version, each.position) for each in replica}


async def at_once(*works):
    """Run all at once; give their results."""
    done = await DeferredList([Deferred.fromCoroutine(work) for work in works], consumeErrors=True)
    for fine, result in done:
        if not fine:
            result.raiseException()
    return [result for _, result in done]


class JournalPromises:
    """`self.journal()` gives one more process's journal of the same place."""

    timeout = 60

    async def setUp(self):
        self.threads = Threads("blobs", 2, reactor)
        self.threads.startService()
        self.addCleanup(self.threads.stopService)
        await self.make_place()

    async def opened(self):
        journal, replica = await self.journal(), Replica(self.threads)
        await journal.open(replica)
        self.addCleanup(journal.close)
        return journal, replica

    async def test_own(self):
        """What was taken is applied, at one position for all of an append, before the append returns."""
        journal, replica = await self.opened()
        self.assertEqual(replica.position, 0)
        self.assertEqual(await journal.append([put("a", 5, 0), put("b", 6, 0), Namespace("n")]), [True] * 3)
        first = replica.position
        self.assertEqual(shown(replica), {"a": (5, first), "b": (6, first)})
        self.assertEqual(replica.namespaces, {"n"})
        self.assertEqual(await journal.append([put("a", 7, 5)]), [True])
        self.assertGreater(replica.position, first)
        self.assertEqual(shown(replica)["a"], (7, replica.position))

    async def test_base(self):
        """A record is taken only on the version that is there; others of the same append are not held up by it."""
        journal, replica = await self.opened()
        await journal.append([put("a", 5, 0)])
        told = await journal.append([put("a", 9, 4), put("b", 6, 0), Purge("c", 1), put("a", 8, 0)])
        self.assertEqual(told, [False, True, False, False])
        self.assertEqual({path: version for path, (version, _) in shown(replica).items()}, {"a": 5, "b": 6})

    async def test_once(self):
        """Of several records on one base only one is taken, in one append, in many, in many processes."""
        journals = [await self.opened() for _ in range(3)]
        await journals[0][0].append([put("a", 1, 0)])
        self.assertEqual(await journals[0][0].append([put("a", 2, 1), put("a", 3, 1)]), [True, False])
        tries = [journal.append([put("a", 10 + n, 2)]) for n, (journal, _) in enumerate(journals * 5)]
        self.assertEqual(sum(taken for (taken,) in await at_once(*tries)), 1)

    async def test_purge(self):
        """A purged path is gone, and may begin again from nothing."""
        journal, replica = await self.opened()
        await journal.append([put("a", 5, 0)])
        self.assertEqual(await journal.append([Purge("a", 4), Purge("a", 5)]), [False, True])
        self.assertEqual(shown(replica), {})
        self.assertEqual(await journal.append([put("a", 6, 0)]), [True])

    async def test_tail(self):
        """The tail shows what any process had appended; not before it was asked for, but whenever it is."""
        journal, _ = await self.opened()
        other, replica = await self.opened()
        for version in range(1, 40):
            await journal.append([put(f"f{version}", version, 0)])
            if version % 13 == 0:
                await other.tail()
                self.assertEqual(len(replica), version)
        await at_once(*[other.tail() for _ in range(20)])
        self.assertEqual(len(replica), 39)

    async def test_same_for_all(self):
        """Many writers in several processes: each record once, the same positions for all, also for who comes later."""
        places = [await self.opened() for _ in range(3)]
        works = []
        for number, (journal, _) in enumerate(places):
            works += [journal.append([put(f"{number}/{n}", n + 1, 0)]) for n in range(40)]
        self.assertTrue(all(taken for (taken,) in await at_once(*works)))
        places.append(await self.opened())
        await at_once(*[journal.tail() for journal, _ in places])
        self.assertEqual(len(shown(places[0][1])), 120)
        for _, replica in places[1:]:
            self.assertEqual(shown(replica), shown(places[0][1]))
            self.assertEqual(replica.moment, places[0][1].moment)

    async def test_later(self):
        """Who opens it later gets everything, namespaces and what purges left too."""
        journal, replica = await self.opened()
        await journal.append([put("a", 5, 0), put("b", 6, 0), Namespace("n/m")])
        await journal.append([Purge("a", 5)])
        later = (await self.opened())[1]
        self.assertEqual(shown(later), shown(replica))
        self.assertEqual((later.namespaces, later.moment), (replica.namespaces, replica.moment))
        self.assertEqual(later.view().etag, replica.view().etag)

    async def test_entry(self):
        """An entry comes back as it was: other alphabets, large numbers, no type and some type."""
        journal, _ = await self.opened()
        odd = Entry("ü/\u2028 '\"\\%?", "", 1 << 50, 1 << 52, True, 1 << 53, 'e"\\', content_type="a/b; c=é")
        await journal.append([Put(odd, 0), put("b", 1, 0)])
        _, replica = await self.opened()
        found = replica.get(odd.path)
        self.assertEqual(msgspec.structs.replace(found, position=0), odd)

    async def test_large(self):
        """Thousands of records in one append are taken."""
        journal, replica = await self.opened()
        taken = await journal.append([put(f"d/{n:05d}", n + 1, 0) for n in range(3000)])
        self.assertEqual((len(taken), all(taken), len(replica)), (3000, True, 3000))

    async def test_shared(self):
        """Appends that come while one is on its way share a position."""
        journal, replica = await self.opened()
        await at_once(*[journal.append([put(f"f{n}", n + 1, 0)]) for n in range(50)])
        self.assertLessEqual(len({position for _, position in shown(replica).values()}), 5)

    async def test_closed(self):
        """A closed journal takes nothing more, and says so; what was on its way has ended."""
        journal, replica = await self.opened()
        on_its_way = Deferred.fromCoroutine(journal.append([put("a", 1, 0)]))
        await journal.close()
        self.assertEqual(await on_its_way, [True])
        self.assertEqual(len(replica), 1)
        with self.assertRaises(Unavailable):
            await journal.append([put("b", 1, 0)])
        with self.assertRaises(Unavailable):
            await journal.tail()


class FolderJournalTests(JournalPromises, TestCase):
    async def make_place(self):
        self.folder = folder(self)

    async def journal(self):
        store = Directory(self.folder, reactor)
        await store.startService()
        self.addCleanup(store.stopService)
        return StoreJournal(store, Layout("memory"), self.threads)


class BucketJournalTests(JournalPromises, TestCase):
    async def make_place(self):
        self.prefix = f"journal-{token_hex(4)}"

    async def journal(self):
        server = weed()
        settings = BucketSettings(
            bucket=server.bucket,
            endpoint=server.endpoint,
            access_key=server.access_key,
            secret_key=server.secret_key,
        )
        store = Bucket(settings, folder(self), reactor)
        await store.startService()
        self.addCleanup(store.stopService)
        return StoreJournal(store, Layout(self.prefix), self.threads)


class SqliteJournalTests(JournalPromises, TestCase):
    async def make_place(self):
        self.file = folder(self) / "rows.sqlite"

    async def journal(self):
        return SqlJournal(await opened(self, Sqlite(self.file, reactor)), "memory")


class PostgresJournalTests(JournalPromises, TestCase):
    async def make_place(self):
        self.url = shared().fresh()

    async def journal(self):
        return SqlJournal(await opened(self, Postgres(self.url, reactor)), "memory")
