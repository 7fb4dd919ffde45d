"""What anybody may ask for much of is read beside all else: a few at once, askers in turn."""

import threading

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.database import lane
from stor.database.lane import Turns
from stor.database.postgres import Postgres
from stor.database.promise import Asker
from stor.database.sqlite import Sqlite
from stor.errors import TooMany, Unavailable
from tests.database.rooms import at_once, opened
from tests.places import folder
from tests.postgres import shared

ACME, GLOBEX = Asker("acme", "reader", 20.0), Asker("globex", "reader", 20.0)


def look(transaction):
    return transaction.execute("SELECT 1")


class BrowsePromises:
    timeout = 60

    async def setUp(self):
        self.database = await opened(self, self.make())
        self.gate, self.began = threading.Event(), []
        self.addCleanup(self.gate.set)

    def begin(self, name, asker=ACME):
        """Ask for a work that goes on until the gate is open."""

        def work(transaction):
            self.began.append(name)
            self.gate.wait(10)
            return *look(transaction)[0], name

        return Deferred.fromCoroutine(self.database.browse(work, asker))

    async def until_full(self):
        """Wait until no more works can begin."""
        while len(self.began) < lane.AT_ONCE:
            await deferLater(reactor, 0.01)

    async def test_nothing_waits_for_it(self):
        """While the lane is full, and more waits for it, all others read and write as ever."""
        browsing = [self.begin(number) for number in range(lane.AT_ONCE + lane.MOST_OF_ONE)]
        reads = [self.database.read(look) for _ in range(50)]
        self.assertEqual(await at_once(*reads), [[(1,)]] * 50)
        self.assertEqual(await self.database.write(look), [(1,)])
        self.assertEqual(await self.database.survey(look), [(1,)])
        await self.until_full()
        self.assertEqual([each.called for each in browsing], [False] * len(browsing))
        self.gate.set()
        found = await gatherResults(browsing)
        self.assertEqual(found, [(1, number) for number in range(len(browsing))])

    async def test_too_much(self):
        """Beyond what may wait the asker is told to come again; another one is not, and we are never."""
        self.patch(lane, "MOST_OF_ONE", 2)
        self.patch(lane, "MOST", 4)
        browsing = [self.begin(number) for number in range(lane.AT_ONCE + 2)]
        refused = await self.assertFailure(self.begin("too much"), TooMany)
        self.assertEqual(refused.retry_after, 1.0)
        browsing += [self.begin("other", GLOBEX), self.begin("other", GLOBEX)]
        refused = await self.assertFailure(self.begin("too much", Asker("umbrella", "", 9.0)), Unavailable)
        self.assertEqual(refused.retry_after, 1.0)
        browsing.append(Deferred.fromCoroutine(self.database.browse(look)))
        self.gate.set()
        await gatherResults(browsing)
        self.assertNotIn("too much", self.began)

    async def test_left(self):
        """What nobody waits for any more is not begun, and takes nobody's place; what has begun keeps its own."""
        browsing = [self.begin(number) for number in range(lane.AT_ONCE + lane.MOST_OF_ONE)]
        await self.until_full()
        for each in browsing:
            each.cancel()
            await self.assertFailure(each, CancelledError)
        last = [self.begin("last") for _ in range(lane.MOST_OF_ONE)]
        await deferLater(reactor, 0.2)
        self.assertEqual(len(self.began), lane.AT_ONCE)
        self.gate.set()
        await gatherResults(last)
        self.assertEqual(sorted(map(str, self.began)), ["0", "1"] + ["last"] * len(last))

    async def test_patience(self):
        """Who has waited for too long hears so, and what they wanted is not begun."""
        browsing = [self.begin(number) for number in range(lane.AT_ONCE)]
        refused = await self.assertFailure(self.begin("late", Asker("globex", "", 0.1)), Unavailable)
        self.assertEqual(refused.retry_after, 1.0)
        self.gate.set()
        await gatherResults([*browsing, self.begin("next")])
        self.assertNotIn("late", self.began)

    async def test_stop(self):
        """A database that is stopped ends what has begun, and refuses what waits and what comes."""
        browsing = [self.begin(number) for number in range(lane.AT_ONCE)]
        waiting = self.begin("waiting")
        await self.until_full()
        stopped = self.database.stopService()
        await self.assertFailure(waiting, Unavailable)
        self.gate.set()
        await gatherResults([*browsing, stopped])
        await self.assertFailure(self.begin("after"), Unavailable)
        await self.database.startService()
        self.assertEqual(await self.begin("again"), (1, "again"))


class SqliteTests(BrowsePromises, TestCase):
    def make(self):
        return Sqlite(folder(self) / "stor.db", reactor)


class PostgresTests(BrowsePromises, TestCase):
    def make(self):
        return Postgres(shared().fresh(), reactor)


class TurnsTests(SynchronousTestCase):
    def test_in_turn(self):
        """Each tenant has its turn, however much another asks for, and in a tenant each name."""
        turns = Turns()
        for tenant, name, number in (("a", "x", 4), ("a", "y", 1), ("b", "x", 2), ("c", "z", 1)):
            for each in range(number):
                turns.add(Asker(tenant, name), f"{tenant}{name}{each}")
        turns.remove(Asker("a", "x"), "ax1")
        turns.remove(Asker("c", "z"), "cz0")
        taken = iter(turns.take, None)
        self.assertEqual(list(taken), ["ax0", "bx0", "ay0", "bx1", "ax2", "ax3"])
