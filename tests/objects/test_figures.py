from prometheus_client import CollectorRegistry, generate_latest
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from stor.database.postgres import Postgres
from stor.database.sqlite import Sqlite
from stor.errors import Unavailable
from stor.objects import figures
from stor.objects.figures import SECONDS, Figures
from stor.objects.metrics import Metrics
from stor.objects.records import State, StorageClass
from tests.database.rooms import opened
from tests.objects.tables import add, made, remove
from tests.places import folder
from tests.postgres import shared

OBJECTS, BYTES = "activestorage_objects_total", "activestorage_storage_bytes"


class Counted:
    async def setUp(self):
        self.database = await opened(self, self.make())
        self.registry, self.clock = CollectorRegistry(), Clock()
        self.figures = Figures(self.database, self.registry, self.clock)

    async def begin(self):
        self.figures.startService()
        self.addCleanup(self.figures.stopService)
        await self.figures._counting

    async def again(self):
        self.clock.advance(SECONDS)
        await self.figures._counting

    async def write(self, work, *there):
        await self.database.write(lambda tx: work(tx, self.database.kind, *there))

    def shown(self, name):
        """Give the samples of a gauge by the values of their labels."""
        (family,) = [each for each in self.registry.collect() if each.name == name]
        return {tuple(sample.labels.values()): sample.value for sample in family.samples}

    async def test_counts(self):
        """Objects by namespace, tenant and status, bytes by class and namespace, under the names of the contract."""
        gone = made("acme", "photos", "gone", size=1000)
        there = [made("acme", "photos", f"k{n}", size=10) for n in range(3)]
        there += [made("acme", "photos", state=state) for state in State if state is not State.COMMITTED]
        there += [made("globex", "docs", "k", size=5, storage_class=StorageClass.COLD)]
        await self.write(add, gone, *there)
        await self.write(remove, gone)
        await self.begin()
        expected = {
            ("photos", "acme", "COMMITTED"): 3,
            ("photos", "acme", "WRITING"): 1,
            ("photos", "acme", "DELETING"): 2,
            ("photos", "acme", "DELETED"): 1,
            ("docs", "globex", "COMMITTED"): 1,
        }
        self.assertEqual(self.shown(OBJECTS), expected)
        self.assertEqual(self.shown(BYTES), {("hot", "photos"): 30, ("cold", "docs"): 5})
        page = generate_latest(self.registry).decode()
        self.assertIn(f'{OBJECTS}{{namespace="photos",status="COMMITTED",tenant="acme"}} 3.0', page)
        self.assertIn(f'{BYTES}{{namespace="docs",storage_class="cold"}} 5.0', page)

    async def test_again(self):
        """They are counted at the start and every 30 seconds; in between nobody asks the database."""
        await self.begin()
        await self.write(add, made(key="k"))
        self.clock.advance(SECONDS - 1)
        self.assertEqual(self.shown(OBJECTS), {})
        self.clock.advance(1)
        await self.figures._counting
        self.assertEqual(self.shown(OBJECTS), {("photos", "acme", "COMMITTED"): 1})

    async def test_bounded_labels(self):
        """The pairs with the most objects have a name and the rest is `other`; no sum is lost by it."""
        self.patch(figures, "MOST_LABELS", 2)
        there = [made(f"t{n}", f"n{n}", size=n + 1) for n in range(5) for _ in range(n + 1)]
        there += [made("other", "other", "k"), made("t1", "n1", state=State.WRITING)]
        await self.write(add, *there)
        await self.begin()
        expected = {("n4", "t4", "COMMITTED"): 5, ("n3", "t3", "COMMITTED"): 4, ("other", "other", "COMMITTED"): 7}
        self.assertEqual(self.shown(OBJECTS), expected | {("other", "other", "WRITING"): 1})
        self.assertEqual(self.shown(BYTES), {("hot", "n4"): 25, ("hot", "n3"): 16, ("hot", "other"): 15})

    async def test_named_other(self):
        """Who is called `other` shares it with the rest: two samples of one name would break the whole page."""
        self.patch(figures, "MOST_LABELS", 1)
        await self.write(add, made("other", "other"), made("other", "other"), made("a", "a"))
        await self.begin()
        self.assertEqual(self.shown(OBJECTS), {("other", "other", "COMMITTED"): 3})
        self.assertEqual(self.shown(BYTES), {("hot", "other"): 3})

    async def test_bounded_counting(self):
        """Of what waits to be collected no more is counted than there is time for."""
        self.patch(figures, "MOST_UNSETTLED", 10)
        await self.write(add, *(made(state=State.DELETED) for _ in range(25)))
        await self.begin()
        self.assertEqual(self.shown(OBJECTS), {("other", "other", "DELETED"): 10})

    async def test_emptied(self):
        """What was emptied is counted no more, however much it is; what has objects stays, and has a name."""
        self.patch(figures, "_EMPTY_AT_ONCE", 3)
        gone = [made("spam", f"n{number}", "k") for number in range(8)]
        await self.write(add, made(key="k"), *gone)
        for each in gone:
            await self.write(remove, each)
        await self.begin()
        left = await self.database.read(lambda tx: tx.execute("SELECT DISTINCT tenant, namespace FROM object_usage"))
        self.assertEqual(left, [("acme", "photos")])
        self.assertEqual(self.figures.namespaces(), {"photos"})

    async def test_away(self):
        """While the database is away the last figures stay, and they move on when it is back."""
        await self.write(add, made(key="k"))
        await self.begin()
        browse = self.database.browse

        async def away(work):
            raise Unavailable("away")

        self.database.browse = away
        await self.again()
        self.assertEqual(self.shown(OBJECTS), {("photos", "acme", "COMMITTED"): 1})
        self.database.browse = browse
        await self.write(add, made(key="l"))
        await self.again()
        self.assertEqual(self.shown(OBJECTS), {("photos", "acme", "COMMITTED"): 2})


class SqliteFiguresTests(Counted, TestCase):
    def make(self):
        return Sqlite(folder(self) / "stor.db", reactor)


class PostgresFiguresTests(Counted, TestCase):
    def make(self):
        return Postgres(shared().fresh(), reactor)


class MetricsTests(TestCase):
    def test_names(self):
        """Counters have the names of the contract, and begin with nothing."""
        registry = CollectorRegistry()
        metrics = Metrics(registry)
        metrics.gc_runs.inc()
        metrics.large_uploads.observe(0.2)
        for name in ("gc_runs", "gc_deleted_blobs", "integrity_errors"):
            self.assertEqual(registry.get_sample_value(f"activestorage_{name}_total"), float(name == "gc_runs"))
        for kind, number in (("small", 0), ("large", 1)):
            found = registry.get_sample_value("stor_objects_upload_seconds_count", {"kind": kind})
            self.assertEqual(found, number)
