"""The object store over real databases and stores for tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from stor.database.postgres import Postgres
from stor.database.sqlite import Sqlite
from stor.objects.collector import Collected, Collector, GcSettings
from stor.objects.core import Objects, Settings
from stor.objects.metrics import Metrics
from stor.objects.records import Created, Draft, Name, StorageClass
from stor.objects.sweeper import sweep
from stor.stack import Stack
from stor.storage.directory import Directory
from stor.storage.s3 import Bucket, BucketSettings
from stor.streams import whole
from tests.blobs.core import client, weed
from tests.objects.soundness import Rows, broken, invariants
from tests.places import folder
from tests.postgres import shared

__all__ = [
    "BACKENDS",
    "KNOWN",
    "LARGE",
    "QUICK",
    "SMALL",
    "Places",
    "Room",
    "Rows",
    "body_of",
    "broken",
    "collect",
    "get",
    "invariants",
    "opened",
    "places",
    "put",
    "started",
]

BACKENDS = ("sqlite+folder", "postgresql+folder", "postgresql+s3")
SMALL, LARGE = 1000, 100_000  # bytes that are kept in the database, and bytes that are not
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
