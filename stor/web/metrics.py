"""What Prometheus may see of us, from the registry that was passed in."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from stor.web.request import Request
from stor.web.routes import Route

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Metrics:
    """The page `/metrics`, and `stor_build_info`."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self._registry = registry
        registry.register(_Build(version))

    def routes(self) -> Iterable[Route]:
        """Offer one page."""
        return [Route("GET", "/metrics", self.show)]

    async def show(self, request: Request) -> bytes:
        """Render on the reactor: it takes about a millisecond, and a thread would hold it up as long."""
        request.setHeader(b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode())
        body = generate_latest(self._registry)
        request.setHeader(b"content-length", b"%d" % len(body))
        return body


class Answered:
    """How long answers took, by route, method and class of status: labels that no client can invent."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "stor_http_request_seconds",
            "Time from the first byte of a request to the last of its answer",
            ["route", "method", "status"],
            registry=registry,
        )

    def note(self, route: str, method: str, code: int, seconds: float) -> None:
        """Count one answer."""
        method = method if method in METHODS else "other"
        self._seconds.labels(route, method, f"{code // 100}xx").observe(seconds)


class _Build(Collector):
    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterable[GaugeMetricFamily]:
        info = GaugeMetricFamily("stor_build_info", "The version that runs", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
