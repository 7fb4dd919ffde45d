"""Trees over real stores for the tests of the core, and stores that fail when they are told to."""

import atexit
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from stor.blobs.layout import Layout
from stor.blobs.metrics import Metrics
from stor.blobs.segments import StoreJournal
from stor.blobs.tree import Shape, Tree
from stor.errors import Unavailable
from stor.storage.directory import Directory
from stor.storage.promise import Listed, Store
from stor.storage.s3 import Bucket, BucketSettings
from stor.threads import Threads
from tests.places import folder
from tests.servers import S3Server


class Crash(BaseException):
    """The process ends here: nothing of ours runs any more."""


class Faulty:
    """A real store whose calls can be made to fail: `before(name, key)` and `after(name, key)` may raise."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda name, key: None
        self.after: Callable[[str, str], None] = lambda name, key: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def _call(self, name: str, key: str, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((name, key))
        self.before(name, key)
        result = await getattr(self.store, name)(key, *args, **kwargs)
        self.after(name, key)
        return result

    async def put(self, key: str, *args: Any, **kwargs: Any) -> Any:
        return await self._call("put", key, *args, **kwargs)

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        return await self._call("get", key, *args, **kwargs)

    async def head(self, key: str) -> Any:
        return await self._call("head", key)

    async def delete(self, key: str, **kwargs: Any) -> Any:
        return await self._call("delete", key, **kwargs)

    async def copy(self, source: str, *args: Any, **kwargs: Any) -> Any:
        return await self._call("copy", source, *args, **kwargs)

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[list[Listed]]:
        self.calls.append(("list", prefix))
        self.before("list", prefix)
        async for page in self.store.list(prefix, after):
            yield page


class CoreCase(TestCase):
    """Gives threads and stores that are stopped when the test has ended, and trees over them."""

    timeout = 60

    def setUp(self) -> Any:
        self.threads = Threads("blobs", 2, reactor)
        self.threads.startService()
        self.addCleanup(self.threads.stopService)

    async def directory(self) -> Directory:
        store = Directory(folder(self), reactor)
        await store.startService()
        self.addCleanup(store.stopService)
        return store

    async def bucket(self) -> Bucket:
        server = weed()
        settings = BucketSettings(
            bucket=server.bucket,
            endpoint=server.endpoint,
            access_key=server.access_key,
            secret_key=server.secret_key,
        )
        store = Bucket(settings, folder(self), reactor)
        await store.startService()
        self.addCleanup(store.stopService)
        return store

    def journal(self, store: Store, prefix: str = "memory", **kwargs: Any) -> StoreJournal:
        return StoreJournal(store, Layout(prefix), self.threads, **kwargs)

    def new_tree(self, store: Store, shape: Shape | None = None, **kwargs: Any) -> Tree:
        shape = shape or Shape()
        journal = kwargs.pop("journal", None) or self.journal(store, shape.prefix)
        return Tree(store, journal, shape, self.threads, Metrics(CollectorRegistry()), reactor, **kwargs)

    async def started(self, store: Store, shape: Shape | None = None, **kwargs: Any) -> Tree:
        tree = self.new_tree(store, shape, **kwargs)
        await tree.startService()
        self.addCleanup(lambda: tree.stopService() if tree.running else None)
        return tree


async def until(is_so: Callable[[], Any], seconds: float = 30.0) -> None:
    """Ask again every 50 ms until it is so; on a machine at rest what is waited for takes two or three seconds."""
    deadline = reactor.seconds() + seconds
    while not await is_so():
        if reactor.seconds() > deadline:
            raise AssertionError(f"still not so after {seconds} s")
        await deferLater(reactor, 0.05)


def unavailable(times: int = 1, *names: str) -> Callable[[str, str], None]:
    """Fail the next calls of these names."""

    def fail(name: str, key: str) -> None:
        nonlocal times
        if times and (not names or name in names):
            times -= 1
            raise Unavailable("the test says so")

    return fail


@cache
def weed() -> S3Server:
    """Give the S3 server that the tests of the core share, started for the first and closed after the last."""
    server = S3Server("stor-core")
    atexit.register(server.close)
    return server.start()


def client() -> Any:
    """Give boto3's client for it: what other software uses."""
    return boto3.client(
        "s3",
        endpoint_url=weed().endpoint,
        aws_access_key_id=weed().access_key,
        aws_secret_access_key=weed().secret_key,
        region_name="us-east-1",
        verify=False,
        config=Config(request_checksum_calculation="when_required"),
    )
