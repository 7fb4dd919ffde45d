"""A real site over real trees in a real store, and a client that sends targets exactly as they are written."""

import json
from dataclasses import dataclass
from hashlib import md5
from http.client import HTTPResponse
from io import BytesIO
from socket import SO_RCVBUF, SO_SNDBUF, SOL_SOCKET, socket
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from stor.access.address import Trusted
from stor.access.attempts import Attempts
from stor.access.guard import Credentials, Guard
from stor.access.known import Keys
from stor.access.principal import Principal
from stor.blobs.api.routes import BlobsApi
from stor.blobs.history import Retention
from stor.blobs.layout import Layout
from stor.blobs.metrics import Metrics
from stor.blobs.segments import StoreJournal
from stor.blobs.tenants import Trees
from stor.blobs.tree import Shape, Tree
from stor.storage.directory import Directory
from stor.storage.s3 import Bucket, BucketSettings
from stor.threads import Threads
from stor.web.accesslog import AccessLog
from stor.web.gate import Gate
from stor.web.limits import Limits
from stor.web.service import WebService
from stor.web.site import build_site
from tests.places import folder

KEY, READER, ACME = ("k" * 39 + letter for letter in "wra")
MOST_BYTES = 8 << 20
MD5 = {b"hello": "5d41402abc4b2a76b9719d911017c592", b"world": "7d793037a0760186574b0282f2f435e7"}


def digest(body):
    return md5(body, usedforsecurity=False).hexdigest()


@dataclass
class Heard:
    """An answer; header names are lower-case."""

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def etag(self):
        return self.headers.get("etag")

    @property
    def version(self):
        return int(self.headers["x-version"])


class OnFolder:
    """The store is a folder."""

    def store(self):
        return Directory(folder(self) / "blobs", reactor)


class InBucket:
    """The store is a bucket of a real S3 server."""

    timeout = 60

    @pytest.fixture(autouse=True)
    def _lend(self, s3_server):
        self.s3 = s3_server

    def store(self):
        settings = BucketSettings(
            self.s3.bucket,
            self.s3.endpoint,
            access_key=self.s3.access_key,
            secret_key=self.s3.secret_key,
        )
        return Bucket(settings, folder(self) / "tmp", reactor)


class Serving(TestCase):
    """Starts store, trees and site; `ask` is the client."""

    timeout = 30
    history_versions = 0
    listeners = 4
    key = KEY
    tenants = 3

    async def setUp(self):
        self.registry, self.metrics = CollectorRegistry(), Metrics(CollectorRegistry())
        self.prefix = f"t{uuid4().hex}"
        self.kept = self.store()
        await self.begin(self.kept)
        self.threads = Threads("index", 2, reactor)
        await self.begin(self.threads)
        self.trees = Trees(self.tree, self.kept.spool, self.tenants, 60.0, reactor)
        self.api = BlobsApi(self.trees, MOST_BYTES, self.registry, reactor, listeners=self.listeners)
        await self.begin(self.trees)
        self.site = self.make_site()
        self.web = WebService(self.site, "127.0.0.1", 0, reactor)
        await self.begin(self.web)

    def tree(self, tenant):
        prefix = f"{self.prefix}.tenants/{tenant}" if tenant else self.prefix
        shape = Shape(prefix, retention=Retention(versions=self.history_versions))
        journal = StoreJournal(self.kept, Layout(prefix), self.threads)
        return Tree(self.kept, journal, shape, self.threads, self.metrics, reactor)

    async def begin(self, service):
        await maybeDeferred(service.startService)
        self.addCleanup(self.end, service)

    async def end(self, service):
        if service.running:
            await maybeDeferred(service.stopService)

    def parts(self):
        return [self.api]

    def make_site(self):
        everything = frozenset({"blobs:read", "blobs:write"})
        keys = Keys(
            {
                KEY: Principal("writer", everything),
                READER: Principal("reader", frozenset({"blobs:read"})),
                ACME: Principal("acme", everything, "acme"),
            }
        )
        guard = Guard(Credentials(keys=[keys]), Attempts(10, 60, reactor), CollectorRegistry())
        return build_site(
            self.parts(),
            Limits(),
            AccessLog(None, reactor),
            self.registry,
            gate=Gate(guard),
            trusted=Trusted([]),
            reactor=reactor,
        )

    async def ask(self, method, target, body=b"", /, key=KEY, **headers):
        """Send a request whose target is exactly this; `If_Match="x"` is the header If-Match."""
        lines = {"Host": "here", "Connection": "close", "Content-Length": str(len(body))}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            lines["Authorization"] = f"Bearer {key}"
        head = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items()), "", ""]
        raw = await self.connect()
        raw.send("\r\n".join(head).encode() + body)
        await raw.over
        return heard(method, raw.heard)

    async def connect(self):
        """Give a connection of which every byte can be seen."""
        raw = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self.web.port), Raw())
        self.addCleanup(self.hang_up, raw)
        return raw

    async def hang_up(self, raw):
        raw.transport.abortConnection()
        await raw.over

    async def stuck(self, *lines):
        """Send a request by a connection that holds next to nothing until somebody reads."""
        client = socket()
        self.addCleanup(client.close)
        client.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
        client.settimeout(20)
        known = set(self.site.channels)
        client.connect(("127.0.0.1", self.web.port))
        await self.until(lambda: set(self.site.channels) - known)
        for channel in set(self.site.channels) - known:
            channel.transport.socket.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)
        client.sendall("\r\n".join([*lines, "Host: here", f"X-API-Key: {KEY}", "", ""]).encode())
        return client

    async def fill(self):
        """Make an index of a few hundred kilobytes."""
        puts = [{"op": "put", "path": f"{number}{'n' * 900}", "content": ""} for number in range(300)]
        body = json.dumps({"operations": puts}).encode()
        heard = await self.ask("POST", "/batch", body, Content_Type="application/json")
        self.assertEqual({each["status"] for each in heard.json["results"]}, {201})

    def listening(self):
        return self.registry.get_sample_value("stor_blobs_listeners")

    async def wait(self, seconds):
        await deferLater(reactor, seconds)

    async def until(self, is_so):
        while not is_so():
            await self.wait(0.01)

    async def put(self, target, body=b"hello", /, **headers):
        return await self.ask("PUT", target, body, **headers)

    async def get(self, target, /, **headers):
        return await self.ask("GET", target, **headers)

    async def delete(self, target, /, **headers):
        return await self.ask("DELETE", target, **headers)

    async def paths(self, target="/sync"):
        """Give the paths that an index shows."""
        return sorted((await self.get(target)).json["files"])

    def assert_error(self, heard, code, detail, **context):
        """It is this error, with its three keys and nothing else."""
        self.assertEqual(heard.code, code, heard.body)
        expected = {"detail": detail, "error_code": None, "context": None}
        if context:
            expected |= {"error_code": "PRECONDITION_FAILED", "context": context}
        self.assertEqual(heard.json, expected)


async def together(questions):
    """Ask all at once; give the answers in order."""
    return await gatherResults([Deferred.fromCoroutine(question) for question in questions], consumeErrors=True)


class Bytes:
    """Bytes as http.client wants to read an answer."""

    def __init__(self, data):
        self.makefile = lambda _: BytesIO(data)


def heard(method, data):
    """Read a whole answer."""
    found = HTTPResponse(Bytes(data), method=method)
    found.begin()
    return Heard(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())


class Raw(Protocol):
    """Keeps what it hears; `until` waits for some of it, `over` for the end."""

    def __init__(self):
        self.heard, self.over, self._changed = b"", Deferred(), []

    def send(self, data):
        self.transport.write(data)

    async def until(self, words):
        """Wait until these bytes are there; AssertionError when the connection ends before."""
        while words not in self.heard:
            await self.until_more()
        return self.heard

    async def until_more(self):
        """Wait until more has come than was heard so far."""
        assert self.connected, self.heard[-2000:]
        changed = Deferred()
        self._changed.append(changed)
        await changed

    def dataReceived(self, data):
        self.heard += data
        self._tell()

    def connectionLost(self, reason):
        self.connected = 0
        self.over.callback(self.heard)
        self._tell()

    def _tell(self):
        changed, self._changed = self._changed, []
        for each in changed:
            each.callback(None)
