"""Up one after another, down the other way."""

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from stor.errors import Unavailable
from stor.stack import Stack


class Part(Service):
    def __init__(self, label: str, did: list[str]) -> None:
        self.label, self.did = label, did

    def startService(self) -> Deferred[None]:
        super().startService()
        self.did.append("+" + self.label)
        self.started = Deferred()
        return self.started

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self.did.append("-" + self.label)
        self.stopped = Deferred()
        return self.stopped


class StackTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.did: list[str] = []
        self.stack = Stack()
        self.a, self.b, self.c = parts = [Part(label, self.did) for label in "abc"]
        for part in parts:
            self.stack.add(part)

    def rise(self) -> None:
        up = self.stack.startService()
        for part in (self.a, self.b, self.c):
            part.started.callback(None)
        self.successResultOf(up)
        self.did.clear()

    def test_waits_for_each(self) -> None:
        """The next is started when the one before it is up."""
        up = self.stack.startService()
        self.assertEqual(self.did, ["+a"])
        self.a.started.callback(None)
        self.assertEqual(self.did, ["+a", "+b"])
        self.b.started.callback(None)
        self.assertNoResult(up)
        self.c.started.callback(None)
        self.successResultOf(up)

    def test_falls_in_reverse(self) -> None:
        """The last to rise is the first to go, and each is waited for."""
        self.rise()
        down = self.stack.stopService()
        self.assertEqual(self.did, ["-c"])
        self.c.stopped.callback(None)
        self.b.stopped.callback(None)
        self.assertNoResult(down)
        self.a.stopped.callback(None)
        self.successResultOf(down)
        self.assertEqual(self.did, ["-c", "-b", "-a"])

    def test_stop_while_rising(self) -> None:
        """A stop ends the rise and takes down what had begun; what had not is left alone."""
        up = self.stack.startService()
        self.a.started.callback(None)
        down = self.stack.stopService()
        self.failureResultOf(up, CancelledError)
        self.b.stopped.callback(None)
        self.a.stopped.callback(None)
        self.successResultOf(down)
        self.assertEqual(self.did, ["+a", "+b", "-b", "-a"])

    def test_failing_start(self) -> None:
        """What a child's start fails with is what the stack's fails with; the rest is not started."""
        up = self.stack.startService()
        self.a.started.errback(Unavailable("no luck"))
        self.failureResultOf(up, Unavailable)
        self.assertEqual(self.did, ["+a"])

    def test_failing_stop(self) -> None:
        """A child that cannot stop is logged and does not keep the others up."""
        self.rise()
        down = self.stack.stopService()
        self.c.stopped.errback(ZeroDivisionError())
        self.b.stopped.callback(None)
        self.a.stopped.callback(None)
        self.successResultOf(down)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_coroutine_children(self) -> None:
        """A child may start by a coroutine."""

        class Slow(Service):
            async def startService(self) -> None:
                super().startService()

        stack = Stack()
        stack.add(Slow())
        self.successResultOf(stack.startService())

    def test_again(self) -> None:
        """A stack that has stopped can be started again."""
        self.rise()
        self.stack.stopService()
        for part in (self.c, self.b, self.a):
            part.stopped.callback(None)
        self.did.clear()
        self.rise()
