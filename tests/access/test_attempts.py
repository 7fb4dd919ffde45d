from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from stor.access.attempts import Attempts
from stor.errors import TooMany


class AttemptsTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.attempts = Attempts(3, 60, self.clock)

    def fail(self, key, times=1):
        for _ in range(times):
            self.attempts.failed(key)

    def wait(self, key="192.0.2.1"):
        return self.assertRaises(TooMany, self.attempts.check, key).retry_after

    def test_budget(self):
        """So many failures are free; the last of them shuts the door for the period."""
        self.fail("192.0.2.1", 2)
        self.attempts.check("192.0.2.1")
        self.fail("192.0.2.1")
        self.assertEqual(self.wait(), 60)
        self.clock.advance(59)
        self.assertEqual(self.wait(), 1)
        self.clock.advance(1)
        self.attempts.check("192.0.2.1")

    def test_backs_off(self):
        """Who fails again when the door opens waits twice as long, up to sixteen times."""
        self.fail("192.0.2.1", 3)
        waits = []
        for _ in range(6):
            self.clock.advance(self.wait())
            self.fail("192.0.2.1")
            waits.append(self.wait())
        self.assertEqual(waits, [120, 240, 480, 960, 960, 960])

    def test_forgets_in_time(self):
        """Failures of long ago do not add up; nor does a wait that was followed by quiet."""
        self.fail("192.0.2.1", 2)
        self.clock.advance(61)
        self.fail("192.0.2.1", 2)
        self.attempts.check("192.0.2.1")
        self.fail("192.0.2.1")
        self.clock.advance(60 + 61)
        self.fail("192.0.2.1", 2)
        self.attempts.check("192.0.2.1")

    def test_success_forgives(self):
        """A good credential gives the whole budget back."""
        self.fail("192.0.2.1", 2)
        self.attempts.succeeded("192.0.2.1")
        self.fail("192.0.2.1", 2)
        self.attempts.check("192.0.2.1")

    def test_each_for_itself(self):
        """Another address is not concerned; another address of the same IPv6 customer is."""
        self.fail("2001:db8::1", 3)
        self.wait("2001:db8::2")
        self.attempts.check("2001:db8:0:1::1")
        self.attempts.check("192.0.2.1")

    def test_bounded(self):
        """A million invented addresses take no more room than the most we remember."""
        attempts = Attempts(1, 60, self.clock, most=100)
        for number in range(10_000):
            attempts.failed(f"key {number}")
        self.assertEqual(len(attempts), 100)
        self.assertRaises(TooMany, attempts.check, "key 9999")
        attempts.check("key 0")

    def test_recent_stay(self):
        """What failed last is forgotten last."""
        attempts = Attempts(2, 60, self.clock, most=2)
        for key in ("a", "b", "a", "c"):
            attempts.failed(key)
        self.assertRaises(TooMany, attempts.check, "a")

    def test_a_million(self):
        """A million addresses that never come back."""
        attempts = Attempts(3, 60, self.clock)
        for number in range(1_000_000):
            attempts.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        self.assertEqual(len(attempts), 65_536)
