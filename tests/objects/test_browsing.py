"""Who lists, searches and counts much keeps nobody from anything else."""

import json
import threading

from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from stor.access.live import LiveKeys
from stor.database import lane
from stor.database.promise import Asker
from stor.objects.api import listing
from stor.objects.api.listing import Lines, ListingApi
from stor.objects.api.searching import SearchingApi
from stor.objects.api.usage import UsageApi
from stor.objects.readiness import Readiness
from stor.objects.searching import Query
from tests.objects.serving import Serving, key_of

SEARCH = b'{"metadata":{"m":"x"}}'


class BrowsingTests(Serving):
    def parts(self):
        return [ListingApi(self.objects), SearchingApi(self.objects), UsageApi(self.objects, reactor)]

    async def setUp(self):
        await super().setUp()
        self.gate, self.begun, page = threading.Event(), [], listing.page
        self.addCleanup(self.gate.set)

        def slowly(tx, kind, query, *rest):
            self.begun.append(query)
            self.gate.wait(20)
            return page(tx, kind, query, *rest)

        self.patch(listing, "page", slowly)

    def searching(self, number, caller="reader"):
        """Begin as many searches."""
        asked = [self.ask("POST", "/v1/objects/search", SEARCH, caller=caller) for _ in range(number)]
        return [Deferred.fromCoroutine(each) for each in asked]

    async def test_all_else(self):
        """With many searches of one key waiting, all else is as fast as ever; the key hears that it is too much."""
        object_id = await self.made("k")
        most = lane.AT_ONCE + lane.MOST_OF_ONE
        searches = self.searching(most + 20)
        while sum(each.called for each in searches) < 20:
            await self.get(self.at("k"))
        refused = [each.result for each in searches if each.called]
        for answer in refused:
            self.assert_error(answer, 429, "TOO_MANY_REQUESTS")
            self.assertEqual(answer.headers["retry-after"], "1")
        self.assertEqual((await self.get(f"/v1/objects/{object_id}")).code, 200)
        self.assertEqual((await self.put("l")).code, 201)
        await self.is_ready()
        await self.keys_are_read()
        (other,) = self.searching(1, "globex")
        await deferLater(reactor, 0.3)  # until it waits behind the others
        self.assertEqual(len(self.begun), lane.AT_ONCE)
        self.gate.set()
        self.assertEqual((await other).code, 200)
        self.assertLess([each.tenant for each in self.begun].index("globex"), 2 * lane.AT_ONCE + 1)
        codes = [(await each).code for each in searches]
        self.assertEqual((codes.count(200), codes.count(429)), (most, 20))

    async def is_ready(self):
        """Whoever looks whether we are ready finds that we are."""
        readiness = Readiness(self.objects.database, {}, {}, 0, "node", reactor)
        await readiness.startService()
        found = [check() for _, check in readiness.checks()]
        await readiness.stopService()
        self.assertEqual(found, [True])

    async def keys_are_read(self):
        """The keys that there are can be read."""
        live = LiveKeys(self.objects.database, CollectorRegistry(), reactor)
        await live.startService()
        await live.stopService()

    async def test_left(self):
        """What somebody asked for who has left is not begun."""
        body = b"POST /v1/objects/search HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nContent-Length: %d\r\n\r\n%s"
        waiting = [await self.connect() for _ in range(lane.AT_ONCE + 10)]
        for raw in waiting:
            raw.send(body % (key_of("reader").encode(), len(SEARCH), SEARCH))
        while len(self.begun) < lane.AT_ONCE:
            await deferLater(reactor, 0.01)
        await deferLater(reactor, 0.1)
        for raw in waiting:
            raw.transport.abortConnection()
            await raw.over
        await deferLater(reactor, 0.1)
        (last,) = self.searching(1, "globex")
        self.gate.set()
        self.assertEqual((await last).code, 200)
        self.assertEqual(len(self.begun), lane.AT_ONCE + 1)

    async def test_lines_go_on(self):
        """Lines that have begun are not broken off, however much the same key asks for beside them."""
        self.gate.set()
        self.patch(listing, "_PIECE_BYTES", 1)
        for key in "ab":
            await self.made(key)
        lines, asker = Lines(self.objects, Query("acme"), None), Asker("acme", "reader", 0.2)
        await lines.begin(asker)
        self.assertEqual(json.loads(await lines.read())["key"], "a")
        self.gate.clear()
        searches = self.searching(lane.AT_ONCE + lane.MOST_OF_ONE + 1)
        while not any(each.called for each in searches):
            await deferLater(reactor, 0.01)
        rest = Deferred.fromCoroutine(lines.read())
        await deferLater(reactor, 0.5)
        self.gate.set()
        self.assertEqual(json.loads(await rest)["key"], "b")
        self.assertEqual(await lines.read(), b"")
        for each in searches:
            await each


class PostgresBrowsingTests(BrowsingTests):
    backend = "postgresql+folder"
