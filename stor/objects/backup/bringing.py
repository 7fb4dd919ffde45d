"""Bytes of a backup on their way into a store: read, hashed, and put where no row yet refers to them."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from stor.database.promise import Transaction
from stor.objects import commits
from stor.objects.backup.landing import Arrival
from stor.objects.backup.lists import opened
from stor.objects.backup.place import Place, hashed
from stor.objects.commits import Moment
from stor.objects.core import Objects
from stor.objects.ids import copy_name, new_id
from stor.objects.records import Draft, Object, StorageClass
from stor.objects.rows import Stored
from stor.objects.rules import MICROSECONDS
from stor.streams.spool import Spool
from stor.threads import Threads

T = TypeVar("T")
Bytes = tuple[str, StorageClass, int]  # a size that is not that of the bytes is a lie about them
_PIECE = 1 << 20


def bytes_of(one: Object) -> Bytes:
    """Tell what an object refers to."""
    return one.digest, one.storage_class, one.size


class Bringing:
    """Brings what is small as values, and puts what is large as uploads are."""

    def __init__(self, objects: Objects, place: Place, threads: Threads) -> None:
        self._objects, self._place, self._threads = objects, place, threads
        self.small = objects.settings.inline_bytes

    async def read_small(self, some: Iterable[Object]) -> dict[Bytes, Stored]:
        """Read what is small; what the backup does not have as it should be is not in the answer."""
        return await self._threads.run(self._read_small, list(some))

    def _read_small(self, some: Iterable[Object]) -> dict[Bytes, Stored]:
        found = dict[Bytes, Stored]()
        for one in some:
            if one.size <= self.small and self._place.has(one.digest, one.size):
                with opened(self._place.blob(one.digest)) as file:
                    data = file.read(one.size + 1)
                if len(data) == one.size and hashed(data) == one.digest:
                    found[bytes_of(one)] = Stored(one.digest, one.storage_class, one.size, data=data)
        return found

    async def put_large(self, one: Object, then: Callable[[Transaction, Moment, Arrival], T]) -> T | None:
        """Put bytes, having written down where they will be, and run `then`; None when the backup lacks them.

        Whatever happens, a copy that no row refers to in the end is collected.
        """
        spool = await self._spooled(one)
        if spool is None:
            return None
        upload, copy, node = new_id(), copy_name(one.digest), self._objects.node
        draft = Draft(replace(one.name, key=""), one.storage_class)
        try:
            await self.write(lambda tx, at: commits.reserve(tx, at, draft, upload, copy, one.size, node))
            try:
                info = await self._objects.stores[one.storage_class].put(copy, spool)
                arrival = Arrival(one, Stored(one.digest, one.storage_class, one.size, copy, info.etag), upload)
                return await self.write(lambda tx, at: then(tx, at, arrival))
            finally:
                await self._objects.give_up(upload)  # of what has landed there is none any more
        finally:
            spool.discard()

    async def _spooled(self, one: Object) -> Spool | None:
        if not await self._threads.run(self._place.has, one.digest, one.size):
            return None
        spool = self._objects.stores[one.storage_class].spool(one.size, ("sha256",))
        try:
            await self._fill(spool, one)
        except BaseException:
            spool.discard()
            raise
        if spool.digests["sha256"] == one.digest:
            return spool
        spool.discard()
        return None

    async def _fill(self, spool: Spool, one: Object) -> None:
        """Read no more than there should be: the hash tells whether that was all."""
        file = await self._threads.run(opened, self._place.blob(one.digest))
        try:
            while piece := await self._threads.run(file.read, min(_PIECE, one.size - spool.size)):
                wait = spool.write(piece)
                if wait is not None:
                    await wait
        finally:
            self._threads.afterwards(file.close)
        await spool.finish()

    async def write(self, work: Callable[[Transaction, Moment], T]) -> T:
        """Run it in a transaction, as the store's own commits are run."""
        said = self._objects.settings.lingers
        lingers = {each: int(said.get(each, 0.0) * MICROSECONDS) for each in StorageClass}
        at = Moment(self._objects.kind, self._objects.now(), lingers)
        return await self._objects.database.write(lambda tx: work(tx, at))
