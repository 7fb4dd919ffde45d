"""Files of uploads that no row speaks of: what a crash, or a process that was too slow, has left."""

from __future__ import annotations

from functools import partial

from stor.objects.ownership import owns
from stor.objects.records import StorageClass
from stor.objects.resumable import rows
from stor.objects.resumable.desk import Desk
from stor.objects.resumable.rules import FOLDER, place_of

AT_ONCE = 200


async def sweep(desk: Desk) -> int:
    """Remove them from all stores that are ours; gives how many.

    A name is used once, and its row is there before its file: so a file that was seen first, and then has no row, never
    will have one again.
    """
    removed = 0
    for storage_class in StorageClass:
        store = desk.objects.stores[storage_class]
        if not await owns(desk.objects.database, storage_class, store):
            continue
        async for page in store.list(FOLDER):
            for start in range(0, len(page), AT_ONCE):
                found = {listed.key: place_of(listed.key) for listed in page[start : start + AT_ONCE]}
                places = {copy: place for copy, place in found.items() if place is not None}
                known = await desk.read(partial(rows.known, places=places))
                for copy in places.keys() - known:
                    await store.delete(copy)
                    removed += 1
    return removed
