import json
import shutil

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock, deferLater

from stor.database.sqlite import Sqlite
from stor.objects.readiness import SECONDS, Readiness
from stor.objects.records import StorageClass
from stor.storage.directory import Directory
from stor.storage.s3 import Bucket, BucketSettings
from stor.web.health import Health
from tests.places import folder
from tests.web.serving import Serving

HOT, COLD = StorageClass
ALL = ("objects database", "hot store", "cold store", "hot space", "cold space")


class HandClock(Clock):
    """A clock that is moved by hand, where threads come back by the real reactor."""

    callFromThread = reactor.callFromThread


class Site(Serving):
    """A site with `/ready`, over a real database and real stores."""

    def parts(self):
        self.health = Health("1", reactor)
        self.health.ready = True
        return [self.health]

    async def begin(self, *, floor=1, stores=None):
        """Start all of it; gives who looks."""
        self.here, self.clock = folder(self), HandClock()
        self.database = Sqlite(self.here / "stor.db", reactor)
        self.stores = stores or {each: Directory(self.here / each, reactor) for each in StorageClass}
        roots = {} if stores else {each: self.here / each for each in StorageClass}
        self.readiness = Readiness(self.database, self.stores, roots, floor, "node", self.clock)
        for service in (self.database, *self.stores.values(), self.readiness):
            await maybeDeferred(service.startService)
            self.addCleanup(self.end, service)
        for name, check in self.readiness.checks():
            self.health.add(name, check)
        return self.readiness

    async def end(self, service):
        if service.running:
            await maybeDeferred(service.stopService)

    async def look(self):
        """Have it look once more."""
        self.clock.advance(SECONDS)
        await Deferred.fromCoroutine(self.looked())

    async def looked(self):
        for look in self.readiness._under_way:
            await look

    async def ask(self):
        response = await self.client.get(self.url("/health/ready"))
        return response.code, json.loads(await response.content())["checks"]


class ReadinessTests(Site):
    """Over folders."""

    async def test_ready(self):
        """When all is well from the start, we are ready, and no probe stays behind."""
        await self.begin()
        self.assertEqual(await self.ask(), (200, dict.fromkeys(ALL, "ok")))
        for store in self.stores.values():
            self.assertEqual([listed async for page in store.list() for listed in page], [])

    async def test_floor(self):
        """Too little room is a reason, and says how little."""
        await self.begin(floor=1 << 60)
        code, checks = await self.ask()
        self.assertEqual(code, 503)
        for name in ("hot space", "cold space"):
            self.assertRegex(checks[name], rf"^\d+ bytes free, less than {1 << 60}$")
        self.assertEqual(checks["hot store"], "ok")

    async def test_database(self):
        """A database that does not answer is a reason; when it is back we are ready again."""
        await self.begin()
        await self.database.stopService()
        await self.look()
        code, checks = await self.ask()
        self.assertEqual((code, checks["objects database"]), (503, "the database is closed"))
        await self.database.startService()
        await self.look()
        self.assertEqual(await self.ask(), (200, dict.fromkeys(ALL, "ok")))

    async def test_folder(self):
        """A folder that takes no write is a reason, for its own class alone, and shows no path."""
        await self.begin()
        shutil.rmtree(self.here / COLD)
        (self.here / COLD).write_bytes(b"in the way")
        await self.look()
        self.flushLoggedErrors()
        code, checks = await self.ask()
        self.assertEqual((code, checks["hot store"]), (503, "ok"))
        self.assertNotIn(checks["cold store"], {"ok", ""})
        self.assertNotIn(str(self.here), json.dumps(checks))

    async def test_no_look_yet(self):
        """Before anybody has looked, we are not ready."""
        here = folder(self)
        readiness = Readiness(Sqlite(here / "stor.db", reactor), {}, {HOT: here}, 1, "node", HandClock())
        for _, check in readiness.checks():
            self.assertEqual(check(), "not looked at yet")

    async def test_hanging(self):
        """What hangs is a reason before long, and keeps nobody from seeing the rest, nor us from stopping."""
        await self.begin()
        hangs = Deferred()

        async def hang(work):
            await hangs

        self.database.read = hang
        self.clock.advance(SECONDS)
        for look in self.readiness._under_way[1:]:
            await look
        self.clock.advance(4)
        await self.looked()
        code, checks = await self.ask()
        self.assertEqual((code, checks["objects database"]), (503, "no answer within 4 seconds"))
        self.assertEqual(checks["hot store"], "ok")
        hangs = Deferred()
        self.clock.advance(1)
        await self.readiness.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BucketReadinessTests(Site):
    """Over a bucket of a real server."""

    timeout = 60

    @pytest.fixture(autouse=True)
    def _lend(self, s3_server):
        self.s3 = s3_server

    def bucket(self):
        keys = {"access_key": self.s3.access_key, "secret_key": self.s3.secret_key}
        return Bucket(BucketSettings(self.s3.bucket, self.s3.endpoint, **keys), folder(self), reactor)

    async def test_ready(self):
        """A bucket is written to at first, then now and then: each write is paid for; a bad one again at once."""
        written, bucket = [], self.bucket()
        put = bucket.put

        async def counted(*args, **kwargs):
            written.append(1)
            return await put(*args, **kwargs)

        bucket.put = counted
        await self.begin(stores={HOT: bucket})
        self.assertEqual(await self.ask(), (200, {"objects database": "ok", "hot store": "ok"}))
        for _ in range(11):
            await self.look()
        self.assertEqual(len(written), 2)
        self.readiness._found["hot store"] = "no room"
        await self.look()
        self.assertEqual(len(written), 3)
        self.assertEqual((await self.ask())[0], 200)

    async def test_away(self):
        """A server that hangs is a reason."""
        await self.begin(stores={HOT: self.bucket()})
        self.s3.pause()
        self.addCleanup(self.s3.resume)
        self.clock.advance(SECONDS)
        await deferLater(reactor, 0.2)
        self.clock.advance(4)
        await self.looked()
        code, checks = await self.ask()
        self.assertEqual((code, checks["hot store"]), (503, "no answer within 4 seconds"))
        self.s3.resume()
        await self.look()
        self.assertEqual((await self.ask())[0], 200)
