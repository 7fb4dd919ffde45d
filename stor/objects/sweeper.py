"""The sweeper: what a store has and no row speaks of, left by uploads that died or woke up too late, is removed."""

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from twisted.logger import Logger

from stor.database.promise import Transaction
from stor.errors import Failed, Missing, StorError
from stor.objects import copies, rows
from stor.objects.core import Objects
from stor.objects.every import Every
from stor.objects.ownership import owns
from stor.objects.pace import REST
from stor.objects.records import StorageClass
from stor.objects.rounds import Round, Step
from stor.objects.several import together
from stor.storage.promise import Store

LOOK_SECONDS = 60.0  # between two looks whether a round is due
ROUND_SECONDS = 86400.0
log = Logger()


class Sweeper(Every):
    """Goes through each store's copies once a day, and dooms those that nobody has.

    It needs no time-out, however long an upload takes. An upload writes down the name of its copy before it puts
    anything there (WRITING); from then on the name is in a row: in the upload's, then in the blob's, then in the one
    of doomed copies. It goes from one to the next inside a transaction, and when it has left the last, it is never
    used again. So of a file that was seen first, and whose name is then, in one state of the database, in none of
    these rows, it is certain that nobody will ever want it. An upload that was given up while it still put its bytes
    leaves such a file; it has no row left to commit.

    Stores that belong to another database are not touched.
    """

    def __init__(self, objects: Objects, reactor: Any, period: float = ROUND_SECONDS) -> None:
        super().__init__(LOOK_SECONDS, self._look, reactor)
        self._objects = objects
        self._rounds = {
            each: Round(
                f"sweep-{each.value}",
                partial(self._walk, each),
                period,
                objects.node,
                objects.database,
                objects.now,
                reactor,
            )
            for each in objects.stores
        }
        self._foreign: set[StorageClass] = set()

    async def _look(self) -> None:
        await together(self._go(each) for each in self._rounds)

    async def _go(self, storage_class: StorageClass) -> None:
        if await self._is_ours(storage_class) and await self._rounds[storage_class].run():
            await sweep_parts(self._objects, storage_class)

    async def _is_ours(self, storage_class: StorageClass) -> bool:
        ours = await owns(self._objects.database, storage_class, self._objects.stores[storage_class])
        if ours:
            self._foreign.discard(storage_class)
        elif storage_class not in self._foreign:
            self._foreign.add(storage_class)
            log.critical("the {kind} store belongs to another database: its files are left alone", kind=storage_class)
        return ours

    async def _walk(self, storage_class: StorageClass, after: str) -> AsyncGenerator[Step, None]:
        """Rest as the collector does, so that uploads hardly notice."""
        began = perf_counter()
        async for page in self._objects.stores[storage_class].list(copies.FOLDER, after):
            found = await sweep_page(self._objects, storage_class, [each.key for each in page])
            if found:
                log.info("{n} files of the {kind} store have no row", n=len(found), kind=storage_class.value)
            yield Step(page[-1].key, (perf_counter() - began) * REST[self._objects.kind])
            began = perf_counter()


async def sweep(objects: Objects, storage_class: StorageClass) -> int:
    """Go through one store now, which must be ours; give how many files were doomed."""
    await sweep_parts(objects, storage_class)
    pages = objects.stores[storage_class].list(copies.FOLDER)
    return sum([len(await sweep_page(objects, storage_class, [each.key for each in page])) async for page in pages])


async def sweep_parts(objects: Objects, storage_class: StorageClass) -> int:
    """Have a store forget the uploads in parts that nobody will end; gives how many.

    It is with them as with files: their row is there before they are begun, so what no upload or blob has any more is
    either doomed or in no row, and from there no name comes back.
    """
    store, done = objects.stores[storage_class], 0
    try:
        async for page in store.unfinished(copies.FOLDER):
            ours = [one for one in page if copies.digest_in(one.key) is not None]
            wanted = await objects.database.read(partial(copies.wanted, copies=[one.key for one in ours]))
            for one in ours:
                if one.key not in wanted:
                    await store.abandon(one)
                    done += 1
    except StorError as why:  # some servers do not list them, or not to us
        log.warn("uploads in parts to the {kind} store are left: {why}", kind=storage_class.value, why=why)
    if done:
        log.info("{n} uploads in parts to the {kind} store had no row", n=done, kind=storage_class.value)
    return done


async def sweep_page(objects: Objects, storage_class: StorageClass, page: Sequence[str]) -> Sequence[str]:
    """Doom those of the listed keys that no row speaks of, and give them."""
    found = await strays(objects, storage_class, page)
    if found:
        await objects.database.write(partial(_doom, found=found, storage_class=storage_class, due=objects.now()))
    return found


async def strays(objects: Objects, storage_class: StorageClass, page: Sequence[str]) -> Sequence[str]:
    """Give those of the listed keys that no row speaks of.

    What was collected since it was listed has no row either: so those that seem to have none are looked for again.
    """
    found = await objects.database.read(partial(copies.strays, copies=page))
    return [copy for copy in found if await _is_there(objects.stores[storage_class], copy)]


async def _is_there(store: Store, copy: str) -> bool:
    try:
        await store.head(copy)
    except Missing:
        return False
    except Failed:
        pass  # it was cut off, and is a file all the same
    return True


def _doom(tx: Transaction, found: Sequence[str], storage_class: StorageClass, due: int) -> None:
    for copy in found:
        rows.doom(tx, copy, storage_class, due)
