"""The object store and where its rows and bytes are, from the settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet.defer import Deferred

from stor.access.presign import Presigner
from stor.assembly.database import database_of
from stor.config import Config, Secret
from stor.database.promise import Database
from stor.folder import kept_secret
from stor.house import House
from stor.objects.api.listing import ListingApi
from stor.objects.api.quotas import QuotasApi
from stor.objects.api.routes import ObjectsApi
from stor.objects.api.searching import SearchingApi
from stor.objects.api.uploads import UploadsApi
from stor.objects.api.usage import UsageApi
from stor.objects.collector import Collector, GcSettings
from stor.objects.core import BUCKET_LINGERS, FOLDER_LINGERS, Objects, Settings
from stor.objects.figures import Figures
from stor.objects.metrics import Metrics
from stor.objects.readiness import Readiness
from stor.objects.records import StorageClass
from stor.objects.resumable.service import Settings as UploadSettings
from stor.objects.resumable.service import Uploads
from stor.objects.scrubber import Scrubber, ScrubSettings
from stor.objects.stuck import abandon
from stor.objects.sweeper import Sweeper
from stor.stack import Stack
from stor.storage.directory import Directory
from stor.storage.s3 import Bucket, BucketSettings
from stor.web.health import Health
from stor.web.routes import Part

Stores = Mapping[StorageClass, Directory | Bucket]


def objects_api(
    config: Config,
    database: Database,
    presigner: Presigner,
    house: House,
    health: Health,
    registry: CollectorRegistry,
    reactor: Any,
) -> ObjectsApi:
    """Give the API, with what it stands on put into the house."""
    stores = _stores(config, reactor)
    for store in stores.values():
        house.add(store)
    metrics = Metrics(registry)
    objects = _objects(config, database, stores, metrics, reactor)
    house.add(objects)
    house.add(Abandon(objects))
    uploads = Uploads(objects, _uploads(config), reactor)
    house.add(uploads)
    _look_after(config, objects, metrics, house, reactor)
    figures = Figures(database, registry, reactor)
    house.add(figures)
    readiness = Readiness(database, stores, folders(config), config.objects.floor_bytes, objects.node, reactor)
    house.add(readiness)
    for name, check in readiness.checks():
        health.add(name, check)
    parts: list[Part] = [
        ListingApi(objects),
        SearchingApi(objects),
        UsageApi(objects, reactor),
        QuotasApi(objects),
        UploadsApi(uploads),
    ]
    return ObjectsApi(objects, presigner, registry, figures.namespaces, parts)


class Abandon(Service):
    """At the start, gives up what a former life of this process has left WRITING."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def startService(self) -> Deferred[int]:
        """Fires when their keys are free."""
        super().startService()
        return Deferred.fromCoroutine(abandon(self._objects))


def _look_after(config: Config, objects: Objects, metrics: Metrics, house: House, reactor: Any) -> None:
    """Put in the house who collects, sweeps and hashes again."""
    said = config.objects
    house.add(Collector(objects, gc_settings(config), metrics, reactor))
    house.add(Sweeper(objects, reactor))
    if said.scrub_bytes_per_second:
        house.add(Scrubber(objects, ScrubSettings(said.scrub_bytes_per_second, said.scrub_days), reactor))


def _uploads(config: Config) -> UploadSettings:
    return UploadSettings(config.objects.resumable_seconds, config.objects.resumable_uploads)


def alone(config: Config, reactor: Any) -> tuple[Stack, Objects]:
    """Give the object store and all it stands on, without the rest of the house; it takes no requests."""
    stack, database, stores = Stack(), database_of(config, reactor), _stores(config, reactor)
    objects = _objects(config, database, stores, Metrics(CollectorRegistry()), reactor)
    for service in (database, *stores.values(), objects):
        stack.add(service)
    return stack, objects


def gc_settings(config: Config) -> GcSettings:
    """Give how the collector works."""
    said = config.objects
    return GcSettings(
        interval=said.gc_interval_seconds,
        batch=said.gc_batch,
        grace_seconds=said.gc_grace_seconds,
        deleted_seconds=said.deleted_seconds,
    )


def folders(config: Config) -> Mapping[StorageClass, Path]:
    """Name the folders of those classes that are kept in one."""
    said = config.objects
    found = {
        StorageClass.HOT: said.hot_folder or config.data / "objects" / "hot",
        StorageClass.COLD: said.cold_folder or config.data / "objects" / "cold",
    }
    return {storage_class: folder for storage_class, folder in found.items() if not _bucket_of(config, storage_class)}


def _objects(config: Config, database: Database, stores: Stores, metrics: Metrics, reactor: Any) -> Objects:
    said = config.objects
    settings = Settings(
        inline_bytes=said.inline_bytes,
        most_bytes=said.max_bytes,
        upload_seconds=said.upload_seconds,
        lingers={each: BUCKET_LINGERS if _bucket_of(config, each) else FOLDER_LINGERS for each in StorageClass},
    )
    return Objects(database, stores, settings, kept_secret(config.data / "node"), metrics, reactor)


def _stores(config: Config, reactor: Any) -> Stores:
    in_folders = folders(config)
    return {
        each: Directory(in_folders[each], reactor) if each in in_folders else _bucket(config, each, reactor)
        for each in StorageClass
    }


def _bucket_of(config: Config, storage_class: StorageClass) -> str:
    said = config.objects
    return said.hot_bucket if storage_class is StorageClass.HOT else said.cold_bucket


def _bucket(config: Config, storage_class: StorageClass, reactor: Any) -> Bucket:
    said = config.objects
    settings = BucketSettings(
        bucket=_bucket_of(config, storage_class),
        endpoint=said.endpoint or None,
        region=said.region,
        access_key=_text(said.access_key),
        secret_key=_text(said.secret_key),
        probe_prefix=".stor/probe/",
    )
    return Bucket(settings, config.data / "tmp", reactor)


def _text(secret: Secret | None) -> str:
    return "" if secret is None else secret.reveal()
