"""An object's bytes on their way to another class; from there on they are two copies, each with its references."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from stor.errors import Unavailable
from stor.objects import changes
from stor.objects.ids import copy_name
from stor.objects.ledger import TRIES, Ledger
from stor.objects.receiving import Reserved
from stor.objects.records import Blob, Change, Draft, Found, Object, StorageClass
from stor.objects.rows import Stored
from stor.objects.trust import Trust
from stor.objects.uploading import Uploading
from stor.storage.promise import Store
from stor.streams.spool import Spool
from stor.streams.stream import Body

Find = Callable[[str], Awaitable[Found]]
Open = Callable[[Found], Awaitable[Body]]


class Moving:
    """Moves objects; readers see the one copy or the other, and both are whole."""

    def __init__(
        self,
        ledger: Ledger,
        stores: Mapping[StorageClass, Store],
        uploading: Uploading,
        trust: Trust,
        find: Find,
        open_: Open,
    ) -> None:
        self._ledger, self._stores, self._uploading, self._trust = ledger, stores, uploading, trust
        self._find, self._open = find, open_

    async def move(self, found: Found, target: StorageClass, asked: Change) -> Object | None:
        """Move an object and change what else is asked for at once; None when it is in that class by now.

        Missing when it is deleted meanwhile.
        """
        for _ in range(TRIES):
            if found.object.storage_class is target:
                return None
            moved = await self._moved(found, target, asked)
            if moved is not None:
                return moved
            found = await self._find(found.object.id)
        raise Unavailable("the object's bytes are replaced too often to be moved", retry_after=0.1)

    async def _moved(self, found: Found, target: StorageClass, asked: Change) -> Object | None:
        """Move it from the blob that it was found with; None when it has another by now."""
        body = await self._open(found)
        if isinstance(body, bytes) and found.blob.data is not None:
            stored = Stored(found.blob.digest, target, found.blob.size, data=body)
            return await self._refer(found, asked, stored, None)
        try:
            return await self._copied(body, found, target, asked)
        finally:
            if not isinstance(body, bytes):
                body.close()

    async def _copied(self, body: Body, found: Found, target: StorageClass, asked: Change) -> Object | None:
        """Put the bytes into the other store, and have the object refer to them there."""
        copy = copy_name(found.blob.digest)
        draft = Draft(replace(found.object.name, key=""), target)
        writing = await self._uploading.begin(draft, None, copy)  # it asks for no room: the object has some already
        try:
            stored = await self._put(body, target, found.blob, copy, writing)
            return await self._refer(found, asked, stored, writing.id)
        finally:
            await self._uploading.give_up(writing.id)  # of what is moved there is none any more

    async def _refer(self, found: Found, asked: Change, stored: Stored, writing: str | None) -> Object | None:
        moved, blob = found.object.id, found.blob.id
        return await self._ledger.write(lambda tx, at: changes.move(tx, at, moved, asked, blob, stored, writing))

    async def _put(self, body: Body, target: StorageClass, blob: Blob, copy: str, writing: Reserved) -> Stored:
        """Take stored bytes into a spool of another store, see that they are right, and put them there."""
        spool = self._stores[target].spool(blob.size, ("sha256",))
        try:
            await _pour(body, spool)
            await self._check(spool, blob)
            return await self._uploading.put(spool, target, copy, writing)
        except BaseException:
            spool.discard()
            raise

    async def _check(self, spool: Spool, blob: Blob) -> None:
        if spool.digests["sha256"] != blob.digest:
            await self._trust.verify(blob)
            raise Unavailable("the stored bytes are not what they should be", retry_after=1.0)


async def _pour(body: Body, spool: Spool) -> None:
    if isinstance(body, bytes):
        spool.write(body)
    else:
        while piece := await body.read():
            wait = spool.write(piece)
            if wait is not None:
                await wait
    await spool.finish()
