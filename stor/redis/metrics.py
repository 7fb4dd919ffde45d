"""What the proxy counts: sessions, logins, bytes, dials, refusals. Labels are bounded: outcomes, reasons, users."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Metrics(Collector):
    """The proxy's metrics in a registry; live ones are read from the sessions when somebody asks."""

    def __init__(self, registry: CollectorRegistry, sessions: Callable[[], dict[str, int]]) -> None:
        """`sessions` gives the number of live sessions by user."""
        self._sessions = sessions
        self._live_bytes: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self._finished = [0, 0]
        self._began = Counter(
            "stor_redis_sessions_started", "Sessions that began, by user.", ["user"], registry=registry
        )
        self._logins = Counter("stor_redis_logins", "Attempts to log in, by outcome.", ["outcome"], registry=registry)
        self._refused = Counter(
            "stor_redis_refused",
            "Connections refused before any login, by reason.",
            ["reason"],
            registry=registry,
        )
        self._dials = Histogram(
            "stor_redis_upstream_dial_seconds",
            "Time until an upstream took the connection, before any TLS.",
            registry=registry,
        )
        registry.register(self)

    def read_bytes_from(self, live: Callable[[], tuple[int, int]]) -> None:
        """`live` gives the bytes of the live sessions: from clients, and from upstreams."""
        self._live_bytes = live

    def collect(self) -> Iterator[Metric]:
        """Give what is known only at the moment: called by the registry."""
        now = GaugeMetricFamily("stor_redis_sessions", "Sessions now, by user.", labels=["user"])
        for user, count in self._sessions().items():
            now.add_metric([user], count)
        yield now
        moved = CounterMetricFamily("stor_redis_bytes", "Bytes passed on, by direction.", labels=["direction"])
        for direction, live, finished in zip(
            ("to_upstream", "to_client"), self._live_bytes(), self._finished, strict=True
        ):
            moved.add_metric([direction], live + finished)
        yield moved

    def login(self, outcome: str) -> None:
        """Count an attempt to log in."""
        self._logins.labels(outcome).inc()

    def refused(self, reason: str) -> None:
        """Count a connection that was not let to the gate."""
        self._refused.labels(reason).inc()

    def dialled(self, seconds: float) -> None:
        """Observe how long a dial took."""
        self._dials.observe(seconds)

    def began(self, user: str) -> None:
        """Count a session."""
        self._began.labels(user).inc()

    def finished(self, traffic: tuple[int, int]) -> None:
        """Keep the bytes of a session that has ended."""
        self._finished[0] += traffic[0]
        self._finished[1] += traffic[1]
