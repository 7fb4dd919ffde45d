from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.errors import Full, TooLarge
from stor.objects import quotas, tally
from stor.objects.quotas import Quota
from stor.objects.records import Change, Name, StorageClass, Wish
from stor.objects.tally import Amount, tallies, total
from stor.objects.usage import check_room, count_usage, empty, forget, move_usage
from tests.database.rooms import at_once, settled
from tests.objects.rooms import body_of, invariants, opened, put
from tests.objects.tables import Tables

ACME = Name("photos", "acme")
HOT, COLD = StorageClass


class Counting:
    """Statements, one after the other, undone at the end."""

    @classmethod
    def setUpClass(cls):
        cls.tables = Tables(cls.kind)

    @classmethod
    def tearDownClass(cls):
        cls.tables.close()

    def add(self, tx, size, objects=1, name=ACME, storage_class=HOT):
        count_usage(tx, self.kind, name, storage_class, size, objects)

    def test_sums(self):
        """What came and went is summed by tenant, namespace and class; a move changes no sum."""

        def work(tx):
            self.add(tx, 100)
            self.add(tx, 11)
            self.add(tx, -11, -1)
            self.add(tx, 5, name=replace(ACME, namespace="docs"), storage_class=COLD)
            self.add(tx, 7, name=Name("docs", "globex"))
            self.add(tx, 30)
            move_usage(tx, self.kind, ACME, COLD, 30)
            return tallies(tx, None, ("", ""), 10), total(tx, "acme"), total(tx, None), total(tx, "nobody")

        found, *sums = self.tables.look(work)
        said = [(each.tenant, each.namespace, dict(each.amounts)) for each in found]
        expected = [
            ("acme", "docs", {COLD: Amount(5, 1)}),
            ("acme", "photos", {HOT: Amount(100, 1), COLD: Amount(30, 1)}),
            ("globex", "docs", {HOT: Amount(7, 1)}),
        ]
        self.assertEqual(said, expected)
        self.assertEqual(sums, [Amount(135, 3), Amount(142, 4), Amount()])

    def test_pages(self):
        """Pages of namespaces hold each once and whole, of one tenant or of all."""
        names = [Name(f"n{number}", tenant) for tenant in ("acme", "globex") for number in range(5)]

        def pages(tx, tenant):
            after, found = ("", ""), []
            while some := tallies(tx, tenant, after, 2):
                found += some
                after = (some[-1].tenant, some[-1].namespace)
            return [(each.namespace, each.tenant, each.total) for each in found]

        def work(tx):
            for name in names:
                for each in StorageClass:
                    self.add(tx, 3, name=name, storage_class=each)
            return pages(tx, None), pages(tx, "globex")

        everybody, globex = self.tables.look(work)
        self.assertEqual(everybody, [(name.namespace, name.tenant, Amount(6, 2)) for name in names])
        self.assertEqual(globex, everybody[5:])

    def limited(self, quota, *changes):
        """Give what came of changes (bytes, objects) with a quota, the last one's error or the sum."""

        def work(tx):
            quotas.put(tx, quota)
            for size, objects in changes[:-1]:
                self.add(tx, size, objects)
            try:
                self.add(tx, *changes[-1])
            except (Full, TooLarge) as why:
                return type(why), why.code, why.context
            return total(tx, "acme")

        return self.tables.look(work)

    def test_quota(self):
        """Up to the last byte and object, and no further; the error says of what there is too little."""
        quota = Quota("acme", 100, 3)
        self.assertEqual(self.limited(quota, (60, 1), (40, 1)), Amount(100, 2))
        context = {"quota": "bytes", "limit": "100", "used": "60", "asked": "41"}
        self.assertEqual(self.limited(quota, (60, 1), (41, 1)), (Full, "QUOTA_EXCEEDED", context))
        context = {"quota": "objects", "limit": "3", "used": "3", "asked": "1"}
        self.assertEqual(self.limited(quota, (1, 1), (1, 1), (0, 1), (0, 1)), (Full, "QUOTA_EXCEEDED", context))
        context = {"quota": "bytes", "limit": "100", "used": "0", "asked": "101"}
        self.assertEqual(self.limited(quota, (101, 1)), (TooLarge, "QUOTA_EXCEEDED", context))

    def test_halves_of_a_quota(self):
        """A limit of one sort is none of the other; 0 is a limit; another tenant's is not ours."""
        much, many = (10**9, 1), (0, 10**6)
        self.assertEqual(self.limited(Quota("acme", None, 1), much), Amount(*much))
        self.assertEqual(self.limited(Quota("acme", 1, None), many), Amount(*many))
        self.assertEqual(self.limited(Quota("globex", 0, 0), much), Amount(*much))
        self.assertEqual(self.limited(Quota("acme", None, 0), (0, 1))[0], TooLarge)

    def test_beyond_a_quota(self):
        """Who has more than a quota that came later can give up and move what it has, and add nothing."""

        def work(tx):
            self.add(tx, 100, 5)
            quotas.put(tx, Quota("acme", 10, 2))
            self.add(tx, -1, -1)
            self.add(tx, -1, 0)
            self.add(tx, 0, 0)
            move_usage(tx, self.kind, ACME, COLD, 10)
            quotas.put(tx, Quota("acme", 100, 2))
            self.add(tx, 1, 0)
            with self.assertRaises(Full):
                self.add(tx, 2, 0)
            return total(tx, "acme")

        self.assertEqual(self.tables.look(work), Amount(101, 4))

    def test_room(self):
        """Who has no room hears so before the bytes are sent, and nothing is counted by it."""

        def work(tx):
            check_room(tx, "acme", 10**12)
            quotas.put(tx, Quota("acme", 10, 3))
            check_room(tx, "acme", 10)
            self.add(tx, 4)
            check_room(tx, "acme", 6)
            with self.assertRaises(Full):
                check_room(tx, "acme", 7)
            with self.assertRaises(TooLarge):
                check_room(tx, "acme", 11)
            self.add(tx, 0, 2)
            with self.assertRaises(Full):
                check_room(tx, "acme", 0)
            return total(tx, "acme")

        self.assertEqual(self.tables.look(work), Amount(4, 3))

    def test_empty(self):
        """Counts whose sum is nothing can be forgotten, over all their rows; others stay, though one row is nothing."""
        rows = [("gone", 0, 7, 1), ("gone", 1, -7, -1), ("none", 0, 0, 0), ("left", 0, 7, 1), ("left", 1, 0, -1)]
        rows += [("size", 0, 7, 0), ("size", 1, 0, 0), ("more", 0, 0, 0), ("more", 1, 5, 1)]

        def work(tx):
            insert = "INSERT INTO object_usage (tenant, namespace, class, shard, bytes, objects) "
            tx.many(insert + "VALUES ('a', ?, 'hot', ?, ?, ?)", rows)
            named = empty(tx, 10), empty(tx, 1)
            forget(tx, self.kind, [("a", each, "hot") for each in ("gone", "none", "left", "size", "more", "never")])
            return named, tx.execute("SELECT namespace, shard, bytes, objects FROM object_usage")

        (named, one), left = self.tables.look(work)
        self.assertEqual(({each[1] for each in named}, len(one)), ({"gone", "none"}, 1))
        self.assertEqual(set(left), set(rows[3:]))

    def test_one_statement(self):
        """Who has no quota pays for none."""

        def work(tx):
            asked = []

            class Spy:
                def execute(self, sql, parameters=()):
                    asked.append(sql)
                    return tx.execute(sql, parameters)

            self.add(Spy(), 1)
            return len(asked)

        self.assertEqual(self.tables.look(work), 1)

    def test_quotas(self):
        """A quota is there until it is removed, and the last word counts."""

        def work(tx):
            for tenant in ("é", "b", "a"):
                quotas.put(tx, Quota(tenant, 1, None))
            quotas.put(tx, Quota("b", None, 2**63 - 1))
            some = quotas.some(tx, "a", 5)
            gone = [quotas.remove(tx, "b"), quotas.remove(tx, "b")]
            return some, gone, quotas.find(tx, "b"), quotas.find(tx, "a")

        expected = [Quota("b", None, 2**63 - 1), Quota("é", 1, None)], [True, False], None, Quota("a", 1, None)
        self.assertEqual(self.tables.look(work), expected)


class SqliteCountingTests(Counting, SynchronousTestCase):
    kind = "sqlite"


class PostgresCountingTests(Counting, SynchronousTestCase):
    kind = "postgresql"


class Uploads:
    """Quotas and usage of real objects."""

    timeout = 60

    async def limit(self, at, /, **limits):
        quota = Quota("acme", limits.get("bytes"), limits.get("objects"))
        await at.database.write(lambda tx: quotas.put(tx, quota))

    async def test_exact_at_once(self):
        """Of 32 uploads at once with room for 10, exactly 10 are made, and one more has room when one has gone."""
        objects = await opened(self, self.backend)
        await self.limit(objects, objects=10)
        made = await settled(*(put(objects, f"k{number}", body_of(str(number), 100)) for number in range(32)))
        refused = [each for each in made if isinstance(each, Full)]
        self.assertEqual((len(made) - len(refused), len(refused)), (10, 22), made)
        self.assertEqual({each.code for each in refused}, {"QUOTA_EXCEEDED"})
        kept = next(each for each in made if not isinstance(each, Full))
        await objects.delete(kept.object.id)
        made = await settled(*(put(objects, f"more{number}", b"x") for number in range(4)))
        self.assertEqual(sum(isinstance(each, Full) for each in made), 3, made)
        await invariants(objects)

    async def test_exact_bytes(self):
        """Bytes are as exact, for small and large bodies; what was refused leaves its key free."""
        objects = await opened(self, self.backend)
        await self.limit(objects, bytes=500_000)
        sizes = [100_000, 1000] * 8
        made = await settled(*(put(objects, f"k{n}", body_of(str(n), size)) for n, size in enumerate(sizes)))
        there = await objects.database.read(lambda tx: total(tx, "acme"))
        self.assertLessEqual(there.bytes, 500_000)
        self.assertGreater(there.bytes, 400_000)
        self.assertEqual(there.objects, sum(not isinstance(each, Exception) for each in made))
        await self.limit(objects)
        for number, each in enumerate(made):
            if isinstance(each, Exception):
                self.assertIsInstance(each, Full)
                await put(objects, f"k{number}", b"now")
        await invariants(objects)

    async def test_moves_and_replacements(self):
        """What is replaced counts by its difference, also from one class to the other; a move counts nothing."""
        objects = await opened(self, self.backend)
        await self.limit(objects, bytes=1000, objects=1)
        first = (await put(objects, "k", bytes(1000))).object
        second = await put(objects, "k", b"y" * 1000, wish=Wish(match=frozenset({first.etag})), storage_class=COLD)
        await objects.change(second.object.id, Change(storage_class=HOT))
        (there,) = await objects.database.read(lambda tx: tallies(tx, "acme", ("", ""), 5))
        self.assertEqual(there.amounts, {HOT: Amount(1000, 1), COLD: Amount(0, 0)})
        await invariants(objects)

    async def test_stored(self):
        """Equal bytes are stored once in each class, and counted in as many reads as it takes."""
        self.patch(tally, "_BLOBS_AT_ONCE", 2)
        objects = await opened(self, self.backend)
        for number in range(5):
            await put(objects, f"k{number}", bytes([number % 4]) * 100)
        await put(objects, "cold", bytes(100), storage_class=COLD)
        stored = tally.Stored(objects.database, self.clock())
        self.assertEqual(await stored.amounts(), {HOT: Amount(400, 4), COLD: Amount(100, 1)})
        await put(objects, "later", b"later")
        self.assertEqual((await stored.amounts())[HOT], Amount(400, 4))
        self.now += 31
        self.assertEqual((await stored.amounts())[HOT], Amount(405, 5))

    def clock(self):
        case = self
        case.now = 0.0

        class Clock:
            def seconds(self):
                return case.now

        return Clock()

    async def test_forgotten_meanwhile(self):
        """Who counts what was nothing while it is forgotten loses nothing: the sums stay exact."""
        objects = await opened(self, self.backend)

        async def come_and_go(number):
            for turn in range(6):
                made = await put(objects, f"k{number}", body_of(str(turn), 100))
                if turn < 5:
                    await objects.delete(made.object.id)

        async def clean():
            for _ in range(30):
                names = await objects.database.read(lambda tx: empty(tx, 10)) or [("acme", "photos", "hot")]
                await objects.database.write(lambda tx, names=names: forget(tx, objects.kind, names))

        await at_once(*(come_and_go(number) for number in range(6)), clean())
        self.assertEqual(await objects.database.read(lambda tx: total(tx, "acme")), Amount(600, 6))
        await invariants(objects)


class SqliteUploadsTests(Uploads, TestCase):
    backend = "sqlite+folder"


class PostgresUploadsTests(Uploads, TestCase):
    backend = "postgresql+folder"
