from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from stor.blobs.tenants import BUSY_SECONDS, Trees
from stor.errors import Unavailable


class Tree(Service):
    """Opens and closes when the test says so."""

    def __init__(self, name):
        self.name, self.opened, self.closed = name, Deferred(), Deferred()

    def startService(self):
        super().startService()
        return self.opened

    def stopService(self):
        super().stopService()
        return self.closed


class TreesTests(SynchronousTestCase):
    """Which trees are open, when opening and closing take their time."""

    def setUp(self):
        self.clock, self.made = Clock(), []
        self.trees = Trees(self.make, None, 2, 60.0, self.clock)
        self.started = self.trees.startService()
        self.made[0].opened.callback(None)
        self.clock.advance(0)
        self.successResultOf(self.started)

    def make(self, name):
        self.made.append(Tree(name))
        self.clock.callLater(0, lambda: None)
        return self.made[-1]

    def take(self, tenant):
        lease = self.trees.lend(tenant)
        taken = Deferred.fromCoroutine(lease.take())
        self.clock.advance(0)
        return lease, taken

    def taken(self, tenant):
        lease, taken = self.take(tenant)
        if self.noResult(taken):
            self.made[-1].opened.callback(None)
        self.successResultOf(taken)
        return lease

    def noResult(self, deferred):
        return not deferred.called

    def close(self, number):
        self.made[number].closed.callback(None)
        self.clock.advance(0)

    def test_shared(self):
        """Who comes while a tree opens waits for the same; who leaves meanwhile does not end it for the others."""
        (_, first), (_, second) = self.take("a"), self.take("a")
        first.cancel()
        self.failureResultOf(first)
        self.assertEqual([tree.name for tree in self.made], ["", "a"])
        self.made[1].opened.callback(None)
        self.assertIs(self.successResultOf(second), self.made[1])

    def test_fails(self):
        """What cannot be opened fails for all who wait, is put away, and is tried anew by the next."""
        (_, first), (_, second) = self.take("a"), self.take("a")
        self.made[1].opened.errback(Unavailable("away"))
        self.clock.advance(0)
        self.close(1)
        for each in first, second:
            self.failureResultOf(each, Unavailable)
        self.assertEqual(self.trees.open, 1)
        self.taken("a")
        self.assertEqual(len(self.made), 3)

    def test_full(self):
        """When all places are in use a further tenant is told to come again; nobody is thrown out."""
        leases = [self.taken("a"), self.taken("b")]
        _, third = self.take("c")
        self.assertEqual(self.failureResultOf(third, Unavailable).value.retry_after, BUSY_SECONDS)
        self.assertEqual([tree.running for tree in self.made], [1, 1, 1])
        self.assertIs(self.successResultOf(self.take(None)[1]), self.made[0])
        leases[0].leave()
        leases[0].leave()
        _, third = self.take("c")
        self.close(1)
        self.made[-1].opened.callback(None)
        self.assertEqual(self.successResultOf(third).name, "c")

    def test_longest_idle(self):
        """The one that was idle longest makes room; a new one does not open before the old is closed."""
        first, second = self.taken("a"), self.taken("b")
        second.leave()
        self.clock.advance(1)
        first.leave()
        _, third = self.take("c")
        self.assertEqual([tree.name for tree in self.made if not tree.running], ["b"])
        self.assertEqual(len(self.made), 3)
        self.close(2)
        self.assertEqual(self.made[-1].name, "c")
        self.made[-1].opened.callback(None)
        self.successResultOf(third)

    def test_idle(self):
        """An idle tree is closed in time; one in use, and the root, are not. Who comes while it closes waits."""
        used, idle = self.taken("a"), self.taken("b")
        idle.leave()
        for _ in range(6):
            self.clock.advance(15)
        self.assertEqual([tree.running for tree in self.made], [1, 1, 0])
        _, again = self.take("b")
        self.assertEqual(len(self.made), 3)
        self.close(2)
        self.made[-1].opened.callback(None)
        self.assertEqual((self.successResultOf(again).name, len(self.made)), ("b", 4))
        used.leave()

    def test_stop(self):
        """A stop closes what is open and what just opens, and fires when the last is closed."""
        self.taken("a").leave()
        _, opening = self.take("b")
        stopped = self.trees.stopService()
        for number in range(3):
            self.assertNoResult(stopped)
            self.clock.advance(0)
            self.close(number)
            self.clock.advance(0)
        self.successResultOf(stopped)
        self.failureResultOf(opening, Unavailable)
        self.failureResultOf(self.take("c")[1], Unavailable)
        self.assertEqual((self.trees.open, self.clock.getDelayedCalls()), (0, []))


class StartTests(SynchronousTestCase):
    def test_store_away(self):
        """A process starts though its store is away; whoever needs the tree tries again."""
        clock, made = Clock(), []

        def make(name):
            made.append(Tree(name))
            return made[-1]

        trees = Trees(make, None, 2, 60.0, clock)
        started = trees.startService()
        clock.advance(0)
        made[0].opened.errback(Unavailable("away"))
        clock.advance(0)
        made[0].closed.callback(None)
        self.successResultOf(started)
        asked = Deferred.fromCoroutine(trees.lend(None).take())
        clock.advance(0)
        made[1].opened.callback(None)
        self.assertIs(self.successResultOf(asked), made[1])
        trees.stopService()
        clock.advance(0)

    def test_wrong_settings(self):
        """What is not the store's absence ends the start."""
        clock, tree = Clock(), Tree("")
        started = Trees(lambda _: tree, None, 2, 60.0, clock).startService()
        clock.advance(0)
        tree.opened.errback(ValueError("wrong"))
        clock.advance(0)
        tree.closed.callback(None)
        self.failureResultOf(started, ValueError)
