"""How much the collector does in one transaction, and how long it rests after it: uploads should hardly notice."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from time import perf_counter
from typing import Any, Concatenate, ParamSpec

from twisted.internet.task import deferLater

from stor.database.promise import Database, Transaction

P = ParamSpec("P")
SECONDS = 0.02  # that a transaction should take: SQLite has one writer, and all others wait for it
REST = {"sqlite": 5.0, "postgresql": 1.0}  # times as long as it took: a sixth of SQLite's only writer is ours at most
_FIRST, _LEAST = 64, 8


@dataclass(frozen=True, slots=True)
class Batch:
    """How many rows a transaction has done, and in how many seconds; what it waited for its turn does not count."""

    count: int
    seconds: float


def timed(work: Callable[Concatenate[Transaction, P], int]) -> Callable[Concatenate[Transaction, P], Batch]:
    """Have a work that gives the number of rows it has done give the time it took, too."""

    @wraps(work)
    def measured(tx: Transaction, /, *args: P.args, **kwargs: P.kwargs) -> Batch:
        began = perf_counter()
        count = work(tx, *args, **kwargs)
        return Batch(count, perf_counter() - began)

    return measured


class Pace:
    """One transaction after the other, of at most `most` rows each; of fewer where they take longer than 20 ms."""

    def __init__(self, database: Database, most: int, reactor: Any) -> None:
        self._database, self._most, self._reactor = database, most, reactor

    async def drain(self, work: Callable[..., Batch]) -> int:
        """Write `work(transaction, most=…)` until it finds less to do than it may; give how much it did in all."""
        done, most = 0, min(_FIRST, self._most)
        while True:
            batch = await self._database.write(partial(work, most=most))
            done += batch.count
            if batch.count < most:
                return done
            await self.rest(batch.seconds)
            most = self._next(most, batch.seconds)

    async def rest(self, seconds: float) -> None:
        """Rest from work that took so long."""
        await deferLater(self._reactor, seconds * REST[self._database.kind])

    def _next(self, most: int, seconds: float) -> int:
        if seconds > SECONDS:
            return max(min(_LEAST, self._most), most // 2)
        return min(self._most, most * 2) if seconds < SECONDS / 2 else most
