"""What Prometheus may see of us, from the registry that was passed in."""

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from stor.web.answer import Answer
from stor.web.call import Call
from stor.web.routes import About, Media, Route

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_TIMES = [*map(str, BOUNDS), "+Inf"]


class Metrics:
    """The page `/metrics`, and `stor_build_info`."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self._registry = registry
        registry.register(_Build(version))

    def routes(self) -> Iterable[Route]:
        """Offer one page."""
        about = About("Metrics", answers={200: Media("In Prometheus's text format", "text/plain")})
        return [Route("GET", "/metrics", self.show, about=about)]

    async def show(self, call: Call) -> Answer:
        """Render on the reactor: it takes about a millisecond, and a thread would hold it up as long."""
        kind = (b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode())
        return Answer(headers=(kind,), body=generate_latest(self._registry))


class _Times:
    """One line of the histogram."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * len(_TIMES)
        self.total = 0.0


class Figures(Collector):
    """What HTTP counts; labels are bounded, no client can invent one.

    Only the reactor's thread counts, so no lock is needed: an observation costs less than a microsecond, where
    prometheus_client's own histogram takes several.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = self.in_flight = self.received = self.sent = 0
        self._times: dict[tuple[str, str, int], _Times] = {}
        self._refused: dict[str, int] = {}
        registry.register(self)

    def note(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer, by route, method and class of status."""
        key = (route, method if method in METHODS else "other", status // 100)
        times = self._times.get(key)
        if times is None:
            times = self._times[key] = _Times()
        times.counts[bisect_left(BOUNDS, seconds)] += 1
        times.total += seconds

    def refused(self, reason: str) -> None:
        """Count a connection that was turned away."""
        self._refused[reason] = self._refused.get(reason, 0) + 1

    def collect(self) -> Iterable[Metric]:
        """Give all of it: called by the registry."""
        yield self._histogram()
        yield GaugeMetricFamily("stor_http_connections", "Connections now", self.connections)
        yield GaugeMetricFamily("stor_http_requests_in_flight", "Requests now being answered", self.in_flight)
        moved = CounterMetricFamily("stor_http_bytes", "Bytes of HTTP, by direction", labels=["direction"])
        moved.add_metric(["in"], self.received)
        moved.add_metric(["out"], self.sent)
        yield moved
        refused = CounterMetricFamily("stor_http_refused", "Connections turned away, by reason", labels=["reason"])
        for reason, count in self._refused.items():
            refused.add_metric([reason], count)
        yield refused

    def _histogram(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "stor_http_request_seconds",
            "Time from the first byte of a request to the last of its answer",
            labels=["route", "method", "status"],
        )
        for (route, method, kind), times in self._times.items():
            so_far, buckets = 0, []
            for bound, count in zip(_TIMES, times.counts, strict=True):
                so_far += count
                buckets.append((bound, so_far))
            family.add_metric([route, method, f"{kind}xx"], buckets, times.total)
        return family


class _Build(Collector):
    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterable[GaugeMetricFamily]:
        info = GaugeMetricFamily("stor_build_info", "The version that runs", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
