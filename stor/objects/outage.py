"""Bytes that cannot be read while all others can: a bad sector is no reason to stop."""

from stor.errors import StorError
from stor.objects.core import Objects
from stor.objects.records import StorageClass


async def unless_away(objects: Objects, storage_class: StorageClass, why: StorError) -> None:
    """Return when it is these bytes alone that cannot be had; raise `why` when their store or the database is away."""
    try:
        await objects.stores[storage_class].check()
        await objects.database.read(lambda tx: tx.execute("SELECT 1"))
    except StorError:
        raise why from None
