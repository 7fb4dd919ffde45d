"""Bytes on their way out, and whether they are what they were: damaged ones are never given.

A copy is trusted while its store says, by its etag, that nothing has touched it since its bytes were last hashed.
Otherwise it is hashed first. What cannot be told by an etag, bits that fall over by themselves, the scrubber finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256

from twisted.logger import Logger

from stor.database.promise import Database, Transaction
from stor.errors import Damaged, Failed, Missing, NotSatisfiable, PreconditionFailed, Unavailable
from stor.objects import rows
from stor.objects.ledger import TRIES
from stor.objects.metrics import Metrics
from stor.objects.ownership import owns
from stor.objects.records import Blob, StorageClass
from stor.storage.promise import Found, Info, Store
from stor.storage.turns import Turns
from stor.streams.stream import Body
from stor.threads import Threads

_NONE = ""  # the etag of bytes in the database, and of what is not there
log = Logger()


def damaged(why: str) -> Failed:
    """Give the error for bytes that are not what they should be."""
    return Failed(f"the stored bytes are damaged ({why}); the same bytes sent again heal them", code="OBJECT_DAMAGED")


class Trust:
    """Opens and hashes what is stored."""

    def __init__(
        self,
        database: Database,
        stores: Mapping[StorageClass, Store],
        now: Callable[[], int],
        threads: Threads,
        metrics: Metrics,
    ) -> None:
        self._database, self._stores, self._now = database, stores, now
        self._threads, self._metrics = threads, metrics
        self._turns = Turns()

    async def open(self, blob: Blob, start: int, stop: int | None) -> Body | None:
        """Give the bytes from `start` to `stop`; None when the blob has another copy by now, or is gone.

        Raises Failed with the code OBJECT_DAMAGED.
        """
        if blob.copy is None:
            return await self._inline(blob, start, stop)
        if blob.damage is not None:
            await self._look_again(blob, blob.copy, blob.damage)
            return None
        found = await self._get(blob, blob.copy, start, stop)
        if found is not None:
            return found.body
        if not await self.verify(blob):
            raise damaged("found out now")
        return None

    async def verify(self, blob: Blob) -> bool:
        """Hash what is stored, and note that it was; False when it is not what it should be, which is noted as well.

        What was replaced or collected meanwhile is nobody's loss: True.
        """
        async with self._turns.of(str(blob.id)):
            now = await self._database.read(partial(rows.blob, blob_id=blob.id))
            if now is None:
                return True
            if now.copy is None:
                return await self._verify_inline(now)
            return await self._verify_copy(now, now.copy)

    async def digest(self, blob: Blob) -> str:
        """Hash what is stored for a blob, and change nothing; Missing when its copy is not in the store."""
        if blob.copy is None:
            return await self._threads.run(_hexdigest, blob.data or b"")
        digest, _ = await self._hash(self._stores[blob.storage_class], blob.copy)
        return digest

    async def _inline(self, blob: Blob, start: int, stop: int | None) -> bytes | None:
        data = blob.data
        if data is None or sha256(data).hexdigest() != blob.digest:
            if blob.damage is not None:
                raise damaged(blob.damage)
            if not await self.verify(blob):
                raise damaged("found out now")
            return None  # they were replaced while we looked
        return data if not start and stop is None else data[start:stop]

    async def _look_again(self, blob: Blob, copy: str, why: str) -> None:
        """Hash damaged bytes once more if they are others by now; raises Failed while they are as they were."""
        try:
            info = await self._stores[blob.storage_class].head(copy)
        except (Missing, Damaged):
            raise damaged(why) from None
        if info.etag == blob.etag or not await self.verify(blob):
            raise damaged(why)

    async def _get(self, blob: Blob, copy: str, start: int, stop: int | None) -> Found | None:
        """Give the bytes if nothing has touched the copy since it was hashed."""
        try:
            found = await self._stores[blob.storage_class].get(copy, start, stop)
        except (Missing, NotSatisfiable, Damaged):
            return None
        if _is_untouched(found.info, blob):
            return found
        _close(found.body)
        return None

    async def _verify_inline(self, blob: Blob) -> bool:
        data = blob.data or b""
        if await self._threads.run(_hexdigest, data) == blob.digest:
            await self._note(blob, _NONE)
            return True
        return await self._mark(blob, _NONE, "the bytes in the database have another hash")

    async def _verify_copy(self, blob: Blob, copy: str) -> bool:
        store = self._stores[blob.storage_class]
        for _ in range(TRIES):
            try:
                digest, info = await self._hash(store, copy)
            except Missing:
                await self._check_store(blob.storage_class)
                return await self._mark(blob, _NONE, "the copy is not in its store")
            except Damaged:
                return await self._mark(blob, _NONE, "the copy was cut off")
            except PreconditionFailed:
                continue  # it was touched while it was read
            if digest == blob.digest and info.size == blob.size:
                await self._note(blob, info.etag)
                return True
            return await self._mark(blob, info.etag, "the copy has another hash")
        raise Unavailable("a stored copy is being changed by somebody", retry_after=1.0)

    async def _hash(self, store: Store, copy: str) -> tuple[str, Info]:
        found = await store.get(copy)
        if isinstance(found.body, bytes):
            return await self._threads.run(_hexdigest, found.body), found.info
        digest = sha256()
        try:
            while piece := await found.body.read():
                await self._threads.run(digest.update, piece)
        except Damaged:
            pass  # it became shorter: its hash says so
        finally:
            found.body.close()
        return digest.hexdigest(), found.info

    async def _note(self, blob: Blob, etag: str) -> None:
        now = self._now()

        def work(tx: Transaction) -> None:
            tx.execute(
                f"UPDATE object_blob SET etag = ?, checked_at = ?, damage = NULL WHERE id = ? AND {_is_same(blob)[0]}",
                (etag, now, blob.id, _is_same(blob)[1]),
            )

        await self._database.write(work)

    async def _mark(self, blob: Blob, etag: str, why: str) -> bool:
        """Note that the bytes are damaged, unless fresh ones have come; False when they are.

        They stay where they are, for whoever wants to look at them, until fresh bytes take their place.
        """
        if await self._database.write(partial(_note_damage, blob=blob, etag=etag, why=why, now=self._now())):
            self._metrics.integrity_errors.inc()
            log.error(
                "damaged: the {kind} blob sha256:{digest}: {why}", digest=blob.digest, kind=blob.storage_class, why=why
            )
            return False
        now = await self._database.read(partial(rows.blob, blob_id=blob.id))
        return now is None or now.damage is None

    async def _check_store(self, storage_class: StorageClass) -> None:
        """Raise Unavailable when the store is not the one that we know: nothing is lost that is only not there."""
        if not await owns(self._database, storage_class, self._stores[storage_class]):
            log.critical("the {kind} store is not the one that this database knows", kind=storage_class)
            raise Unavailable(f"the {storage_class.value} store is not there", retry_after=10.0)


def _note_damage(tx: Transaction, blob: Blob, etag: str, why: str, now: int) -> bool:
    """Mark the blob whose bytes are still those that were looked at; False when they are not, or it was marked."""
    is_same, value = _is_same(blob)
    noted = tx.execute(
        f"UPDATE object_blob SET damage = ?, etag = ?, checked_at = ? WHERE id = ? AND damage IS NULL AND {is_same}"
        " RETURNING id",
        (why, etag, now, blob.id, value),
    )
    return bool(noted)


def _is_same(blob: Blob) -> tuple[str, object]:
    """Give the condition that a row has these very bytes still, and its parameter."""
    return ("copy IS NULL AND data = ?", blob.data) if blob.copy is None else ("copy = ?", blob.copy)


def _is_untouched(info: Info, blob: Blob) -> bool:
    return info.etag == blob.etag and info.size == blob.size


def _hexdigest(data: bytes) -> str:
    return sha256(data).hexdigest()


def _close(body: Body) -> None:
    if not isinstance(body, bytes):
        body.close()
