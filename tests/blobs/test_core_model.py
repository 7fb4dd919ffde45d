"""Whatever is done in whatever order by two processes, a tree is a dict with versions."""

import json
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from stor.blobs import compactor
from stor.blobs.history import Retention
from stor.blobs.layout import Layout
from stor.blobs.metrics import Metrics
from stor.blobs.rules import ANY, All, Anything, Etags, Md5, New, NotExisting, Version
from stor.blobs.segments import StoreJournal
from stor.blobs.tree import Shape, Tree
from stor.errors import Missing, PreconditionFailed
from stor.storage.directory import Directory
from stor.threads import Threads
from tests.blobs.core import CoreCase

PATHS = st.sampled_from(["a", "a/b", "n/x", "n/m/y"])
BODIES = st.sampled_from([b"", b"1", b"2", b"x" * 9_000])
WHICH = st.integers(0, 1)
DAY = 86_400.0
DAYS = 10


def digest(data):
    return md5(data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class File:
    """What the model knows of a path."""

    body: bytes
    md5: str
    version: int
    is_deleted: bool
    at: float


def sync(work):
    """Run a coroutine in the reactor and wait for it here, in another thread."""
    return blockingCallFromThread(reactor, Deferred.fromCoroutine, work)


class Model(RuleBasedStateMachine):
    """Two trees over one folder beside a dict; what is refused is refused by what the dict says."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="stor-test-"))
        self.now, self.skew = 2_000_000_000.0, [0.0, -50.0]
        self.files, self.versions, self.cursors = {}, {}, [("-0", {})]
        sync(self.start())

    async def start(self):
        self.threads = Threads("blobs", 2, reactor)
        self.threads.startService()
        self.store = Directory(self.folder, reactor)
        await self.store.startService()
        self.trees = [await self.new(which) for which in range(2)]

    async def new(self, which):
        layout = Layout("memory")
        shape = Shape("memory", tombstone_days=DAYS, retention=Retention(versions=50), compressed=bool(which))
        journal = StoreJournal(self.store, layout, self.threads)
        metrics = Metrics(CollectorRegistry())
        clock = lambda: self.now + self.skew[which]  # noqa: E731 - one line is clearer than a method for it
        tree = Tree(self.store, journal, shape, self.threads, metrics, reactor, now=clock)
        await tree.startService()
        return tree

    def current(self, path, which):
        file = self.files.get(path)
        if file and file.is_deleted and file.at < self.now + self.skew[which] - DAYS * DAY:
            return None
        return file

    def holds(self, condition, file) -> bool:  # noqa: PLR0911 - a table
        """Judge as the contract does, in other words than the rules."""
        match condition:
            case All(parts):
                return all(self.holds(part, file) for part in parts)
            case New() | Version(0):
                return file is None
            case NotExisting():
                return file is None or file.is_deleted
            case Md5(wanted):
                return file is not None and file.md5 == wanted
            case Version(wanted):
                return file is not None and file.version == wanted
            case Etags(None):
                return file is not None and not file.is_deleted
            case Etags(wanted):
                return file is not None and not file.is_deleted and file.md5 in wanted
        return True

    def conditions(self, data, path):
        known = [file for file in (self.files.get(path), *self.files.values()) if file]
        md5s = st.sampled_from([file.md5 for file in known] + [digest(b"other")])
        versions = st.sampled_from([file.version for file in known] + [0, 1])
        single = st.one_of(
            st.sampled_from([Anything(), New(), NotExisting(), Etags(ANY)]),
            st.builds(Md5, md5s),
            st.builds(Version, versions),
            st.builds(Etags, st.frozensets(md5s, min_size=1, max_size=2)),
        )
        return data.draw(st.one_of(single, st.builds(All, st.tuples(single, single))))

    @rule(which=WHICH, path=PATHS, body=BODIES, data=st.data(), namespace=st.sampled_from([None, "n"]))
    def put(self, which, path, body, data, namespace) -> None:
        condition, file = self.conditions(data, path), self.current(path, which)
        tree = self.trees[which]
        namespace = namespace if path.startswith("n/") else None
        try:
            written = sync(tree.put(path, body, content_type=None, condition=condition, namespace=namespace))
        except PreconditionFailed:
            assert not self.holds(condition, file), (condition, file)
            return
        assert self.holds(condition, file), (condition, file)
        creates = file is None or (file.is_deleted and "NotExisting" in repr(condition))
        assert written.created == creates
        self.keep(path, body, written.entry)

    @rule(which=WHICH, path=PATHS, data=st.data())
    def delete(self, which, path, data) -> None:
        condition, file = self.conditions(data, path), self.current(path, which)
        try:
            entry = sync(self.trees[which].delete(path, condition))
        except Missing:
            assert file is None
        except PreconditionFailed:
            assert not self.holds(condition, file)
        else:
            assert file is not None
            assert file.is_deleted or self.holds(condition, file)
            if not file.is_deleted:
                self.keep(path, None, entry)
            assert entry.version == self.files[path].version

    def keep(self, path, body, entry) -> None:
        highest = max([file.version for file in self.files.values()], default=0)
        assert entry.version > highest, "versions grow over the whole tree"
        old = self.files.get(path)
        is_deleted = body is None
        self.files[path] = File(
            body or b"", old.md5 if is_deleted else digest(body), entry.version, is_deleted, entry.modified / 1e6
        )
        assert (entry.md5, entry.is_deleted, entry.size) == (self.files[path].md5, is_deleted, len(body or b""))
        if not is_deleted:
            self.versions[path, entry.version] = body

    @rule(which=WHICH, path=PATHS)
    def get(self, which, path) -> None:
        file = self.current(path, which)
        try:
            blob = sync(self.trees[which].get(path))
        except Missing:
            assert file is None or file.is_deleted
        else:
            assert (blob.body, blob.entry.version, blob.entry.md5) == (file.body, file.version, file.md5)

    @precondition(lambda self: self.versions)
    @rule(which=WHICH, data=st.data())
    def get_old(self, which, data) -> None:
        path, version = data.draw(st.sampled_from(sorted(self.versions)))
        assert sync(self.trees[which].get(path, version=version)).body == self.versions[path, version]

    @rule(which=WHICH)
    def restart(self, which) -> None:
        sync(self.stop(self.trees[which]))
        self.trees[which] = sync(self.new(which))

    async def stop(self, tree):
        await tree.stopService()

    @rule(seconds=st.sampled_from([0.001, 1.0, 6 * DAY]))
    def time_goes_on(self, seconds) -> None:
        self.now += seconds

    @rule(which=WHICH)
    def sweep(self, which) -> None:
        sync(self.trees[which]._lifecycle.run())
        limit = self.now + self.skew[which] - DAYS * DAY
        self.files = {path: file for path, file in self.files.items() if not (file.is_deleted and file.at < limit)}

    @rule(which=WHICH)
    def compare(self, which) -> None:
        assert sync(self.trees[which].reconcile()).corrected == 0, "there was nothing to correct"

    @rule(which=WHICH, data=st.data())
    def follow(self, which, data) -> None:
        """Who follows cursors has what is there."""
        cursor, then = data.draw(st.sampled_from(self.cursors))
        view = sync(self.trees[which].view())
        told = json.loads(view.since(cursor))
        found = ({} if told["reset"] else dict(then)) | {p: f["version"] for p, f in told["files"].items()}
        now = {path: file.version for path, file in self.files.items()}
        assert {path: found.get(path) for path in now} == now
        self.cursors.append((view.cursor, now))

    @invariant()
    def shows_all(self) -> None:
        wanted = {path: (file.md5, file.version, len(file.body), file.is_deleted) for path, file in self.files.items()}
        for tree in self.trees:
            shown = json.loads(sync(tree.view()).body())["files"]
            found = {p: (f["md5"], f["version"], f["size"], f["is_deleted"]) for p, f in shown.items()}
            assert found == wanted
            below = json.loads(sync(tree.view("n")).body())["files"]
            assert {f"n/{path}": f for path, f in below.items()} == {p: f for p, f in shown.items() if p[:2] == "n/"}
        assert sync(self.trees[0].view()).etag == sync(self.trees[1].view()).etag

    def teardown(self) -> None:
        sync(self.end())
        rmtree(self.folder)

    async def end(self):
        for tree in self.trees:
            await tree.stopService()
        await self.store.stopService()
        await self.threads.stopService()


class ModelTests(CoreCase):
    timeout = 200

    async def test_is_a_dict(self):
        """Puts, deletes, reads, restarts, sweeps and comparisons by two processes whose clocks differ."""
        self.patch(compactor, "STEP", 5)
        await deferToThread(
            run_state_machine_as_test, Model, settings=settings(max_examples=25, stateful_step_count=30)
        )
