"""The object store itself: names and bytes over a database and a store for each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from stor.database.promise import Database
from stor.errors import TooLarge, Unavailable
from stor.objects import changes, commits, rows
from stor.objects.commits import missing
from stor.objects.ids import is_id, new_id
from stor.objects.ledger import TRIES, Ledger
from stor.objects.lookups import Lookups
from stor.objects.metrics import Metrics
from stor.objects.moving import Moving
from stor.objects.ownership import claim
from stor.objects.receiving import Receiving
from stor.objects.records import Blob, Change, Created, Draft, Found, Name, Object, StorageClass
from stor.objects.trust import Trust
from stor.objects.uploading import Also, Uploading
from stor.objects.working import Working
from stor.storage.promise import Store
from stor.streams.stream import Body
from stor.threads import Threads

EARLY_BYTES = 1 << 20  # an upload beyond that takes its key before its bytes are here
THREADS = 2  # that hash
log = Logger()
FOLDER_LINGERS, BUCKET_LINGERS = 0.0, 900.0  # an open file outlives its name, an answer of S3 perhaps not


@dataclass(frozen=True, slots=True)
class Settings:
    """Sizes in bytes, times in seconds; `lingers`: how long a copy stays that nothing refers to any more."""

    inline_bytes: int = 64 * 1024
    most_bytes: int = 10 << 30
    upload_seconds: float = 3600.0
    lingers: Mapping[StorageClass, float] = field(default_factory=dict)


class Objects(Service):
    """Readers see what is committed, whole; what is acknowledged is durable. Any number of processes may be at work.

    Neither the database nor the stores are started here. `node` is the name of this process' data folder: what it has
    left WRITING when it died is given up at its next start. Every error's `code` is a name for programs.
    """

    def __init__(
        self,
        database: Database,
        stores: Mapping[StorageClass, Store],
        settings: Settings,
        node: str,
        metrics: Metrics,
        reactor: Any,
    ) -> None:
        self.database, self.stores, self.settings, self.node = database, stores, settings, node
        self.kind, self.metrics = database.kind, metrics
        self._ledger, self._working = Ledger(database, settings.lingers), Working()
        self._threads = Threads("objects", THREADS, reactor)
        self._trust = Trust(database, stores, self.now, self._threads, metrics)
        self._uploading = Uploading(
            self._ledger,
            stores,
            self._working,
            metrics,
            reactor,
            inline_bytes=settings.inline_bytes,
            seconds=settings.upload_seconds,
            node=node,
        )
        self._moving = Moving(self._ledger, stores, self._uploading, self._trust, self.find, self.open)
        self._by_id = Lookups[str, Found](database, partial(rows.by_ids, kind=self.kind), "")
        self._by_name = Lookups[Name, Found](database, partial(rows.by_names, kind=self.kind), Name("", ""))

    def startService(self) -> Deferred[None]:
        """Take work; fires when the stores are known to be ours, or are away. ConfigError when they are others."""
        super().startService()
        self._threads.startService()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        for storage_class, store in self.stores.items():
            try:
                await claim(self.database, storage_class, store)
            except Unavailable as away:
                log.warn("the {kind} store is away: {why}", kind=storage_class, why=away)

    def stopService(self) -> Deferred[None]:
        """End when what is under way has ended."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._working.settled()
        self._uploading.stop()
        await self._threads.stopService()

    def now(self) -> int:
        """Give the time in microseconds since 1970."""
        return self._ledger.now()

    # ---- bytes that come

    def receive(self, draft: Draft, announced: int | None) -> Receiving:
        """Give a place for an upload's body of `announced` bytes (None: unknown); TooLarge when that is too much."""
        most = self.settings.most_bytes
        if announced is not None and announced > most:
            raise TooLarge(f"an object has at most {most} bytes", context={"limit": str(most)})
        names = dict.fromkeys(["sha256", *draft.expected])
        spool = self.stores[draft.storage_class].spool(most, tuple(names))
        return Receiving(self._uploading, draft, announced, spool, EARLY_BYTES)

    async def create(self, body: Receiving, also: Also | None = None) -> Created:
        """Make an object of a body that is finished; `also` is done in the same transaction, and may still prevent it.

        Raises Conflict (KEY_TAKEN, KEY_BEING_WRITTEN), PreconditionFailed, Full or TooLarge (QUOTA_EXCEEDED). Who stops
        waiting for it does not end it: it is not known then whether there is an object.
        """
        return await self._working.finish(self._uploading.create(body, also))

    async def adopt(self, draft: Draft, digest: str) -> Created:
        """Make an object of bytes that its own tenant holds already; Missing (CONTENT_NOT_FOUND) when it does not."""
        made = await self._ledger.commit(lambda tx, at: commits.adopt(tx, at, draft, new_id(), digest))
        if made.is_new and made.object.storage_class is not draft.storage_class:
            moved = await self.change(made.object.id, Change(storage_class=draft.storage_class))
            return Created(moved, is_new=True)
        return made

    async def give_up(self, object_id: str) -> None:
        """Remove an upload that is WRITING: its key is free, and whoever still puts its bytes cannot commit them."""
        await self._uploading.give_up(object_id)

    async def give_up_key(self, name: Name) -> bool:
        """Remove the upload that is WRITING to a key, whosever it is; False when there is none."""
        return await self._ledger.write(lambda tx, at: commits.give_up_key(tx, at, name))

    # ---- bytes that go

    async def find(self, object_id: str) -> Found:
        """Give a committed object by its id; Missing (OBJECT_NOT_FOUND)."""
        found = await self._by_id.get(object_id) if is_id(object_id) else None
        if found is None:
            raise missing(object_id)
        return found

    async def find_key(self, name: Name) -> Found:
        """Give a committed object by its key; Missing (OBJECT_NOT_FOUND)."""
        found = await self._by_name.get(name)
        if found is None:
            raise missing(name.key)
        return found

    async def open(self, found: Found, start: int = 0, stop: int | None = None) -> Body:
        """Give bytes `start` to `stop` (exclusive) of an object; Failed (OBJECT_DAMAGED) rather than wrong ones."""
        for _ in range(TRIES):
            body = await self._trust.open(found.blob, start, stop)
            if body is not None:
                return body
            found = await self.find(found.object.id)
        raise Unavailable("the object's bytes are replaced too often to be read", retry_after=0.1)

    async def verify(self, blob: Blob) -> bool:
        """Hash what is stored for a blob; False when it is not what it should be: it is marked, and put aside."""
        return await self._trust.verify(blob)

    async def digest(self, blob: Blob) -> str:
        """Give the SHA-256 of what is stored for a blob, and change nothing; Missing when its copy is not there."""
        return await self._trust.digest(blob)

    async def holds(self, tenant: str, digest: str) -> int:
        """Give the size of bytes that a committed object of this tenant has; Missing (CONTENT_NOT_FOUND)."""
        return await self.database.read(lambda tx: commits.held_size(tx, tenant, digest))

    # ---- objects that change

    async def change(self, object_id: str, change: Change, match: frozenset[str] | None = None) -> Object:
        """Change what is said about an object, and where its bytes are, at once; Missing, PreconditionFailed."""
        found = await self.find(object_id)
        commits.check_match(found.object, match)
        if change.storage_class is not None and change.storage_class is not found.object.storage_class:
            moved = await self._working.finish(self._moving.move(found, change.storage_class, change))
            if moved is not None:
                return moved
        return await self._ledger.write(lambda tx, at: changes.change(tx, at, object_id, change, match))

    async def delete(self, object_id: str, match: frozenset[str] | None = None) -> None:
        """Hide an object for ever and free its key; the bytes go later. Missing, PreconditionFailed."""
        await self._ledger.write(lambda tx, at: commits.delete(tx, at, object_id, match))
