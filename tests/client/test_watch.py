"""Watching: what changes here is soon there, and the other way round."""

import shutil
import sys
import time

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.client import Outcome, Refused, Silence, Wishes, watch
from stor.client.eyes import Eyes
from stor.client.paths import Ignored
from stor.client.watch import Bell
from stor.errors import Missing, Unavailable
from tests.client.machines import MachineCase
from tests.places import folder


async def until(is_so, seconds=15.0):
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            msg = f"still not so after {seconds} s"
            raise TimeoutError(msg)
        await deferLater(reactor, 0.02)


watching = sys.modules["stor.client.watch"]  # `stor.client.watch` is the function


class Watcher:
    """A watch of one machine: what it told, and how it ended."""

    def __init__(self, machine):
        self.told, self.ended = [], []
        work = watch(machine.root, machine.remote, reactor, self.told.append, Wishes(), Silence())
        self.work = Deferred.fromCoroutine(work).addErrback(lambda why: self.ended.append(why.value))

    async def end(self):
        self.work.cancel()
        await until(lambda: self.ended)


class WatchTests(MachineCase):
    def watch(self, machine):
        watcher = Watcher(machine)
        self.addCleanup(watcher.end)
        return watcher

    async def test_both_ways(self):
        """A file made on one machine is soon on the other, changes follow, and deletions."""
        self.watch(self.one)
        self.watch(self.two)
        self.one.write("deep/er/a", "one")
        await until(lambda: self.two.files() == {"deep/er/a": "one"})
        self.two.write("deep/er/a", "two")
        await until(lambda: self.one.files() == {"deep/er/a": "two"})
        shutil.rmtree(self.one.root / "deep")
        await until(lambda: self.two.files() == {})
        self.one.write("deep/b", "three")
        await until(lambda: self.two.files() == {"deep/b": "three"})

    async def test_ends(self):
        """Cancelled, it ends, and lets go of the folder."""
        watcher = self.watch(self.one)
        await until(lambda: watcher.told)
        await watcher.end()
        self.assertIsInstance(watcher.ended[0], CancelledError)
        self.assertEqual((await self.one.sync()).problems, {})

    async def test_away(self):
        """That the remote is away is told and waited for; then it goes on."""
        self.patch(watching, "POLL_SECONDS", 0.1)
        self.patch(watching, "LOOK_SECONDS", 0.1)
        real, away = self.one.remote.index, [2]

        async def index():
            if away[0]:
                away[0] -= 1
                raise Unavailable("it is away")
            return await real()

        self.one.remote.index = index
        told = self.watch(self.one).told
        await until(lambda: len(told) >= 3)
        self.assertEqual([str(said) for said in told[:2]], ["it is away"] * 2)
        self.assertIsInstance(told[2], Outcome)

    async def test_refused(self):
        """What is refused ends it: somebody has to look."""
        await self.agreed(**{f"f{n}": "x" for n in range(12)})
        for n in range(12):
            self.one.delete(f"f{n}")
        ended = self.watch(self.one).ended
        await until(lambda: ended)
        self.assertIsInstance(ended[0], Refused)

    async def test_deaf(self):
        """A server that cannot tell of changes is asked again and again."""
        self.patch(watching, "POLL_SECONDS", 0.1)

        async def listen(heard):
            raise Missing("404 Not Found")

        self.one.remote.listen = listen
        told = self.watch(self.one).told
        await until(lambda: told)
        self.direct.put("a", b"x")
        await until(lambda: self.one.files() == {"a": "x"})

    async def test_quiet(self):
        """When nothing happens, nothing is done."""
        told = self.watch(self.one).told
        await until(lambda: told)
        await deferLater(reactor, 1.0)
        self.assertLess(len(told), 4)  # the first, one when listening began, and perhaps one for our own folder


class EyesTests(TestCase):
    timeout = 20

    def setUp(self):
        self.root, self.seen = folder(self), []
        (self.root / ".stor-sync").mkdir()
        (self.root / "cache").mkdir()
        self.eyes = Eyes(self.root, Ignored(["cache"]), lambda: self.seen.append(1), reactor)
        self.addCleanup(self.eyes.close)
        self.assertTrue(self.eyes.cover())

    async def sees(self, deed):
        self.seen.clear()
        deed()
        await deferLater(reactor, 0.1)
        return bool(self.seen)

    async def test_seen(self):
        """Files and folders that come, change, move and go are noticed."""
        one, inner = self.root / "one", self.root / "inner"
        deeds = [
            lambda: one.write_text("x"),
            lambda: one.write_text("y"),
            lambda: one.rename(self.root / "two"),
            (self.root / "two").unlink,
            inner.mkdir,
        ]
        for deed in deeds:
            self.assertTrue(await self.sees(deed))
        self.assertTrue(self.eyes.cover())
        self.assertTrue(await self.sees(lambda: (inner / "a").write_text("x")))
        self.assertTrue(await self.sees(lambda: shutil.rmtree(inner)))
        self.assertTrue(await self.sees(lambda: one.write_text("still looking")))

    async def test_not_seen(self):
        """What is ours, what is left alone, and mere looking is not."""
        (self.root / "a").write_text("x")
        await deferLater(reactor, 0.1)
        for deed in (
            lambda: (self.root / ".stor-sync/a").write_text("x"),
            lambda: (self.root / "cache/a").write_text("x"),
            (self.root / "a").read_text,
        ):
            self.assertFalse(await self.sees(deed))

    def test_closed(self):
        """Closed eyes say so."""
        self.eyes.close()
        self.eyes.close()
        self.assertFalse(self.eyes.cover())

    def test_no_more(self):
        """When the system gives no more watches, that is said."""
        self.eyes._libc = type("Libc", (), {"inotify_add_watch": staticmethod(lambda *_: -1)})
        self.assertFalse(self.eyes.cover())


class BellTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.bell = Bell(self.clock)

    def result(self, work):
        results = []
        Deferred.fromCoroutine(work).addCallback(results.append)
        return results

    def test_heard(self):
        """A ring ends the wait, also one from before it."""
        heard = self.result(self.bell.heard(60))
        self.assertEqual(heard, [])
        self.bell.ring()
        self.assertEqual(heard, [True])
        self.bell.ring()
        self.assertEqual(self.result(self.bell.heard(60)), [True])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late(self):
        """Without a ring the wait ends when its time is over."""
        heard = self.result(self.bell.heard(60))
        self.clock.advance(61)
        self.assertEqual(heard, [False])

    def test_burst(self):
        """A burst is waited out, but not for ever."""
        over = self.result(self.bell.over())
        self.clock.advance(0.2)
        self.bell.ring()
        self.clock.advance(0.2)
        self.assertEqual(over, [])
        self.clock.advance(0.1)
        self.assertEqual(over, [None])
        over = self.result(self.bell.over())
        for _ in range(11):
            self.clock.advance(0.2)
            self.bell.ring()
        self.assertEqual(over, [None])
