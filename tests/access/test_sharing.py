from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from stor.access.bounded import Bounded
from stor.access.sharing import Rounds, Shared


class SharedTests(SynchronousTestCase):
    def setUp(self):
        self.calls, self.shared = [], Shared()

    async def call(self):
        self.calls.append(Deferred())
        return await self.calls[-1]

    def test_one_call(self):
        """All who ask for one thing get one answer; who asks for another does not wait for it."""
        first, second, other = (self.shared.ask(key, self.call) for key in ("a", "a", "b"))
        self.assertEqual(len(self.calls), 2)
        self.calls[0].callback(7)
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (7, 7))
        self.assertNoResult(other)
        self.calls[1].callback(8)
        self.assertEqual(self.successResultOf(other), 8)
        self.assertEqual(len(self.shared), 0)

    def test_failure(self):
        """A failure is everybody's, and the next who asks begins anew."""
        both = [self.shared.ask("a", self.call) for _ in range(2)]
        self.calls[0].errback(KeyError("x"))
        for each in both:
            self.failureResultOf(each, KeyError)
        again = self.shared.ask("a", self.call)
        self.calls[1].callback(1)
        self.assertEqual(self.successResultOf(again), 1)

    def test_cancelled(self):
        """Who leaves takes nothing from the others; even when all leave, the call goes on and ends well."""
        first, second = (self.shared.ask("a", self.call) for _ in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.calls[0].callback(7)
        self.assertEqual(self.successResultOf(second), 7)
        third = self.shared.ask("a", self.call)
        third.cancel()
        self.failureResultOf(third, CancelledError)
        self.calls[1].callback(8)
        self.assertEqual(len(self.shared), 0)

    def test_asked_from_within(self):
        """Who asks again when it is answered begins a new call."""
        first = self.shared.ask("a", self.call)
        first.addCallback(lambda _: self.shared.ask("a", self.call))
        self.calls[0].callback(1)
        self.assertNoResult(first)
        self.calls[1].callback(2)
        self.assertEqual(self.successResultOf(first), 2)


class RoundsTests(SynchronousTestCase):
    def setUp(self):
        self.calls = []
        self.rounds = Rounds(self.work)

    async def work(self):
        self.calls.append(Deferred())
        await self.calls[-1]

    def test_after(self):
        """Who comes while a round runs waits for the next one, which serves all of them."""
        first, second, third = (self.rounds.after() for _ in range(3))
        self.assertEqual(len(self.calls), 1)
        self.calls[0].callback(None)
        self.successResultOf(first)
        self.assertNoResult(second)
        self.assertEqual(len(self.calls), 2)
        self.calls[1].callback(None)
        self.successResultOf(second)
        self.successResultOf(third)
        self.assertFalse(self.rounds.running)

    def test_now(self):
        """Who is content with the round that runs joins it."""
        first, second = self.rounds.now(), self.rounds.now()
        self.assertTrue(self.rounds.running)
        self.calls[0].callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(len(self.calls), 1)

    def test_failure(self):
        """A round that fails fails those whom it served, and nobody else."""
        first, second = self.rounds.after(), self.rounds.after()
        self.calls[0].errback(KeyError("x"))
        self.failureResultOf(first, KeyError)
        self.calls[1].callback(None)
        self.successResultOf(second)


class BoundedTests(SynchronousTestCase):
    def test_bounded(self):
        """A million keys take no more room than the bound, and the youngest stay."""
        kept = Bounded(1000)
        for number in range(1_000_000):
            kept.set(number, -number)
        self.assertEqual(len(kept), 1000)
        self.assertEqual((kept.get(999_999), kept.get(999_000), kept.get(998_999)), (-999_999, -999_000, None))

    def test_young_again(self):
        """What is set again is young again; what was forgotten is gone."""
        kept = Bounded(2)
        for key in ("a", "b", "a", "c"):
            kept.set(key, key)
        self.assertEqual((kept.get("a"), kept.get("b")), ("a", None))
        kept.forget("a")
        kept.forget("x")
        self.assertEqual((kept.get("a"), len(kept)), (None, 1))
