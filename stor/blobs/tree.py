"""One tree of files in a store: written conditionally at the store, shown by an index that is always right."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from stor.blobs.behind import Behind
from stor.blobs.changes import Changes, Watch
from stor.blobs.content import Packer, discard
from stor.blobs.files import Files
from stor.blobs.history import History, Retention
from stor.blobs.journal import Journal
from stor.blobs.layout import Layout
from stor.blobs.lifecycle import Lifecycle
from stor.blobs.locks import Locks
from stor.blobs.metrics import Metrics
from stor.blobs.reading import Blob, Reader
from stor.blobs.reconcile import Comparison, Reconciler
from stor.blobs.records import Namespace
from stor.blobs.replica import Replica
from stor.blobs.roots import Roots
from stor.blobs.rules import Condition, Entry, check_namespace, check_path
from stor.blobs.settling import Settler
from stor.blobs.suspects import Suspects
from stor.blobs.view import View
from stor.blobs.waiting import Running
from stor.blobs.writing import Change, Deletion, Writer, Written
from stor.errors import StorError, Unavailable
from stor.storage.promise import Store
from stor.streams.spool import Spool
from stor.threads import Threads

__all__ = ["Blob", "Changes", "Shape", "Tree", "Written"]

log = Logger()
T = TypeVar("T")

SWEEP_SECONDS = 3600.0
CHECK_SECONDS = 0.8


@dataclass(frozen=True, slots=True)
class Shape:
    """How a tree is kept; `tombstone_days` 0: for ever."""

    prefix: str = "memory"
    most_entries: int = 1_000_000
    tombstone_days: float = 30
    retention: Retention = field(default_factory=Retention)
    compressed: bool = False


class Tree(Service):
    """Files by path. Writes raise PreconditionFailed, Missing, Unavailable, Full; none of them leaves half a file.

    A write goes on to its end when its caller is cancelled. `put` owns its body from the call on, and discards it.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        shape: Shape,
        threads: Threads,
        metrics: Metrics,
        reactor: Any,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`store` and `threads` run as long as the tree does; `now` gives seconds since 1970."""
        self._store, self._journal, self._shape, self._reactor = store, journal, shape, reactor
        self._metrics = metrics
        self._replica, self._files = Replica(threads), Files(store, Layout(shape.prefix), threads)
        settler = Settler(self._files, self._replica, journal, shape.tombstone_days, now)
        history = History(self._files, shape.retention, now)
        roots = Roots(
            files=self._files,
            replica=self._replica,
            journal=journal,
            settler=settler,
            history=history,
            locks=Locks(),
            metrics=metrics,
            most=shape.most_entries,
            now=now,
            reactor=reactor,
        )
        self._roots, self._running = roots, Running()
        self._suspects = Suspects(roots.settle, self.reconcile, reactor)
        self._packer = Packer(store.spool, threads, compressed=shape.compressed)
        self._reader, self._writer = Reader(roots, self._suspects, threads), Writer(roots, self._suspects)
        self._reconciler, self._behind = Reconciler(roots), Behind(roots)
        self._watch = Watch(self._replica, roots.fresh, reactor)
        self._lifecycle = Lifecycle(roots, self._suspects)
        self._sweeps = LoopingCall(self._sweep)
        self._sweeps.clock = reactor
        self.found = Comparison()
        """What the last comparison came upon; each start makes one."""

    @property
    def entries(self) -> int:
        """How many files there are, deleted ones too."""
        return len(self._replica)

    def startService(self) -> Deferred[None]:
        """Fire when the index shows what the objects say; fails when the store is away."""
        super().startService()
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Fire when all writes have ended and the older software's index shows them."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def spool(self, limit: int) -> Spool:
        """Give a place for a body on its way in; TooLarge beyond `limit` bytes."""
        return self._store.spool(limit)

    async def put(
        self,
        path: str,
        body: bytes | Spool,
        *,
        content_type: str | None,
        condition: Condition,
        namespace: str | None = None,
    ) -> Written:
        """Replace the file whole if the condition holds; `path` is the full one, `namespace` tells the dialect."""
        try:
            self._check(path)
        except StorError:
            discard(body)
            raise
        return await self._run(self._put(path, body, content_type, condition, namespace))

    async def delete(self, path: str, condition: Condition, *, namespace: str | None = None) -> Entry:
        """Leave a tombstone; of what is deleted already nothing changes. Missing when nothing was ever there."""
        self._check(path)
        return (await self._run(self._write(path, Deletion(condition), condition, namespace))).entry

    async def head(self, path: str) -> Entry:
        """Give what is there now by one call of the store; Missing with the contract's texts."""
        check_path(path, self._shape.prefix)
        return await self._reader.head(path)

    async def get(self, path: str, start: int = 0, stop: int | None = None, *, version: int | None = None) -> Blob:
        """Give bytes `start` to `stop` (exclusive) by one call of the store; Missing, NotSatisfiable."""
        check_path(path, self._shape.prefix)
        if version is not None:
            return await self._reader.old(path, version, start, stop)
        return await self._reader.get(path, start, stop)

    async def view(self, namespace: str = "") -> View:
        """Give the index, with every write that any process acknowledged before the call."""
        if namespace:
            check_namespace(namespace)
        await self._roots.fresh()
        return self._replica.view(namespace)

    async def versions(self, path: str) -> list[Entry]:
        """Give what is there and what was kept of the path's past, newest first; Missing when there is nothing."""
        check_path(path, self._shape.prefix)
        return await self._reader.versions(path)

    async def restore(self, path: str, version: int, condition: Condition, *, namespace: str | None = None) -> Written:
        """Put the bytes of an old version again, if the condition holds."""
        blob = await self.get(path, version=version)
        body, content_type = await self._files.spooled(blob.body), blob.entry.content_type
        return await self.put(path, body, content_type=content_type, condition=condition, namespace=namespace)

    async def changes(self, since: str, namespace: str = "") -> Changes:
        """Wait until something has changed after the cursor `since`, and give it; BadRequest for what is no cursor."""
        if namespace:
            check_namespace(namespace)
        return await self._watch.changes(since, namespace)

    async def check(self) -> None:
        """Raise Unavailable when the store does not answer, quickly and without cost."""
        checking = Deferred.fromCoroutine(self._store.check())
        checking.addTimeout(CHECK_SECONDS, self._reactor, _too_slow)
        await checking

    async def reconcile(self) -> Comparison:
        """Make the index show what the objects say, all of them."""
        self.found = await self._reconciler.run(self._tell_progress)
        self._metrics.corrections.inc(self.found.corrected)
        return self.found

    async def _start(self) -> None:
        if not self._store.conditional:
            log.warn(
                "blobs: this store has no conditional writes: no other process may write to {prefix}",
                prefix=self._shape.prefix,
            )
        await self._journal.open(self._replica)
        found = await self.reconcile()
        log.info(
            "blobs: {objects} objects in {prefix}, {corrected} of them were not in the index, {unreadable} unreadable",
            objects=found.objects,
            prefix=self._shape.prefix,
            corrected=found.corrected,
            unreadable=found.unreadable,
        )
        self._behind.start()
        self._watch.start()
        self._sweeps.start(SWEEP_SECONDS, now=False)

    async def _stop(self) -> None:
        if self._sweeps.running:
            self._sweeps.stop()
        self._watch.stop()
        try:
            await self._running.ended()
            await self._suspects.stop()
            await self._behind.stop()
        finally:
            await self._journal.close()

    def _check(self, path: str) -> None:
        check_path(path, self._shape.prefix)
        if not self.running:
            raise Unavailable("the tree is closed", 1.0)

    async def _run(self, write: Coroutine[Any, Any, T]) -> T:
        """Run a write to its end, also without its caller."""
        try:
            result = await self._running.run(write)
        except StorError as why:
            self._metrics.writes.labels(type(why).__name__).inc()
            raise
        self._metrics.writes.labels("done").inc()
        return result

    async def _put(
        self, path: str, body: bytes | Spool, content_type: str | None, condition: Condition, namespace: str | None
    ) -> Written:
        async with self._packer.ready(body, condition, content_type) as content:
            return await self._write(path, content, condition, namespace)

    async def _write(self, path: str, change: Change, condition: Condition, namespace: str | None) -> Written:
        is_new = namespace and namespace not in self._replica.namespaces
        notes = [Namespace(namespace)] if namespace and is_new else []
        written = await self._writer.write(path, change, condition, notes)
        self._behind.hurry(path)
        return written

    async def _sweep(self) -> None:
        try:
            await self._lifecycle.run()
        except StorError as why:
            log.info("what has expired stays a while: {why}", why=str(why))
        except Exception:  # noqa: BLE001 - it is logged with its traceback, and tried again at the next sweep
            log.failure("what has expired could not be purged")

    def _tell_progress(self, found: Comparison) -> None:
        log.debug("blobs: compared {objects} objects", objects=found.objects)


def _too_slow(result: object, seconds: float) -> object:
    raise Unavailable(f"the store did not answer in {seconds} s", 1.0)
