"""How often, and how much at once, each principal may ask."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from prometheus_client import CollectorRegistry, Counter
from prometheus_client import Gauge as Shown
from twisted.internet.interfaces import IReactorTime

from stor.access.principal import Principal
from stor.errors import TooMany

BURST_SECONDS = 2.0  # a bucket holds what comes in so long
MOST = 65_536  # principals that are remembered while they ask nothing


@dataclass(frozen=True, slots=True)
class Rates:
    """For each principal; 0 is no limit."""

    per_second: float = 0.0
    in_flight: int = 0


@dataclass(slots=True)
class _Bucket:
    tokens: float  # a new one is full, however much that is when a rate is set
    filled: float
    in_flight: int = 0


class Gauge:
    """A token bucket and a number of requests in flight for each principal, by its name; each call is O(1).

    `rates` may be set to others at any time. Who asks nothing is forgotten when there are too many, which fills their
    bucket; who has a request in flight never is.
    """

    def __init__(self, rates: Rates, registry: CollectorRegistry, clock: IReactorTime, most: int = MOST) -> None:
        self.rates = rates
        self._now: Callable[[], float] = clock.seconds
        self._most = most
        self._busy: dict[str, _Bucket] = {}
        self._idle: dict[str, _Bucket] = {}  # who was busy last is last
        self._limited = Counter(
            "stor_access_limited", "Requests beyond the limits of a principal, by limit.", ["limit"], registry=registry
        )
        shown = Shown("stor_access_busy_principals", "Principals that have a request in flight.", registry=registry)
        shown.set_function(lambda: len(self._busy))

    def __len__(self) -> int:
        return len(self._busy) + len(self._idle)

    def enter(self, principal: Principal) -> None:
        """Count one request, which must `leave`; TooMany, and nothing counted, when it is beyond a limit."""
        name, rates = principal.name, self.rates
        bucket = self._busy.get(name)
        if bucket is None:
            bucket = self._idle.pop(name, None) or _Bucket(inf, self._now())
        try:
            self._take(bucket, rates)
        finally:
            self._keep(name, bucket)

    def leave(self, principal: Principal) -> None:
        """One request that entered has ended."""
        bucket = self._busy[principal.name]
        bucket.in_flight -= 1
        if bucket.in_flight == 0:
            del self._busy[principal.name]
            self._keep(principal.name, bucket)

    def _take(self, bucket: _Bucket, rates: Rates) -> None:
        if rates.in_flight and bucket.in_flight >= rates.in_flight:
            self._limited.labels("in_flight").inc()
            raise TooMany(f"at most {rates.in_flight} requests at the same time", retry_after=1)
        if rates.per_second:
            now = self._now()
            came = max(now - bucket.filled, 0.0) * rates.per_second
            bucket.tokens = min(bucket.tokens + came, max(rates.per_second * BURST_SECONDS, 1.0))
            bucket.filled = now
            if bucket.tokens < 1:
                self._limited.labels("rate").inc()
                wait = (1 - bucket.tokens) / rates.per_second
                raise TooMany(f"at most {rates.per_second:g} requests a second", retry_after=wait)
            bucket.tokens -= 1
        bucket.in_flight += 1

    def _keep(self, name: str, bucket: _Bucket) -> None:
        if bucket.in_flight:
            self._busy[name] = bucket
            return
        self._idle[name] = bucket
        if len(self._idle) > self._most:
            del self._idle[next(iter(self._idle))]
