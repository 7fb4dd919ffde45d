"""Objects, blobs and doomed copies as rows: the statements that several modules need, each run in a transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from msgspec import json

from stor.database.promise import Row, Transaction
from stor.objects.records import Blob, Found, Name, Object, State, StorageClass

T = TypeVar("T")

FOR_UPDATE = {"sqlite": "", "postgresql": " FOR UPDATE"}  # SQLite has one writer at a time
C = {"sqlite": "", "postgresql": ' COLLATE "C"'}  # what a text needs to be looked up in an index of ours
SKIP_LOCKED = {"sqlite": "", "postgresql": " FOR UPDATE SKIP LOCKED"}

OBJECT = (
    "object.id, object.tenant, object.namespace, object.key, object.state, object.class, object.digest, object.size, "
    "object.content_type, object.metadata, object.created_at, object.updated_at"
)
BLOB = (
    "object_blob.id, object_blob.digest, object_blob.class, object_blob.size, object_blob.copy, object_blob.etag, "
    "object_blob.damage, object_blob.data"
)
FOUND = f"{OBJECT}, {BLOB}"
_OBJECT_COLUMNS = 12
_ATTACH = (
    "INSERT INTO object_blob (digest, class, size, refs, copy, etag, checked_at, data) VALUES (?, ?, ?, 1, ?, ?, ?, ?)"
    " ON CONFLICT (digest, class) DO UPDATE SET refs = object_blob.refs + 1, idle_since = NULL"
)
# Each that is wanted is looked up in an index, one by one: PostgreSQL without statistics would read the whole table.
_EACH = {
    "sqlite": "FROM wanted JOIN object ON {}",
    "postgresql": "FROM wanted CROSS JOIN LATERAL (SELECT * FROM object WHERE {} LIMIT 1) AS object",
}
_BY_ID = {kind: each.format(f"object.id = wanted.id{C[kind]}") for kind, each in _EACH.items()}
_OWNERS = {
    kind: each.format(
        f"object.tenant = wanted.tenant{C[kind]} AND object.namespace = wanted.namespace{C[kind]}"
        f" AND object.key = wanted.key{C[kind]} AND object.slot = '' AND object.slot IS NOT NULL"
    )
    for kind, each in _EACH.items()
}
RELEASE = (
    "UPDATE object_blob SET refs = refs - ?, idle_since = CASE WHEN refs = ? THEN ? ELSE idle_since END WHERE id = ?"
)
DOOM = "INSERT INTO object_doomed (copy, class, due, claimed_until) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING"
_INSERT = (
    "INSERT INTO object (id, tenant, namespace, key, slot, state, class, blob, digest, size, content_type, metadata,"
    " created_at, updated_at"
)
_MARKS = ", ".join(["?"] * 14)
_MOST_ROWS = 64
_ATTACH_DATA = f"{_ATTACH}, damage = NULL, data = excluded.data RETURNING id, copy"
_ATTACH += " RETURNING id, copy"


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes that are about to be referred to: in `data`, or durable under `copy`, with the `etag` that it has."""

    digest: str
    storage_class: StorageClass
    size: int
    copy: str | None = None
    etag: str = ""
    data: bytes | None = None


def object_of(row: Row) -> Object:
    """Read a row of the columns OBJECT."""
    object_id, tenant, namespace, key, state, storage_class, digest, size, content_type, metadata, *times = row
    return Object(
        object_id,
        Name(namespace, tenant, key),
        State(state),
        StorageClass(storage_class),
        "" if digest is None else digest.hex(),
        size,
        content_type,
        {} if metadata == "{}" else json.decode(metadata),
        *times,
    )


def blob_of(row: Row) -> Blob:
    """Read a row of the columns BLOB."""
    blob_id, digest, storage_class, *rest = row
    return Blob(blob_id, digest.hex(), StorageClass(storage_class), *rest)


def found_of(row: Row) -> Found:
    """Read a row of the columns FOUND."""
    return Found(object_of(row[:_OBJECT_COLUMNS]), blob_of(row[_OBJECT_COLUMNS:]))


def owner(tx: Transaction, kind: str, name: Name) -> Object | None:
    """Give who has a key now, WRITING or COMMITTED, and lock its row."""
    rows = tx.execute(
        f"SELECT {OBJECT} FROM object WHERE tenant = ? AND namespace = ? AND key = ? AND slot = ''"
        f" AND slot IS NOT NULL{FOR_UPDATE[kind]}",
        (name.tenant, name.namespace, name.key),
    )
    return object_of(rows[0]) if rows else None


def committed(tx: Transaction, kind: str, object_id: str) -> Object | None:
    """Give a committed object, and lock its row."""
    rows = tx.execute(
        f"SELECT {OBJECT} FROM object WHERE id = ? AND state = 'COMMITTED'{FOR_UPDATE[kind]}", (object_id,)
    )
    return object_of(rows[0]) if rows else None


def insert(
    tx: Transaction,
    made: Object,
    *,
    slot: str,
    blob: int | None = None,
    node: str | None = None,
    copy: str | None = None,
) -> None:
    """Add an object, WRITING or COMMITTED."""
    tx.execute(f"{_INSERT}, node, copy) VALUES ({_MARKS}, ?, ?)", (*_values(made, slot, blob), node, copy))


def insert_many(tx: Transaction, made: Sequence[tuple[Object, int]]) -> None:
    """Add committed objects, each with its blob."""
    for some in powers(made):
        values = [_values(each, "" if each.name.key else each.id, blob) for each, blob in some]
        marks = ", ".join([f"({_MARKS})"] * len(some))
        tx.execute(f"{_INSERT}) VALUES {marks}", [value for row in values for value in row])


def _values(made: Object, slot: str, blob: int | None) -> tuple[object, ...]:
    name = made.name
    return (
        made.id,
        name.tenant,
        name.namespace,
        name.key,
        slot,
        made.state.value,
        made.storage_class.value,
        blob,
        bytes.fromhex(made.digest) if made.digest else None,
        made.size,
        made.content_type,
        metadata_text(made.metadata),
        made.created_at,
        made.updated_at,
    )


def powers(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Divide into pieces of 64, 32, 16 … 1: few lengths make few statements, which the databases then know."""
    start = 0
    while start < len(items):
        size = min(_MOST_ROWS, 1 << ((len(items) - start).bit_length() - 1))
        yield items[start : start + size]
        start += size


def metadata_text(metadata: object) -> str:
    """Give metadata as it is kept: a JSON object, its names in order."""
    return json.encode(metadata, order="sorted").decode() if metadata else "{}"


def attach(tx: Transaction, stored: Stored, now: int, due: int) -> int:
    """Count one reference more to these bytes, and give their blob's id; what was there before is replaced by them.

    The fresh bytes win: who sent them knows what they are, and what was stored could have been damaged since. A former
    copy may be removed from `due` on.
    """
    ((blob_id, former),) = tx.execute(
        _ATTACH if stored.data is None else _ATTACH_DATA,
        (
            bytes.fromhex(stored.digest),
            stored.storage_class.value,
            stored.size,
            stored.copy,
            stored.etag,
            now,
            stored.data,
        ),
    )
    if former != stored.copy:
        replace_bytes(tx, blob_id, former, stored, now, due)
    return int(blob_id)


def attach_many(tx: Transaction, uploads: Sequence[tuple[Stored, int]], now: int) -> list[Row]:
    """Count so many references more to each of these bytes, which differ and are all to be kept in the blob's row.

    Gives rows of (blob id, digest, class, former copy), see `attach`.
    """
    found: list[Row] = []
    for some in powers(uploads):
        marks = ", ".join(["(?, ?, ?, ?, '', ?, ?)"] * len(some))
        values = [
            (bytes.fromhex(stored.digest), stored.storage_class.value, stored.size, count, now, stored.data)
            for stored, count in some
        ]
        found += tx.execute(
            f"INSERT INTO object_blob (digest, class, size, refs, etag, checked_at, data) VALUES {marks}"
            " ON CONFLICT (digest, class) DO UPDATE SET refs = object_blob.refs + excluded.refs, idle_since = NULL,"
            " damage = NULL, data = excluded.data RETURNING id, digest, class, copy",
            [value for row in values for value in row],
        )
    return found


def replace_bytes(tx: Transaction, blob_id: int, former: str | None, stored: Stored, now: int, due: int) -> None:
    """Have a blob, whose row we hold, refer to fresh bytes; dooms its former copy."""
    if former is not None:
        doom(tx, former, stored.storage_class, due)
    tx.execute(
        "UPDATE object_blob SET copy = ?, etag = ?, checked_at = ?, damage = NULL, data = ? WHERE id = ?",
        (stored.copy, stored.etag, now, stored.data, blob_id),
    )


def refer(tx: Transaction, blob_id: int) -> None:
    """Count one reference more to a blob whose row we hold."""
    tx.execute("UPDATE object_blob SET refs = refs + 1, idle_since = NULL WHERE id = ?", (blob_id,))


def release(tx: Transaction, blob_id: int, count: int, now: int) -> None:
    """Count so many references less; a blob without any is idle from `now` on."""
    tx.execute(RELEASE, (count, count, now, blob_id))


def doom(tx: Transaction, copy: str, storage_class: StorageClass, due: int) -> None:
    """Have a copy that nothing refers to removed from `due` on."""
    tx.execute(DOOM, (copy, storage_class.value, due))


def give_up(tx: Transaction, object_id: str, due: int) -> bool:
    """Remove an upload that is WRITING, so that it can never be committed, and doom its copy; False if it is not."""
    rows = tx.execute("DELETE FROM object WHERE id = ? AND state = 'WRITING' RETURNING copy, class", (object_id,))
    for copy, storage_class in rows:
        if copy is not None:
            doom(tx, copy, StorageClass(storage_class), due)
    return bool(rows)


def by_ids(tx: Transaction, keys: Sequence[str], kind: str) -> dict[str, Found]:
    """Give the committed objects among these."""
    wanted = ", ".join(["(?)"] * len(keys))
    rows = tx.execute(
        f"WITH wanted(id) AS (VALUES {wanted}) SELECT {FOUND} {_BY_ID[kind]}"
        " JOIN object_blob ON object_blob.id = object.blob WHERE object.state = 'COMMITTED'",
        keys,
    )
    return {row[0]: found_of(row) for row in rows}


def owned(tx: Transaction, names: Sequence[Name], kind: str) -> set[Name]:
    """Give those of these keys that are taken, by an object or by an upload."""
    found: set[Name] = set()
    for some in powers(names):
        texts, joined = _wanted(some)
        taken = tx.execute(f"{joined} SELECT object.tenant, object.namespace, object.key {_OWNERS[kind]}", texts)
        found |= {Name(namespace, tenant, key) for tenant, namespace, key in taken}
    return found


def by_names(tx: Transaction, keys: Sequence[Name], kind: str) -> dict[Name, Found]:
    """Give the committed objects that have these keys."""
    texts, wanted = _wanted(keys)
    rows = tx.execute(
        f"{wanted} SELECT {FOUND} {_OWNERS[kind]} JOIN object_blob ON object_blob.id = object.blob"
        " WHERE object.state = 'COMMITTED'",
        texts,
    )
    found = map(found_of, rows)
    return {each.object.name: each for each in found}


def _wanted(names: Sequence[Name]) -> tuple[list[str], str]:
    """Give the parameters and the beginning of a query that asks for several keys."""
    marks = ", ".join(["(?, ?, ?)"] * len(names))
    texts = [text for name in names for text in (name.tenant, name.namespace, name.key)]
    return texts, f"WITH wanted(tenant, namespace, key) AS (VALUES {marks})"


def blob(tx: Transaction, blob_id: int) -> Blob | None:
    """Give a blob as it is now."""
    rows = tx.execute(f"SELECT {BLOB} FROM object_blob WHERE id = ?", (blob_id,))
    return blob_of(rows[0]) if rows else None
