"""Looking rows up for many at once: what is asked while one query runs is asked together in the next."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred

from stor.database.promise import Database, Transaction

MOST = 64  # in one query

K = TypeVar("K")
V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


class Query(Protocol[K, V_co]):
    """A query for several keys in one transaction."""

    def __call__(self, tx: Transaction, keys: Sequence[K]) -> Mapping[K, V_co]:
        """Give what was found."""


class Lookups(Generic[K, V]):
    """Each answer was read after its question came: so it shows every write acknowledged before."""

    def __init__(self, database: Database, query: Query[K, V], nothing: K) -> None:
        """`nothing` is a key under which there never is anything: it fills up a query."""
        self._database, self._query, self._nothing = database, query, nothing
        self._waiting: dict[K, list[Deferred[V | None]]] = {}
        self._busy = False

    async def get(self, key: K) -> V | None:
        """Give what the query finds under the key; raises what the database raises."""
        asked: Deferred[V | None] = Deferred()
        self._waiting.setdefault(key, []).append(asked)
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._ask_all())
        return await asked

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                await self._ask()
        finally:
            self._busy = False

    async def _ask(self) -> None:
        keys = list(self._waiting)[:MOST]
        asked = {key: self._waiting.pop(key) for key in keys}
        padded = keys + [self._nothing] * (_rounded(len(keys)) - len(keys))
        work: Callable[[Transaction], Mapping[K, V]] = partial(self._query, keys=padded)
        try:
            found = await self._database.read(work)
        except BaseException as why:  # noqa: BLE001 - whoever waits is told
            for key in keys:
                for each in asked[key]:
                    if not each.called:
                        each.errback(why)
            return
        for key in keys:
            for each in asked[key]:
                if not each.called:  # else who asked has left
                    each.callback(found.get(key))


def _rounded(count: int) -> int:
    """Few lengths make few statements, which the databases then know already."""
    return 1 << (count - 1).bit_length()
