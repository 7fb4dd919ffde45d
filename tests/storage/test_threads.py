"""Threads: bounded, with deadlines, and nobody is held up by one that hangs."""

import threading
import time

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

import stor.threads
from stor.errors import Unavailable
from stor.threads import Threads


class Resource:
    def __init__(self):
        self.closed = 0

    def close(self):
        self.closed += 1


class ThreadsTests(TestCase):
    timeout = 20

    def threads(self, size=2, **more):
        threads = Threads("test", size, reactor, **more)
        threads.startService()
        self.addCleanup(threads.stopService)
        return threads

    async def test_result(self):
        """What it returns and what it raises come back; it runs in a thread that bears the name."""
        threads = self.threads()
        self.assertEqual(await threads.run(divmod, 7, 2), (3, 1))
        self.assertEqual(await threads.run(sorted, [2, 1], reverse=True), [2, 1])
        self.assertTrue((await threads.run(lambda: threading.current_thread().name)).startswith("test-"))
        with self.assertRaises(ZeroDivisionError):
            await threads.run(divmod, 1, 0)

    async def test_size(self):
        """Never more threads than were asked for, and no more than there is work for."""
        threads, before = self.threads(3), threading.active_count()
        await threads.run(int)
        await threads.run(int)
        self.assertEqual(threading.active_count(), before + 1)
        most = 0

        def look():
            nonlocal most
            time.sleep(0.01)
            most = max(most, threading.active_count() - before)

        await DeferredList([Deferred.fromCoroutine(threads.run(look)) for _ in range(20)])
        self.assertEqual(most, 3)

    async def test_bounded(self):
        """What is beyond the waiting room is refused at once; the rest is done in order."""
        threads, gate, order = self.threads(1, waiting=3), threading.Event(), []
        first = Deferred.fromCoroutine(threads.run(gate.wait))
        rest = [Deferred.fromCoroutine(threads.run(order.append, n)) for n in range(3)]
        with self.assertRaises(Unavailable) as raised:
            await threads.run(int)
        self.assertEqual(raised.exception.retry_after, 1.0)
        gate.set()
        await DeferredList([first, *rest])
        self.assertEqual(order, [0, 1, 2])
        self.assertEqual(await threads.run(int), 0)

    async def test_deadline(self):
        """What takes too long fails in time, and so does what waits behind it, which is then not done."""
        threads, gate, done = self.threads(1, seconds=0.2), threading.Event(), []
        self.addCleanup(gate.set)
        began = time.monotonic()
        ended = await DeferredList(
            [Deferred.fromCoroutine(work) for work in (threads.run(gate.wait), threads.run(done.append, 1))],
            consumeErrors=True,
        )
        self.assertLess(time.monotonic() - began, 1.0)
        for _, failure in ended:
            failure.trap(Unavailable)
        gate.set()
        self.assertEqual(await threads.run(int), 0)
        self.assertEqual(done, [])

    async def test_given_up(self):
        """What nobody waits for any more is closed when it comes, once."""
        threads, gate, resource = self.threads(1), threading.Event(), Resource()

        def make():
            gate.wait()
            return resource

        waiting = Deferred.fromCoroutine(threads.run(make))
        await deferLater(reactor, 0.05)
        waiting.cancel()
        await self.assertFailure(waiting, CancelledError)
        gate.set()
        await threads.run(int)
        await threads.run(int)
        self.assertEqual(resource.closed, 1)

    async def test_afterwards(self):
        """What nobody waits for is done too, however much waits, and a failure is logged."""
        threads, gate, done = self.threads(1, waiting=0), threading.Event(), []
        first = Deferred.fromCoroutine(threads.run(gate.wait))
        threads.afterwards(done.append, 1)
        threads.afterwards(divmod, 1, 0)
        gate.set()
        await first
        while len(threads._jobs):
            await deferLater(reactor, 0.01)
        self.assertEqual(done, [1])
        await threads.stopService()
        threads.afterwards(done.append, 2)
        self.assertEqual(done, [1, 2])
        (event,) = [event for event in self.logged if event["log_level"].name == "error"]
        self.assertIn("ZeroDivisionError", repr(event["why"]))

    def setUp(self):
        self.logged = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)

    async def test_stop(self):
        """A stop waits for what was asked before; nothing is taken afterwards; it can be started again."""
        threads, done = self.threads(1), []
        for n in range(3):
            Deferred.fromCoroutine(threads.run(lambda n=n: (time.sleep(0.02), done.append(n))))
        await threads.stopService()
        self.assertEqual(done, [0, 1, 2])
        with self.assertRaises(Unavailable):
            await threads.run(int)
        threads.startService()
        self.assertEqual(await threads.run(int), 0)

    async def test_stop_while_hanging(self):
        """A stop does not wait for ever, and who waited is told."""
        self.patch(stor.threads, "_LAST", 0.2)
        threads, gate = self.threads(1), threading.Event()
        self.addCleanup(gate.set)
        hanging = Deferred.fromCoroutine(threads.run(gate.wait))
        await threads.stopService()
        await self.assertFailure(hanging, Unavailable)
