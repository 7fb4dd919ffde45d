"""A budget of failed attempts per address, with back-off, in bounded memory."""

from collections import OrderedDict
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from stor.access.address import neighbourhood
from stor.errors import TooMany

DOUBLINGS = 4  # the longest wait is 16 times the first one


@dataclass(slots=True)
class _Record:
    failures: int
    since: float  # the first failure, or the end of the wait
    shut_until: float = 0.0


class Attempts:
    """At most `limit` failures in `seconds`; then a wait of `seconds`, doubled by each further failure.

    A key is an address (IPv6 is counted by its /64) or any other text. Only the `most` keys that failed last
    are remembered. Each call is O(1).
    """

    def __init__(self, limit: int, seconds: float, clock: IReactorTime, most: int = 65536) -> None:
        self._limit, self._seconds, self._clock, self._most = limit, seconds, clock, most
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def check(self, key: str) -> None:
        """Raise TooMany while the budget of `key` is used up."""
        record = self._records.get(neighbourhood(key))
        if record is not None and (wait := record.shut_until - self._clock.seconds()) > 0:
            raise TooMany("too many failed attempts", retry_after=wait)

    def failed(self, key: str) -> None:
        """Count one failure."""
        key, now = neighbourhood(key), self._clock.seconds()
        record = self._records.pop(key, None)
        if record is None or self._is_over(record, now):
            record = _Record(failures=0, since=now)
        record.failures += 1
        beyond = record.failures - self._limit
        if beyond >= 0:
            record.since = record.shut_until = now + self._seconds * (1 << min(beyond, DOUBLINGS))
        self._records[key] = record
        if len(self._records) > self._most:
            self._records.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of `key`."""
        self._records.pop(neighbourhood(key), None)

    def _is_over(self, record: _Record, now: float) -> bool:
        """Who was shut out must keep quiet for as long again before it is forgotten."""
        beyond = max(record.failures - self._limit, 0)
        return now - record.since > self._seconds * (1 << min(beyond, DOUBLINGS))
