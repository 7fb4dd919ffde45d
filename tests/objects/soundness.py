"""What must hold of objects, blobs, usage and files at any time of rest."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from stor.database.promise import Database
from stor.errors import Missing
from stor.objects.core import Objects
from stor.objects.records import StorageClass
from stor.storage.promise import Store
from stor.streams import whole

FOLDERS = ("sha256/", "uploads/")  # of stores, where each file has a row


async def invariants(objects: Objects, *, writing: int = 0) -> None:
    """Raise AssertionError with all that is wrong; `writing` uploads may be under way."""
    wrong = await broken(objects.database, {each: objects.stores[each] for each in StorageClass}, writing)
    if wrong:
        raise AssertionError("\n".join(wrong))


async def broken(database: Database, stores: Mapping[StorageClass, Store], writing: int = 0) -> list[str]:
    """Say what is wrong; at a time of rest."""
    rows = await database.read(Rows)
    wrong = [*rows.wrong_objects(), *rows.wrong_references(), *rows.wrong_usage(), *rows.wrong_copies()]
    if len(rows.writing) != writing:
        wrong.append(f"{len(rows.writing)} rows are WRITING, not {writing}")
    for blob in rows.blobs.values():
        wrong += await _unreadable(blob, stores)
    for each in StorageClass:
        known = {copy for copy, storage_class in rows.copies() if storage_class == each}
        async for page in stores[each].list():
            wrong += [
                f"{listed.key} in {each} has no row"
                for listed in page
                if listed.key not in known and listed.key.startswith(FOLDERS)
            ]
    return wrong


async def _unreadable(blob: "_Blob", stores: Mapping[StorageClass, Store]) -> list[str]:
    if blob.damage is not None:
        return [f"blob {blob.id} is damaged: {blob.damage}"]
    try:
        data = blob.data
        if data is None:
            data = await whole((await stores[blob.storage_class].get(blob.copy)).body, 1 << 30)
    except Missing:
        return [f"blob {blob.id} with {blob.refs} references has no bytes at {blob.copy}"]
    if (sha256(data).hexdigest(), len(data)) != (blob.digest, blob.size):
        return [f"blob {blob.id} has other bytes"]
    return []


@dataclass(frozen=True)
class _Object:
    id: str
    tenant: str
    namespace: str
    key: str
    slot: str | None
    state: str
    storage_class: str
    blob: int | None
    digest: str | None
    size: int
    copy: str | None


@dataclass(frozen=True)
class _Blob:
    id: int
    digest: str
    storage_class: StorageClass
    size: int
    refs: int
    idle_since: int | None
    copy: str | None
    damage: str | None
    data: bytes | None


def _hex(digest: Any) -> str | None:
    return None if digest is None else bytes(digest).hex()


class Rows:
    """All rows, as one transaction sees them."""

    def __init__(self, transaction: Any) -> None:
        read = transaction.execute
        self.objects = [
            _Object(*row[:8], _hex(row[8]), *row[9:])
            for row in read(
                "SELECT id, tenant, namespace, key, slot, state, class, blob, digest, size, copy FROM object"
                " ORDER BY id"
            )
        ]
        self.blobs = {
            row[0]: _Blob(row[0], _hex(row[1]), StorageClass(row[2]), *row[3:])
            for row in read(
                "SELECT id, digest, class, size, refs, idle_since, copy, damage, data FROM object_blob ORDER BY id"
            )
        }
        self.doomed = {row[0]: row[1] for row in read("SELECT copy, class FROM object_doomed")}
        self.parts = read("SELECT copy, class FROM object_upload_part") + read(
            "SELECT coming, class FROM object_upload WHERE coming IS NOT NULL"
        )
        self.usage = {
            tuple(row[:3]): (int(row[3]), int(row[4]))
            for row in read(
                "SELECT tenant, namespace, class, SUM(bytes), SUM(objects) FROM object_usage "
                "GROUP BY tenant, namespace, class"
            )
        }
        self.writing = [each for each in self.objects if each.state == "WRITING"]
        self.referring = [each for each in self.objects if each.state in {"COMMITTED", "DELETING"}]

    def copies(self) -> list[tuple[str, str]]:
        """Give each copy that a row speaks of, with its class."""
        of_blobs = [(blob.copy, blob.storage_class) for blob in self.blobs.values() if blob.copy]
        of_uploads = [(each.copy, each.storage_class) for each in self.writing if each.copy]
        return [*of_blobs, *of_uploads, *self.parts, *self.doomed.items()]

    def wrong_objects(self) -> list[str]:
        """Each key has one owner at most, and each state its slot and its blob."""
        owners = Counter((each.tenant, each.namespace, each.key) for each in self.objects if each.slot == "")
        wrong = [f"{count} objects own the key {key}" for key, count in owners.items() if count > 1]
        for each in self.objects:
            live = each.state in {"WRITING", "COMMITTED"}
            if live != (each.slot is not None) or (each.slot not in {None, "", each.id}):
                wrong.append(f"{each.state} {each.id} has the slot {each.slot!r}")
            if each.state == "COMMITTED" and bool(each.key) != (each.slot == ""):
                wrong.append(f"{each.id} with the key {each.key!r} has the slot {each.slot!r}")
        return wrong

    def wrong_references(self) -> list[str]:
        """`refs` are counted, and what is referred to is there and the same."""
        refs = Counter(each.blob for each in self.referring)
        wrong = [
            f"blob {blob.id} counts {blob.refs} references, there are {refs[blob.id]}"
            for blob in self.blobs.values()
            if blob.refs != refs[blob.id]
        ]
        wrong += [
            f"blob {blob.id} with {blob.refs} references has idle_since {blob.idle_since}"
            for blob in self.blobs.values()
            if (blob.refs == 0) != (blob.idle_since is not None)
        ]
        for each in self.referring:
            blob = self.blobs.get(each.blob)
            if blob is None:
                wrong.append(f"{each.state} {each.id} has no blob")
            elif (blob.digest, blob.storage_class, blob.size) != (each.digest, each.storage_class, each.size):
                wrong.append(f"{each.state} {each.id} is not as its blob {blob.id}")
        return wrong

    def wrong_usage(self) -> list[str]:
        """Usage is the sum of what is COMMITTED."""
        counted: dict[Any, tuple[int, int]] = {}
        for each in self.objects:
            if each.state == "COMMITTED":
                whose = (each.tenant, each.namespace, each.storage_class)
                size, number = counted.get(whose, (0, 0))
                counted[whose] = size + each.size, number + 1
        return [
            f"usage of {whose} is {self.usage.get(whose)}, not {counted.get(whose)}"
            for whose in sorted({*counted, *self.usage})
            if self.usage.get(whose, (0, 0)) != counted.get(whose, (0, 0))
        ]

    def wrong_copies(self) -> list[str]:
        """A copy belongs to one row, and bytes are in one place."""
        wrong = [f"{count} rows speak of {copy}" for copy, count in Counter(self.copies()).items() if count > 1]
        return wrong + [
            f"blob {blob.id} has its bytes in {blob.copy} and {'also' if blob.data is not None else 'not'} in its row"
            for blob in self.blobs.values()
            if blob.damage is None and (blob.copy is None) != (blob.data is not None)
        ]
