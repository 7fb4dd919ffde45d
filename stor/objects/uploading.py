"""How bytes come to be an object: small ones in one transaction, large ones written down before they are put."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from twisted.internet.task import LoopingCall

from stor.database.promise import Transaction
from stor.errors import Failed, Unavailable
from stor.objects import commits, rows
from stor.objects.debts import Debts
from stor.objects.ids import copy_name, new_id
from stor.objects.ledger import Ledger
from stor.objects.metrics import Metrics
from stor.objects.receiving import Receiving, Reserved
from stor.objects.records import Created, Draft, StorageClass
from stor.objects.rows import Stored
from stor.objects.smalls import Small, SmallUploads
from stor.objects.working import Working
from stor.storage.promise import Store
from stor.streams.spool import Spool

Also = Callable[[Transaction, Created], None]
_REFRESHED = 4  # times in the time after which an upload is given up


class Uploading:
    """The `Desk` of uploads; `seconds` after it was last heard of an upload may be given up by anybody."""

    def __init__(
        self,
        ledger: Ledger,
        stores: Mapping[StorageClass, Store],
        working: Working,
        metrics: Metrics,
        reactor: Any,
        *,
        inline_bytes: int,
        seconds: float,
        node: str,
    ) -> None:
        self._ledger, self._stores, self._working, self._metrics = ledger, stores, working, metrics
        self._reactor, self._inline_bytes, self._node = reactor, inline_bytes, node
        self._refresh_seconds = seconds / _REFRESHED
        self._smalls = SmallUploads(ledger.write, ledger.commit)
        self._debts = Debts(self.give_up, working, reactor)

    async def create(self, body: Receiving, also: Also | None) -> Created:
        """Make an object of a body that is finished; see `Objects.create`."""
        begun = self._reactor.seconds()
        spool, draft = body.spool, body.draft
        try:
            if spool.data is not None and spool.size <= self._inline_bytes:
                stored = Stored(spool.digests["sha256"], draft.storage_class, spool.size, data=spool.data)
                made = await self._create_small(Small(draft, new_id(), stored), also)
                times = self._metrics.small_uploads
            else:
                made = await self._create_large(body, also)
                times = self._metrics.large_uploads
        except BaseException:
            body.discard()
            raise
        body.committed()
        times.observe(self._reactor.seconds() - begun)
        return made

    async def reserve(self, draft: Draft, announced: int | None) -> Reserved:
        """Write down that an upload is under way; raises what forbids it already."""
        return await self.begin(draft, announced, None)

    async def begin(self, draft: Draft, announced: int | None, copy: str | None) -> Reserved:
        """Write down that an upload is under way, and under which key its bytes will be when that is known."""
        object_id, node = new_id(), self._node
        try:
            most = await self._ledger.commit(
                lambda tx, at: commits.reserve(tx, at, draft, object_id, copy, announced, node)
            )
        except Unavailable:  # it may have been written down all the same
            self._debts.owe(object_id)
            raise
        return Reserved(object_id, self._reactor.seconds(), most)

    async def put(self, spool: Spool, storage_class: StorageClass, copy: str, reserved: Reserved) -> Stored:
        """Make the bytes durable under their key, which must be written down already."""
        digest, size = spool.digests["sha256"], spool.size
        async with self._kept_alive(reserved):
            info = await self._stores[storage_class].put(copy, spool)
        if info.size != size:
            raise Failed("the store has kept another number of bytes than it was given")
        return Stored(digest, storage_class, size, copy, info.etag)

    def refresh(self, reserved: Reserved) -> None:
        """Say that an upload is still under way, when that was not said for long."""
        now = self._reactor.seconds()
        if now - reserved.said_at > self._refresh_seconds:
            reserved.said_at = now
            work = partial(_touch, object_id=reserved.id, now=self._ledger.now())
            self._working.begin(self._ledger.database.write(work))

    def let_go(self, reserved: Reserved) -> None:
        """Give an upload up, some time soon."""
        self._debts.owe(reserved.id)

    async def give_up(self, object_id: str) -> None:
        """Remove an upload that is WRITING; nothing happens to any other object."""
        await self._ledger.write(lambda tx, at: rows.give_up(tx, object_id, at.now))

    def stop(self) -> None:
        """Leave what could not be given up to the next start."""
        self._debts.stop()

    async def _create_small(self, small: Small, also: Also | None) -> Created:
        if also is None:
            return await self._smalls.put(small)
        return await self._ledger.commit(lambda tx, at: _and(tx, small.commit(tx, at), also))

    async def _create_large(self, body: Receiving, also: Also | None) -> Created:
        draft, spool = body.draft, body.spool
        copy = copy_name(spool.digests["sha256"])
        reserved = body.reserved
        if reserved is None:
            reserved = body.reserved = await self.begin(draft, spool.size, copy)
        else:
            named, size = reserved.id, spool.size
            await self._ledger.write(lambda tx, at: commits.name_copy(tx, at, draft, named, copy, size))
        stored, object_id = await self.put(spool, draft.storage_class, copy, reserved), reserved.id
        return await self._ledger.commit(
            lambda tx, at: _and(tx, commits.commit_large(tx, at, draft, object_id, stored), also)
        )

    @asynccontextmanager
    async def _kept_alive(self, reserved: Reserved) -> AsyncIterator[None]:
        """Say again and again that it is under way: a store may take longer than an upload may be silent."""
        again = LoopingCall(self.refresh, reserved)
        again.clock = self._reactor
        again.start(self._refresh_seconds, now=False)
        try:
            yield
        finally:
            again.stop()


def _and(tx: Transaction, made: Created, also: Also | None) -> Created:
    if also is not None:
        also(tx, made)
    return made


def _touch(tx: Transaction, object_id: str, now: int) -> None:
    tx.execute("UPDATE object SET updated_at = ? WHERE id = ? AND state = 'WRITING'", (now, object_id))
