"""The object store over real databases and stores for tests, and what must hold of it at any time of rest."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from stor.database.postgres import Postgres
from stor.database.promise import Database
from stor.database.sqlite import Sqlite
from stor.errors import Missing
from stor.objects.collector import Collected, Collector, GcSettings
from stor.objects.core import Objects, Settings
from stor.objects.metrics import Metrics
from stor.objects.records import Created, Draft, Name, StorageClass
from stor.objects.sweeper import sweep
from stor.stack import Stack
from stor.storage.directory import Directory
from stor.storage.promise import Store
from stor.storage.s3 import Bucket, BucketSettings
from stor.streams import whole
from tests.blobs.core import client, weed
from tests.places import folder
from tests.postgres import shared

BACKENDS = ("sqlite+folder", "postgresql+folder", "postgresql+s3")
SMALL, LARGE = 1000, 100_000  # bytes that are kept in the database, and bytes that are not
FOLDERS = ("sha256/", "uploads/")  # of stores, where each file has a row
KNOWN = Name("photos", "acme")
QUICK = Settings(lingers=dict.fromkeys(StorageClass, 0.0))  # doomed copies are due at once, in buckets too


@dataclass(frozen=True)
class Places:
    """Where rows and bytes are; plain values, so that another process can be told."""

    database: str  # a path, or a URL
    folder: str
    buckets: Mapping[str, Mapping[str, str]] | None = None  # class -> settings

    def open_database(self) -> Sqlite | Postgres:
        """Give the database, not started."""
        if "://" in self.database:
            return Postgres(self.database, reactor)
        return Sqlite(Path(self.database), reactor)

    def stores(self) -> dict[StorageClass, Directory | Bucket]:
        """Give a store for each class, not started."""
        return {each: self._store(each) for each in StorageClass}

    def _store(self, storage_class: StorageClass) -> Directory | Bucket:
        place = Path(self.folder) / storage_class
        if self.buckets is None:
            return Directory(place, reactor)
        return Bucket(BucketSettings(**self.buckets[storage_class]), place, reactor)


def places(case: TestCase, backend: str, here: Path | None = None) -> Places:
    """Give empty places, in a folder of their own unless one is given; buckets are emptied for each test anew."""
    database, store = backend.split("+")
    here = here or folder(case)
    url = str(here / "stor.db") if database == "sqlite" else shared().fresh()
    return Places(url, str(here), _empty_buckets() if store == "s3" else None)


def _empty_buckets() -> dict[str, dict[str, str]]:
    server, s3 = weed(), client()
    there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    found = {}
    for each in StorageClass:
        name = f"objects-{each}"
        if name not in there:
            s3.create_bucket(Bucket=name)
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
            for listed in page.get("Contents", []):
                s3.delete_object(Bucket=name, Key=listed["Key"])
        keys = {"access_key": server.access_key, "secret_key": server.secret_key}
        found[each.value] = {"bucket": name, "endpoint": server.endpoint, **keys}
    s3.close()
    return found


class Room(Stack):
    """One process's objects, and all they stand on; `database` and `stores` wrap those as a test likes."""

    def __init__(
        self,
        at: Places,
        settings: Settings = QUICK,
        node: str = "node",
        *,
        database: Callable[[Any], Any] | None = None,
        stores: Callable[[StorageClass, Any], Any] | None = None,
    ) -> None:
        super().__init__()
        self.real_database, self.real_stores = at.open_database(), at.stores()
        for service in (self.real_database, *self.real_stores.values()):
            self.add(service)
        self.database = database(self.real_database) if database else self.real_database
        self.stores = {each: stores(each, store) if stores else store for each, store in self.real_stores.items()}
        self.metrics = Metrics(CollectorRegistry())
        self.objects = Objects(self.database, self.stores, settings, node, self.metrics, reactor)
        self.add(self.objects)


async def started(case: TestCase, room: Room) -> Room:
    """Start it now, stop it after the test unless the test has."""
    case.addCleanup(lambda: room.stopService() if room.running else None)
    await room.startService()
    return room


async def opened(case: TestCase, backend: str, settings: Settings = QUICK) -> Objects:
    """Give objects over empty places of a backend."""
    return (await started(case, Room(places(case, backend), settings))).objects


async def put(objects: Objects, name: Name | str, data: bytes, **draft: Any) -> Created:
    """Upload bytes; a text is a key of `KNOWN`."""
    name = replace(KNOWN, key=name) if isinstance(name, str) else name
    body = objects.receive(Draft(name, **draft), len(data))
    try:
        for start in range(0, len(data), 1 << 18):
            room = body.write(data[start : start + (1 << 18)])
            if room is not None:
                await room
        await body.finish()
        return await objects.create(body)
    except BaseException:
        body.discard()
        raise


async def get(objects: Objects, which: Name | str, start: int = 0, stop: int | None = None) -> bytes:
    """Read what a name, or an id, has."""
    found = await (objects.find_key(which) if isinstance(which, Name) else objects.find(which))
    return await whole(await objects.open(found, start, stop), 1 << 30)


async def collect(objects: Objects) -> Collected:
    """Collect all that nothing refers to now, files without a row too."""
    for each in StorageClass:
        await sweep(objects, each)
    return await Collector(objects, GcSettings(), objects.metrics, reactor).run(grace=0.0)


def body_of(seed: str, size: int) -> bytes:
    """Give bytes that nobody else has."""
    block = sha256(seed.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


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
