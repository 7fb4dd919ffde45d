"""What the object store counts of its answers, under the names of the contract."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stor.web.call import Call
from stor.web.metrics import BOUNDS, METHODS

OTHER = "other"
_BOUNDS = [*map(str, BOUNDS), "+Inf"]


class _Times:
    """The answers with one set of labels: how many took how long."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        self.total = 0.0

    def add(self, others: "_Times") -> None:
        """Count these, too."""
        self.counts = [one + other for one, other in zip(self.counts, others.counts, strict=True)]
        self.total += others.total


class Requests(Collector):
    """Counts answers by method, status and namespace; "" is the namespace of what did not get as far as to have one.

    Those that `named` gives have a name, few and found in the database, so that no client can invent labels; the rest
    are `other`, and what is named no more is added to it. Only the reactor's thread counts, so no lock is needed.
    """

    def __init__(self, registry: CollectorRegistry, named: Callable[[], AbstractSet[str]]) -> None:
        self._times: dict[tuple[str, int, str], _Times] = {}
        self._named = named
        self._names: AbstractSet[str] = named()
        registry.register(self)

    def note(self, call: Call, status: int, seconds: float) -> None:
        """Count one answer."""
        method, namespace = call.method, call.topic
        self._look()
        if namespace and namespace not in self._names:
            namespace = OTHER
        times = self._of(method if method in METHODS else OTHER, status, namespace)
        times.counts[bisect_left(BOUNDS, seconds)] += 1
        times.total += seconds

    def collect(self) -> Iterable[Metric]:
        """Give all of it: called by the registry."""
        self._look()
        count = CounterMetricFamily(
            "activestorage_requests", "Answers to calls of the object store.", labels=["method", "status", "namespace"]
        )
        for (method, status, namespace), times in self._times.items():
            count.add_metric([method, str(status), namespace], sum(times.counts))
        yield count
        yield self._histogram()

    def _of(self, method: str, status: int, namespace: str) -> _Times:
        times = self._times.get((method, status, namespace))
        if times is None:
            times = self._times[method, status, namespace] = _Times()
        return times

    def _look(self) -> None:
        """Look whether others are named now."""
        names = self._named()
        if names is self._names:
            return
        self._names = names
        for method, status, namespace in list(self._times):
            if namespace not in {"", OTHER} and namespace not in names:
                self._of(method, status, OTHER).add(self._times.pop((method, status, namespace)))

    def _histogram(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "activestorage_request_duration_seconds",
            "Time from the first byte of a call to the last of its answer.",
            labels=["method", "namespace"],
        )
        together: dict[tuple[str, str], _Times] = defaultdict(_Times)
        for (method, _, namespace), times in self._times.items():
            together[method, namespace].add(times)
        for (method, namespace), sums in together.items():
            so_far, buckets = 0, []
            for bound, one in zip(_BOUNDS, sums.counts, strict=True):
                so_far += one
                buckets.append((bound, so_far))
            family.add_metric([method, namespace], buckets, sums.total)
        return family
