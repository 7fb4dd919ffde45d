"""Whose a store is: what one database knows nothing of may be all that another one has.

Each database has a name of its own, made up once; a store keeps the name of the database and the class that it is used
for. A server that was started with the wrong database, or with a new and empty one, must not take a full store for
rubbish; and one whose disk is not mounted, or whose folders were exchanged, must not take what is full for lost.
"""

from functools import partial
from secrets import token_hex

from stor.database.promise import Database, Transaction
from stor.errors import ConfigError, Missing, PreconditionFailed
from stor.objects.records import StorageClass
from stor.storage.promise import ABSENT, Store
from stor.streams import whole

KEY = "owner"
"""Where a store keeps it."""
_ROW = "identity"
_MOST = 1024


async def owns(database: Database, storage_class: StorageClass, store: Store) -> bool:
    """Tell whether a store is the one of this class and database.

    A store that belongs to nobody is taken, unless there should be copies in it: then it is another one.
    """
    name = await identity(database, storage_class)
    owner = await owner_of(store)
    if owner is None and not await database.read(partial(_has_copies, storage_class=storage_class)):
        owner = await _taken(store, name)
    return owner == name


async def claim(database: Database, storage_class: StorageClass, store: Store) -> None:
    """Raise ConfigError when a store is not the one of this class and database."""
    if not await owns(database, storage_class, store):
        raise ConfigError(
            f"objects: the {storage_class.value} store is not the one that this database knows: is it mounted? "
            "A new database needs an empty store"
        )


async def owner_of(store: Store) -> str | None:
    """Give what a store says whose it is; None when it belongs to nobody."""
    try:
        found = await store.get(KEY)
        return (await whole(found.body, _MOST)).decode(errors="replace")
    except Missing:
        return None
    except ValueError:
        return ""  # no name is that long


async def identity(database: Database, storage_class: StorageClass) -> str:
    """Give what a store of this class and database says; a database that has no name gets one."""
    name = await database.read(_read) or await database.write(partial(_write, name=token_hex(16)))
    return f"{name} {storage_class.value}"


async def _taken(store: Store, name: str) -> str | None:
    try:
        await store.put(KEY, name.encode(), when=ABSENT)
    except PreconditionFailed:  # another process was faster, perhaps with the same database
        return await owner_of(store)
    return name


def _has_copies(tx: Transaction, storage_class: StorageClass) -> bool:
    found = tx.execute(
        "SELECT 1 FROM object_blob WHERE class = ? AND copy IS NOT NULL"
        " UNION ALL SELECT 1 FROM object_upload_part WHERE class = ? LIMIT 1",
        (storage_class.value, storage_class.value),
    )
    return bool(found)


def _read(tx: Transaction) -> str:
    rows = tx.execute("SELECT position FROM object_round WHERE name = ?", (_ROW,))
    return str(rows[0][0]) if rows else ""


def _write(tx: Transaction, name: str) -> str:
    tx.execute(
        "INSERT INTO object_round (name, position, updated_at) VALUES (?, ?, 0) ON CONFLICT DO NOTHING", (_ROW, name)
    )
    return _read(tx)
