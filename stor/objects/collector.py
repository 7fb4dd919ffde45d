"""The collector: what is deleted, given up or no longer referred to goes away, and its bytes with it."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import DeferredLock

from stor.objects.condemn import condemn, forget, settle
from stor.objects.core import Objects
from stor.objects.every import Every
from stor.objects.metrics import Metrics
from stor.objects.pace import Pace
from stor.objects.records import StorageClass
from stor.objects.rules import MICROSECONDS
from stor.objects.several import together
from stor.objects.stuck import expire
from stor.objects.unlink import Unlinker


@dataclass(frozen=True, slots=True)
class GcSettings:
    """Times in seconds; `batch`: the most rows in a transaction.

    `grace_seconds`: how long bytes stay that nothing refers to. Nobody's safety hangs on it: it saves the work of
    putting bytes again that come and go. `deleted_seconds`: how long it is remembered that an object was deleted.
    """

    interval: float = 60.0
    batch: int = 1000
    grace_seconds: float = 60.0
    deleted_seconds: float = 86400.0


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did: uploads given up, deletions settled, blobs removed, copies unlinked, rows forgotten."""

    uploads: int
    deletions: int
    blobs: int
    copies: int
    rows: int


class Collector(Every):
    """Collects each interval. Several processes over one database share the work; each step may be its last.

    docs/protocols/objects-gc.md says why nothing is lost.
    """

    def __init__(self, objects: Objects, settings: GcSettings, metrics: Metrics, reactor: Any) -> None:
        super().__init__(settings.interval, self._collect, reactor)
        self._objects, self._settings, self._metrics = objects, settings, metrics
        self._pace = Pace(objects.database, settings.batch, reactor)
        self._unlinkers = [
            Unlinker(objects.database, each, store, objects.now, reactor) for each, store in objects.stores.items()
        ]
        self._lock = DeferredLock()

    async def run(self, grace: float | None = None) -> Collected:
        """Collect until nothing more is due; `grace` in seconds instead of the settings'. Unavailable, or Full."""
        await self._lock.acquire()
        try:
            return await self._run(self._settings.grace_seconds if grace is None else grace)
        finally:
            self._lock.release()

    async def _collect(self) -> None:
        await self.run()

    async def _run(self, grace: float) -> Collected:
        """Each step leaves to the next what has become its; what comes after a step began is for the next run."""
        self._metrics.gc_runs.inc()
        drain, kind, settings = self._pace.drain, self._objects.kind, self._objects.settings
        now = self._objects.now()
        uploads = await drain(partial(expire, kind=kind, until=_before(now, settings.upload_seconds), now=now))
        deletions = await drain(partial(settle, kind=kind, until=now, now=now))
        now = self._objects.now()
        due = {each: _before(now, -settings.lingers.get(each, 0.0)) for each in StorageClass}
        blobs = await drain(partial(condemn, kind=kind, until=_before(now, grace), now=now, due=due))
        self._metrics.gc_deleted_blobs.inc(blobs)
        copies = await together(each.run() for each in self._unlinkers)
        rows = await drain(partial(forget, kind=kind, until=_before(now, self._settings.deleted_seconds)))
        return Collected(uploads, deletions, blobs, sum(copies), rows)


def _before(now: int, seconds: float) -> int:
    return now - int(seconds * MICROSECONDS)
