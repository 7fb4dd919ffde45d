"""API keys on real databases: each test says what two processes over one database promise."""

from itertools import pairwise

from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from stor.access import keys as keys_module
from stor.access.keys import ApiKeys
from stor.access.live import LiveKeys
from stor.access.offers import offered
from stor.access.principal import Principal
from stor.database.postgres import Postgres
from stor.database.sqlite import Sqlite
from stor.errors import BadRequest, Forbidden, Full, Missing, Unavailable
from tests.places import folder
from tests.postgres import shared

ADMIN = Principal("admin", frozenset({"admin"}))
KEEPER = Principal("keeper", frozenset({"keys:manage", "blobs:read"}), "acme")
READ = frozenset({"blobs:read"})


def offer(text):
    return offered(text, None)[0]


def another(text):
    """A key of the same prefix that nobody made."""
    return text[:-1] + ("a" if text[-1] != "a" else "b")


class Steered(Clock):
    """The reactor's threads, and a clock that we turn; deadlines and loops go by it."""

    def __init__(self):
        super().__init__()
        self.rightNow = 1_000_000.0


class Away:
    """A database in front of another one: it can be away, or hang, when we say so."""

    def __init__(self, database):
        self.database, self.is_away, self.hangs, self.reads = database, False, False, 0

    async def read(self, work):
        self.reads += 1
        if self.hangs:
            await Deferred()
        if self.is_away:
            raise Unavailable("the database is away")
        return await self.database.read(work)

    async def write(self, work):
        if self.is_away:
            raise Unavailable("the database is away")
        return await self.database.write(work)


class KeyPromises:
    timeout = 60

    async def setUp(self):
        self.database = self.open()
        await self.database.startService()
        self.addCleanup(self.database.stopService)
        self.clock = Steered()
        self.away = Away(self.database)
        self.live, self.keys = await self.process()

    async def process(self, database=None):
        """One more process that knows the keys."""
        database = database or self.away
        live = LiveKeys(database, CollectorRegistry(), self.clock, wall=self.clock.seconds, steady=self.clock.seconds)
        await live.startService()
        self.addCleanup(live.stopService)
        return live, ApiKeys(database, live, wall=self.clock.seconds)

    async def turn(self, seconds):
        """Let so much time pass, and wait for the reading that it has begun."""
        self.clock.advance(seconds)
        await self.settled(self.live)

    async def settled(self, live):
        while live._rounds.running:
            await deferLater(reactor, 0.005)

    async def make(self, name="ci", permissions=READ, tenant=None, expires_in=None, keys=None, creator=ADMIN):
        return await (keys or self.keys).create(creator, name, permissions, tenant, expires_in)

    def find(self, text, live=None):
        return (live or self.live).find(offer(text).digest)

    async def test_created(self):
        """A new key opens at once, as whom it says, and only its digest is kept."""
        key, text = await self.make(tenant="acme")
        self.assertEqual(self.find(text), Principal(f"key:{key.id}:ci", READ, "acme"))
        rows = await self.database.read(lambda t: t.execute("SELECT * FROM api_keys"))
        self.assertEqual(len(rows), 1)
        self.assertNotIn(text.rpartition("_")[2], str(rows))
        self.assertNotIn(text.rpartition("_")[2], repr(key))
        self.assertEqual(await self.keys.get(ADMIN, key.id), self._used(key))

    def _used(self, key):
        return keys_module.replace(key, last_used_at=int(self.clock.seconds() * 1_000_000))

    async def test_restart(self):
        """A process that starts knows the keys that are live, and no others."""
        _, good = await self.make()
        revoked, dead = await self.make()
        await self.keys.revoke(ADMIN, revoked.id)
        _, short = await self.make(expires_in=10)
        self.clock.advance(10)
        live, _ = await self.process()
        self.assertIsNotNone(self.find(good, live))
        self.assertEqual((self.find(dead, live), self.find(short, live), len(live)), (None, None, 1))

    async def test_known_elsewhere(self):
        """A key made by another process opens here at once: it is looked for before it is refused."""
        _, keys = await self.process()
        _, text = await self.make(keys=keys)
        self.assertIsNone(self.find(text))
        self.assertTrue(self.live.concerns(offer(text)))
        self.assertEqual((await self.live.ask(offer(text))).name[:4], "key:")
        self.assertIsNotNone(self.find(text))

    async def test_unknown(self):
        """A key that nobody made is nobody's; what does not look like a key is not asked about."""
        _, text = await self.make()
        self.assertIsNone(await self.live.ask(offer(another(text))))
        for words in ("x", "eyJ.eyJ.x", text + "x"):
            self.assertFalse(self.live.concerns(offered(None, f"Bearer {words}")[0]))

    async def test_many_ask_at_once(self):
        """A thousand unknown keys at the same time are two readings, not a thousand."""
        reads = self.away.reads
        _, text = await self.make()
        asked = [Deferred.fromCoroutine(self.live.ask(offer(text[:-3] + f"{n:03}"))) for n in range(1000)]
        for each in asked:
            self.assertIsNone(await each)
        self.assertLessEqual(self.away.reads - reads, 3)

    async def test_revoked_here(self):
        """A revoked key opens nothing from the moment that this process has revoked it; again, it stays so."""
        key, text = await self.make()
        await self.keys.revoke(ADMIN, key.id)
        self.assertIsNone(self.find(text))
        self.assertIsNone(await self.live.ask(offer(text)))
        before = await self.keys.get(ADMIN, key.id)
        self.clock.advance(1)
        self.assertEqual(await self.keys.revoke(ADMIN, key.id), before)
        self.assertEqual(before.revoked_at, 1_000_000_000_000)

    async def test_revoked_elsewhere(self):
        """A key that another process has revoked opens nothing 5 seconds later, and while we read every 2."""
        key, text = await self.make()
        _, keys = await self.process()
        await keys.revoke(ADMIN, key.id)
        self.assertIsNotNone(self.find(text))
        await self.turn(2)
        self.assertIsNone(self.find(text))

    async def test_revoked_while_we_slept(self):
        """A process that could not read for 5 seconds (stopped, asleep) asks before it believes what it knows."""
        key, text = await self.make()
        _, keys = await self.process()
        await keys.revoke(ADMIN, key.id)
        self.clock.rightNow += 5  # and no loop has run
        self.assertIsNone(self.find(text))
        self.assertIsNone(await self.live.ask(offer(text)))

    async def test_reading_under_way(self):
        """A reading that began before a revocation does not bring the key back."""
        key, text = await self.make()
        gate = Deferred()
        real = self.away.read

        async def slow(work):
            self.away.reads += 1
            found = await real(work)
            if not gate.called:
                await gate
            return found

        self.away.read = slow
        self.live._revision = None  # so that it reads all of them
        reading = self.live._rounds.after()
        await deferLater(reactor, 0.1)
        self.away.read = real
        await self.keys.revoke(ADMIN, key.id)
        gate.callback(None)
        await reading
        self.assertIsNone(self.find(text))

    async def test_database_away(self):
        """While the database is away keys that were known open for a minute, then it is 503; and then all is well."""
        _, text = await self.make()
        await self.turn(2)
        self.away.is_away = True
        for _ in range(29):
            await self.turn(2)
            self.assertIsNotNone(self.find(text))
        await self.turn(6)
        self.assertIsNone(self.find(text))
        with self.assertRaises(Unavailable):
            await self.live.ask(offer(text))
        self.away.is_away = False
        self.assertIsNotNone(await self.live.ask(offer(text)))
        self.assertIsNotNone(self.find(text))

    async def test_database_hangs(self):
        """A reading that hangs is given up before what we know is too old, so that no request waits for it."""
        _, text = await self.make()
        await self.turn(2)
        self.away.hangs = True
        for _ in range(100):
            self.clock.advance(0.5)
            self.assertIsNotNone(self.find(text))
        self.away.hangs = False
        await self.turn(2)

    async def test_unknown_while_away(self):
        """A key that we do not know may be good: without the database that is 503, not 401."""
        _, text = await self.make()
        self.away.is_away = True
        with self.assertRaises(Unavailable):
            await self.live.ask(offer(another(text)))

    async def test_expires(self):
        """A key opens until its end, in every process, though nobody reads anything."""
        _, text = await self.make(expires_in=3)
        await self.turn(2)
        self.assertIsNotNone(self.find(text))
        await self.turn(1)
        self.assertIsNone(self.find(text))
        await self.turn(60)
        self.assertEqual(len(self.live), 0)

    async def test_last_use(self):
        """Uses are written once a minute, all in one go; shown at once; a later one of another process stays."""
        key, text = await self.make()
        self.assertIsNone((await self.keys.get(ADMIN, key.id)).last_used_at)
        for _ in range(100):
            self.find(text)
        self.assertEqual((await self.keys.get(ADMIN, key.id)).last_used_at, 1_000_000_000_000)
        await self.turn(60)
        await self.eventually(key, 1_000_000_000_000)
        other, _ = await self.process()
        self.find(text, other)  # at 60, and we at 50
        self.live._used[key.id] = self.clock.seconds() - 10
        await other.stopService()
        await self.turn(60)
        await self.eventually(key, 1_000_060_000_000)

    async def eventually(self, key, moment):
        for _ in range(200):
            rows = await self.database.read(lambda t: t.execute("SELECT last_used_at FROM api_keys"))
            if rows == [(moment,)]:
                return
            await deferLater(reactor, 0.01)
        self.assertEqual(rows, [(moment,)])

    async def test_last_use_while_away(self):
        """Uses that cannot be written are written later."""
        key, text = await self.make()
        self.find(text)
        self.away.is_away = True
        await self.turn(60)
        self.away.is_away = False
        await self.turn(60)
        await self.eventually(key, 1_000_000_000_000)

    async def test_grants(self):
        """The rule of what may be given is kept where keys are made."""
        await self.make(creator=KEEPER, tenant="acme")
        for permissions, tenant in ((READ, None), (READ, "other"), ({"blobs:write"}, "acme"), ({"admin"}, "acme")):
            with self.assertRaises(Forbidden):
                await self.make(creator=KEEPER, permissions=frozenset(permissions), tenant=tenant)

    async def test_nonsense(self):
        """What makes no sense is refused, and nothing is kept of it."""
        for name, permissions, tenant, expires_in in (
            ("", READ, None, None),
            ("x" * 65, READ, None, None),
            ("a\nb", READ, None, None),
            ("a", frozenset(), None, None),
            ("a", frozenset({"root"}), None, None),
            ("a", READ, "", None),
            ("a", READ, "\0", None),
            ("a", READ, None, 0),
            ("a", READ, None, -1),
            ("a", READ, None, float("nan")),
            ("a", READ, None, 1e12),
        ):
            with self.assertRaises(BadRequest):
                await self.make(name, permissions, tenant, expires_in)
        self.assertEqual(await self.keys.page(ADMIN, (-1, ""), 10), [])

    async def test_tenants(self):
        """Who has a tenant sees and revokes its keys, and cannot tell whether there are others."""
        own, _ = await self.make(tenant="acme")
        strong, _ = await self.make(tenant="acme", permissions=frozenset({"admin"}))
        other, _ = await self.make(tenant="other")
        everywhere, _ = await self.make()
        self.assertEqual({key.id for key in await self.keys.page(KEEPER, (-1, ""), 10)}, {own.id, strong.id})
        for key_id in (other.id, everywhere.id, "0123456789", "", "\0", "x" * 5000):
            for call in (self.keys.get, self.keys.revoke):
                with self.assertRaises(Missing) as caught:
                    await call(KEEPER, key_id)
                self.assertEqual(caught.exception.code, "KEY_NOT_FOUND")
        with self.assertRaises(Forbidden):
            await self.keys.revoke(KEEPER, strong.id)
        await self.keys.revoke(KEEPER, own.id)
        self.assertIsNone((await self.keys.get(ADMIN, strong.id)).revoked_at)

    async def test_pages(self):
        """Pages show each key once, in the order of making, though some were made in the same instant."""
        made = []
        for number in range(7):
            made.append((await self.make(f"k{number}"))[0])
            self.clock.rightNow += number % 2
        seen, after = [], (-1, "")
        while page := await self.keys.page(ADMIN, after, 3):
            seen += page
            after = page[-1].created_at, page[-1].id
        self.assertCountEqual([key.id for key in seen], [key.id for key in made])
        for one, next_one in pairwise(seen):
            self.assertLess((one.created_at, one.id), (next_one.created_at, next_one.id))

    async def test_most(self):
        """There is a bound to the keys that are live; a revoked or expired one makes room."""
        self.patch(keys_module, "MOST", 2)
        key, _ = await self.make()
        await self.make(expires_in=10)
        with self.assertRaises(Full):
            await self.make()
        await self.keys.revoke(ADMIN, key.id)
        await self.make()
        with self.assertRaises(Full):
            await self.make()
        self.clock.rightNow += 10
        await self.make()

    async def test_many_changes(self):
        """More changes than one reading takes are read to the end."""
        self.patch(keys_module.rows, "BATCH", 4)
        other, _ = await self.process()
        texts = [(await self.make())[1] for _ in range(10)]
        await other.ask(offer(texts[0]))
        self.assertTrue(all(self.find(text, other) for text in texts))

    async def test_backup_put_back(self):
        """When an older state of the database was put back, what is known is read anew."""
        _, kept = await self.make()
        _, lost = await self.make()
        await self.live.ask(offer(kept))

        def put_back(transaction):
            transaction.execute("DELETE FROM api_keys WHERE revision = 2")
            transaction.execute("UPDATE api_keys_revision SET revision = 1")

        await self.database.write(put_back)
        await self.turn(2)
        self.assertIsNotNone(self.find(kept))
        self.assertIsNone(self.find(lost))


class SqliteKeys(KeyPromises, TestCase):
    def open(self):
        return Sqlite(folder(self) / "stor.db", reactor)


class PostgresKeys(KeyPromises, TestCase):
    def open(self):
        self.url = shared().fresh()
        return Postgres(self.url, reactor)

    async def test_two_servers(self):
        """Two processes with connections of their own see each other's keys in the order they were made."""
        second = Postgres(self.url, reactor)
        await second.startService()
        self.addCleanup(second.stopService)
        live, keys = await self.process(second)
        made = [Deferred.fromCoroutine(self.make(keys=which)) for which in (keys, self.keys) * 20]
        texts = [(await each)[1] for each in made]
        for process in (live, self.live):
            await process.ask(offer(texts[0]))
            self.assertTrue(all(self.find(text, process) for text in texts))
