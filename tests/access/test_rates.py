from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from stor.access.principal import Principal
from stor.access.rates import Gauge, Rates
from stor.errors import TooMany


def somebody(name="a"):
    return Principal(name, frozenset())


class RateTests(SynchronousTestCase):
    def setUp(self):
        self.clock, self.registry = Clock(), CollectorRegistry()

    def gauge(self, most=1000, **rates):
        return Gauge(Rates(**rates), self.registry, self.clock, most)

    def ask(self, gauge, name="a", times=1):
        for _ in range(times):
            gauge.enter(somebody(name))
            gauge.leave(somebody(name))

    def refused(self, gauge, name="a"):
        return self.assertRaises(TooMany, gauge.enter, somebody(name)).retry_after

    def test_no_limit(self):
        """0 is no limit."""
        gauge = self.gauge()
        for _ in range(1000):
            gauge.enter(somebody())

    def test_bucket(self):
        """Two seconds' worth at once, then as fast as tokens come; the answer says when the next one does."""
        gauge = self.gauge(per_second=5)
        self.ask(gauge, times=10)
        self.assertAlmostEqual(self.refused(gauge), 0.2)
        self.clock.advance(0.1)
        self.assertAlmostEqual(self.refused(gauge), 0.1)
        self.clock.advance(0.1)
        self.ask(gauge)
        self.refused(gauge)
        self.clock.advance(3600)
        self.ask(gauge, times=10)
        self.refused(gauge)
        self.assertEqual(self.registry.get_sample_value("stor_access_limited_total", {"limit": "rate"}), 4)

    def test_slow(self):
        """Less than one in two seconds still lets one in."""
        gauge = self.gauge(per_second=0.1)
        self.ask(gauge)
        self.assertAlmostEqual(self.refused(gauge), 10)
        self.clock.advance(10)
        self.ask(gauge)

    def test_in_flight(self):
        """So many at once; who ends makes room for one."""
        gauge = self.gauge(in_flight=2)
        gauge.enter(somebody())
        gauge.enter(somebody())
        self.assertEqual(self.refused(gauge), 1)
        self.assertEqual(self.registry.get_sample_value("stor_access_busy_principals"), 1)
        gauge.leave(somebody())
        gauge.enter(somebody())
        self.refused(gauge)

    def test_each_for_itself(self):
        """One principal's limits are not another's."""
        gauge = self.gauge(per_second=1, in_flight=2)
        self.ask(gauge, times=2)
        self.refused(gauge)
        self.ask(gauge, "b", times=2)

    def test_changed(self):
        """Limits that are set while it runs hold from then on, also for who was there before."""
        gauge = self.gauge()
        self.ask(gauge, times=100)
        gauge.rates = Rates(per_second=1)
        self.ask(gauge, times=2)
        self.refused(gauge)
        gauge.rates = Rates()
        self.ask(gauge, times=100)

    def test_clock_set_back(self):
        """A clock that is set back takes nothing away."""
        gauge = self.gauge(per_second=5)
        self.ask(gauge, times=5)
        self.clock.rightNow -= 3600
        self.ask(gauge, times=5)
        self.refused(gauge)

    def test_bounded(self):
        """A million invented names take no more room than the bound; who is busy is not forgotten, nor let off."""
        gauge = self.gauge(most=100, per_second=1, in_flight=1)
        gauge.enter(somebody("busy"))
        self.ask(gauge, "before", times=2)
        for number in range(1_000_000):
            gauge.enter(name := somebody(f"n{number}"))
            gauge.leave(name)
        self.assertEqual(len(gauge), 101)
        self.refused(gauge, "busy")
        gauge.leave(somebody("busy"))
        self.ask(gauge, "before")
