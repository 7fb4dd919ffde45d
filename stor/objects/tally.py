"""What tenants have, read from what `usage` has counted; and what that takes where equal bytes are kept once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from stor.database.promise import Database, Row, Transaction
from stor.objects.records import StorageClass

_TOTAL = "SELECT COALESCE(SUM(bytes), 0), COALESCE(SUM(objects), 0) FROM object_usage"
_TOTAL_OF_ONE = f"{_TOTAL} WHERE tenant = ?"
_SOME = """SELECT tenant, namespace, class, SUM(bytes), SUM(objects) FROM object_usage
WHERE (tenant, namespace) > (?, ?) GROUP BY tenant, namespace, class ORDER BY tenant, namespace, class LIMIT ?"""
_SOME_OF_ONE = """SELECT tenant, namespace, class, SUM(bytes), SUM(objects) FROM object_usage
WHERE tenant = ? AND namespace > ? GROUP BY tenant, namespace, class ORDER BY tenant, namespace, class LIMIT ?"""
_STORED = """SELECT class, MAX(id), SUM(size), COUNT(*) FROM (
    SELECT id, class, size FROM object_blob WHERE id > ? ORDER BY id LIMIT ?
) AS these GROUP BY class"""
_BLOBS_AT_ONCE = 5000
_KEPT_SECONDS = 30.0  # so that asking often costs nothing


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes, and of how many objects (or blobs) they are."""

    bytes: int = 0
    objects: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.bytes + other.bytes, self.objects + other.objects)


@dataclass(frozen=True, slots=True)
class Tally:
    """What a tenant has in one namespace, by class."""

    tenant: str
    namespace: str
    amounts: Mapping[StorageClass, Amount]

    @property
    def total(self) -> Amount:
        """All classes together."""
        return sum(self.amounts.values(), Amount())


def total(tx: Transaction, tenant: str | None) -> Amount:
    """Give what a tenant has, or all of them; each object counts, whoever else has the same bytes."""
    ((size, objects),) = tx.execute(_TOTAL) if tenant is None else tx.execute(_TOTAL_OF_ONE, (tenant,))
    return Amount(int(size), int(objects))


def tallies(tx: Transaction, tenant: str | None, after: tuple[str, str], limit: int) -> Sequence[Tally]:
    """Give the next `limit` namespaces of a tenant, or of all, that come behind the tenant and namespace `after`."""
    rows = limit * len(StorageClass)
    sql, parameters = (_SOME, (*after, rows)) if tenant is None else (_SOME_OF_ONE, (tenant, after[1], rows))
    amounts: dict[tuple[str, str], dict[StorageClass, Amount]] = {}
    for owner, namespace, storage_class, size, objects in tx.execute(sql, parameters):
        each = amounts.setdefault((owner, namespace), {})
        each[StorageClass(storage_class)] = Amount(int(size), int(objects))
    return [Tally(*names, each) for names, each in list(amounts.items())[:limit]]


class Stored:
    """How much is really stored, by class: all blobs, equal bytes once. Counted when somebody asks, in small reads."""

    def __init__(self, database: Database, clock: IReactorTime) -> None:
        self._database, self._clock = database, clock
        self._lock = DeferredLock()
        self._known: Mapping[StorageClass, Amount] = {}
        self._until = float("-inf")

    async def amounts(self) -> Mapping[StorageClass, Amount]:
        """Give them as they were at most 30 seconds ago; takes as long as there are many."""
        await self._lock.acquire()
        try:
            if self._clock.seconds() >= self._until:
                self._known = await self._count()
                self._until = self._clock.seconds() + _KEPT_SECONDS
        finally:
            self._lock.release()
        return self._known

    async def _count(self) -> Mapping[StorageClass, Amount]:
        sizes: Counter[str] = Counter()
        blobs: Counter[str] = Counter()
        last = 0
        while found := await self._database.browse(partial(_some_blobs, after=last)):
            for storage_class, newest, size, number in found:
                sizes[storage_class] += int(size)
                blobs[storage_class] += number
                last = max(last, newest)
        return {each: Amount(sizes[each.value], blobs[each.value]) for each in StorageClass}


def _some_blobs(tx: Transaction, after: int) -> list[Row]:
    return tx.execute(_STORED, (after, _BLOBS_AT_ONCE))
