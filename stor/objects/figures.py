"""How many objects there are and how much they hold, for Prometheus: counted now and then, shown at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from stor.database.promise import Database, Transaction
from stor.errors import StorError
from stor.objects.records import State
from stor.objects.usage import empty, forget

log = Logger()

SECONDS = 30.0
"""Between two counts."""
MOST_LABELS = 100
"""Pairs of tenant and namespace that have a name, and namespaces: those with the most; the rest is `other`."""
MOST_UNSETTLED = 10_000
"""Objects of one state other than COMMITTED that are counted; there may be more."""
OTHER = "other"
_EMPTY, _EMPTY_AT_ONCE = 5000, 50  # counts of nothing: that are looked for, and that one write removes

_LARGEST = """SELECT namespace, tenant, SUM(objects) AS n FROM object_usage GROUP BY tenant, namespace
HAVING SUM(objects) > 0 ORDER BY n DESC, tenant, namespace LIMIT ?"""
_ALL = "SELECT COALESCE(SUM(objects), 0) FROM object_usage"
_LARGEST_BYTES = """SELECT class, namespace, SUM(bytes) FROM object_usage WHERE namespace IN (
    SELECT namespace FROM object_usage GROUP BY namespace ORDER BY SUM(bytes) DESC, namespace LIMIT ?
) GROUP BY class, namespace"""
_ALL_BYTES = "SELECT class, SUM(bytes) FROM object_usage GROUP BY class"
_UNSETTLED = """SELECT namespace, tenant, COUNT(*) FROM (
    SELECT namespace, tenant FROM object WHERE state = ? AND state <> 'COMMITTED' LIMIT ?
) AS these GROUP BY namespace, tenant"""


@dataclass(frozen=True, slots=True)
class Counted:
    """Objects by (namespace, tenant, state), bytes as tenants see them by (class, namespace)."""

    objects: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    bytes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    namespaces: AbstractSet[str] = frozenset()  # those with the most objects


def count(tx: Transaction) -> Counted:
    """Count with bounded labels; what is COMMITTED was counted by those who commit, its rows are not looked at."""
    named = {(namespace, tenant): int(n) for namespace, tenant, n in tx.execute(_LARGEST, (MOST_LABELS,))}
    objects = Counter({(*names, State.COMMITTED.value): n for names, n in named.items()})
    ((total,),) = tx.execute(_ALL)
    objects[OTHER, OTHER, State.COMMITTED.value] += int(total) - sum(named.values())
    for state in State:
        if state is not State.COMMITTED:
            for namespace, tenant, n in tx.execute(_UNSETTLED, (state.value, MOST_UNSETTLED)):
                names = (namespace, tenant) if (namespace, tenant) in named else (OTHER, OTHER)
                objects[*names, state.value] += n
    return Counted(+objects, _bytes(tx), frozenset(namespace for namespace, _ in named))


def _bytes(tx: Transaction) -> Mapping[tuple[str, str], int]:
    found = Counter({(each, namespace): int(n) for each, namespace, n in tx.execute(_LARGEST_BYTES, (MOST_LABELS,))})
    for each, total in tx.execute(_ALL_BYTES):
        found[each, OTHER] += int(total) - sum(n for (of, _), n in found.items() if of == each)
    return +found


class Figures(Service, Collector):
    """Gauges `activestorage_objects_total` and `activestorage_storage_bytes`; counts at the start and every 30 s.

    What is counted as nothing is forgotten then, so that namespaces that were emptied cost nothing.
    """

    def __init__(self, database: Database, registry: CollectorRegistry, reactor: Any) -> None:
        self._database = database
        self._counted = Counted()
        self._counting: Deferred[None] | None = None
        self._again = LoopingCall(self._begin)
        self._again.clock = reactor
        registry.register(self)

    def startService(self) -> None:
        """Begin to count; nobody waits for it."""
        super().startService()
        self._again.start(SECONDS).addErrback(lambda why: log.failure("the figures ended", why))

    def stopService(self) -> None:
        """Count no more."""
        super().stopService()
        self._again.stop()
        if self._counting is not None:
            self._counting.cancel()

    def namespaces(self) -> AbstractSet[str]:
        """Name those with the most objects when they were counted last, at most 100; another set each time."""
        return self._counted.namespaces

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Give what was counted last: called by the registry."""
        objects = GaugeMetricFamily(
            "activestorage_objects_total",
            f"Objects by state; of a state other than COMMITTED at most {MOST_UNSETTLED} are counted.",
            labels=["namespace", "tenant", "status"],
        )
        for labels, number in self._counted.objects.items():
            objects.add_metric(labels, number)
        yield objects
        size = GaugeMetricFamily(
            "activestorage_storage_bytes",
            "Bytes of objects, equal ones counted each time.",
            labels=["storage_class", "namespace"],
        )
        for names, number in self._counted.bytes.items():
            size.add_metric(names, number)
        yield size

    def _begin(self) -> Deferred[None]:
        self._counting = Deferred.fromCoroutine(self._count())
        return self._counting

    async def _count(self) -> None:
        try:
            self._counted = await self._database.browse(count)
            await self._forget()
        except CancelledError:
            pass  # we stop
        except StorError as why:
            log.warn("the figures are as they were, they cannot be counted: {why}", why=str(why))

    async def _forget(self) -> None:
        found = await self._database.browse(partial(empty, limit=_EMPTY))
        for start in range(0, len(found), _EMPTY_AT_ONCE):
            some = found[start : start + _EMPTY_AT_ONCE]
            await self._database.write(partial(forget, kind=self._database.kind, names=some))
