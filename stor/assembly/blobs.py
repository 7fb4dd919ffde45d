"""The blob sync API and where its bytes are, from the settings."""

from typing import Any

from prometheus_client import CollectorRegistry

from stor.assembly.database import database_of
from stor.blobs.api.routes import BlobsApi
from stor.blobs.history import Retention
from stor.blobs.journal import Journal
from stor.blobs.layout import Layout
from stor.blobs.metrics import Metrics
from stor.blobs.segments import StoreJournal
from stor.blobs.sqljournal import SqlJournal
from stor.blobs.tenants import Trees
from stor.blobs.tree import Shape, Tree
from stor.config import Config, Secret
from stor.database.promise import Database
from stor.house import House
from stor.stack import Stack
from stor.storage.directory import Directory
from stor.storage.s3 import Bucket, BucketSettings
from stor.threads import Threads
from stor.web.health import Health

TENANTS = 64  # trees beside the root one that are open at once
IDLE_SECONDS = 600.0  # after which a tenant's is closed
THREADS = 2  # that compress, and encode what is long


def blobs_api(
    config: Config, database: Database, house: House, health: Health, registry: CollectorRegistry, reactor: Any
) -> BlobsApi:
    """Give the API, with what it stands on put into the house."""
    store = _store(config, reactor)
    health.add_probe("storage", store.check)
    house.add(store)
    trees = _trees(config, store, database, house, registry, reactor)
    return BlobsApi(trees, config.blobs.max_bytes, registry, reactor)


def alone(config: Config, folder: str, reactor: Any) -> tuple[Stack, Tree]:
    """Give one tree (`folder` is a tenant's, "" the root one) and all it stands on, without the rest of the house."""
    stack, store = Stack(), _store(config, reactor)
    threads, metrics = Threads("blobs", THREADS, reactor), Metrics(CollectorRegistry())
    database = database_of(config, reactor)
    tree = _tree(config, folder, store, database, threads, metrics, reactor)
    for service in (store, threads, database, tree):
        stack.add(service)
    return stack, tree


def _trees(
    config: Config,
    store: Directory | Bucket,
    database: Database,
    house: House,
    registry: CollectorRegistry,
    reactor: Any,
) -> Trees:
    threads, metrics = Threads("blobs", THREADS, reactor), Metrics(registry)

    def make(folder: str) -> Tree:
        return _tree(config, folder, store, database, threads, metrics, reactor)

    trees = Trees(make, store.spool, TENANTS, IDLE_SECONDS, reactor)
    house.add(threads)
    house.add(trees)
    return trees


def _tree(
    config: Config,
    folder: str,
    store: Directory | Bucket,
    database: Database,
    threads: Threads,
    metrics: Metrics,
    reactor: Any,
) -> Tree:
    """Give a tree; its index is in PostgreSQL where that is configured, else beside its files."""
    blobs = config.blobs
    prefix = f"{blobs.prefix}.tenants/{folder}" if folder else blobs.prefix
    journal: Journal = StoreJournal(store, Layout(prefix), threads)
    if config.database.url is not None:
        journal = SqlJournal(database, prefix)
    shape = Shape(
        prefix=prefix,
        most_entries=blobs.max_entries,
        tombstone_days=blobs.tombstone_days,
        retention=Retention(versions=blobs.history_versions, days=blobs.history_days),
        compressed=blobs.compression == "zstd",
    )
    return Tree(store, journal, shape, threads, metrics, reactor)


def _store(config: Config, reactor: Any) -> Directory | Bucket:
    if config.blobs.bucket:
        return _bucket(config, reactor)
    return Directory(config.blobs.folder or config.data / "blobs", reactor)


def _bucket(config: Config, reactor: Any) -> Bucket:
    blobs = config.blobs
    settings = BucketSettings(
        bucket=blobs.bucket,
        endpoint=blobs.endpoint or None,
        region=blobs.region,
        access_key=_text(blobs.access_key),
        secret_key=_text(blobs.secret_key),
        probe_prefix=f"{blobs.prefix}.stor/probe/",
    )
    return Bucket(settings, config.data / "tmp", reactor)


def _text(secret: Secret | None) -> str:
    return "" if secret is None else secret.reveal()
