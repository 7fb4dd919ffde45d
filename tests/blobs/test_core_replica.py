"""The index in memory, and its views."""

import gzip
import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.blobs import ordered
from stor.blobs.fragments import LAST_MOMENT, microseconds, moment
from stor.blobs.ordered import Sorted
from stor.blobs.packing import Damaged, pack_segment, pack_snapshot, unpack_segment, unpack_snapshot
from stor.blobs.records import Namespace, Purge, Put, Segment, State
from stor.blobs.replica import Replica
from stor.blobs.rules import Entry
from stor.blobs.view import Cursor, Row
from stor.errors import BadRequest, Failed
from stor.threads import Threads

PATHS = ["a", "a/b", "a/b/c", "a-b/c", "a0", "b", 'q"\\ü/\u2028x', "z/é"]
NAMESPACES = ["", "a", "a/b", "b", 'q"\\ü', "none"]
THREADS = Threads("blobs", 1, reactor)


def entry(path: str, version: int, **more) -> Entry:
    made = Entry(path=path, md5="m", size=1, modified=version * 1000, is_deleted=False, version=version, etag="e")
    return msgspec.structs.replace(made, **more)


def files(view, namespace="") -> dict:
    return json.loads(view.body())["files"]


class Model(RuleBasedStateMachine):
    """A replica beside a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.replica, self.entries, self.position = Replica(THREADS), {}, 0
        self.states, self.views, self.versions = {}, {}, {}
        self.keep()

    def keep(self) -> None:
        self.states[self.position] = dict(self.entries)

    def take(self, *records) -> None:
        self.position += 1
        self.replica.apply("log", self.position, records)
        self.keep()

    @rule(path=st.sampled_from(PATHS), is_deleted=st.booleans(), modified=st.integers(0, 9))
    def put(self, path, is_deleted, modified) -> None:
        before = self.entries.get(path)
        made = entry(path, self.replica.last_version + 1, is_deleted=is_deleted, position=self.position + 1)
        made = msgspec.structs.replace(made, modified=modified)
        assert self.replica.fits(Put(made, before.version if before else 0))
        assert not self.replica.fits(Put(made, 12345))
        self.entries[path] = made
        self.take(Put(made, before.version if before else 0))

    @rule(path=st.sampled_from(PATHS))
    def purge(self, path) -> None:
        before = self.entries.pop(path, None)
        if before is not None:
            assert self.replica.fits(Purge(path, before.version))
            self.take(Purge(path, before.version))

    @rule(count=st.integers(65, 90))
    def fill(self, count) -> None:
        """Many at once."""
        first = self.replica.last_version + 1
        made = [entry(f"a/{n}", first + n, position=self.position + 1) for n in range(count)]
        bases = [self.entries[each.path].version if each.path in self.entries else 0 for each in made]
        self.entries.update({each.path: each for each in made})
        self.take(*[Put(each, base) for each, base in zip(made, bases, strict=True)])

    @rule()
    def carry_on(self) -> None:
        """Another process begins from a snapshot."""
        state = unpack_snapshot(pack_snapshot(self.replica.state()))
        self.replica = Replica(THREADS)
        self.replica.reset(state)

    @rule(namespace=st.sampled_from(NAMESPACES), back=st.integers(0, 20))
    def ask(self, namespace, back) -> None:
        """What changed since a cursor, added to what was there then, gives what is there now."""
        since = max(self.position - back, 0)
        cursor = str(Cursor("log" if self.position else "", since))
        head = namespace + "/" if namespace else ""
        now = {path[len(head) :]: e.version for path, e in self.entries.items() if path.startswith(head)}
        answer = json.loads(self.replica.view(namespace).since(cursor))
        told = {path: each["version"] for path, each in answer["files"].items()}
        then = {path[len(head) :]: e for path, e in self.states[since].items() if path.startswith(head)}
        kept = {} if answer["reset"] else {path: e.version for path, e in then.items()}
        found = kept | told
        missing = {path for path in found if path not in now}
        assert all(then[path].is_deleted for path in missing), "a live file went away and nobody was told"
        assert {path: found[path] for path in now} == now
        changed, reset = self.replica.changed(Cursor.read(cursor), namespace)
        assert {e.path[len(head) :]: e.version for e in changed} == told
        assert reset == answer["reset"]
        assert [e.path for e in changed] == sorted(e.path for e in changed)

    @invariant()
    def shows_all(self) -> None:
        for namespace in NAMESPACES:
            head = namespace + "/" if namespace else ""
            view = self.replica.view(namespace)
            shown = json.loads(view.body())
            want = {path[len(head) :]: e.version for path, e in sorted(self.entries.items()) if path.startswith(head)}
            assert {path: each["version"] for path, each in shown["files"].items()} == want
            assert list(shown["files"]) == list(want), "paths are in order"
            assert view.entries == len(want)
            ages = [e.modified for path, e in self.entries.items() if path.startswith(head)]
            assert view.modified == max(ages, default=0)
            self.same_etag_same_bytes(namespace, view)
            assert shown["index_version"] >= self.versions.get(namespace, 0), "never back"
            self.versions[namespace] = shown["index_version"]

    def same_etag_same_bytes(self, namespace, view) -> None:
        assert self.views.setdefault((namespace, view.etag), view.body()) == view.body()

    @invariant()
    def knows_each(self) -> None:
        assert len(self.replica) == len(self.entries)
        for path in PATHS:
            assert self.replica.get(path) == self.entries.get(path)


class ReplicaTests(SynchronousTestCase):
    def test_is_a_dict(self) -> None:
        """Whatever comes in whatever order, views and deltas show it, by paths, whole and once."""
        run_state_machine_as_test(Model, settings=settings(max_examples=60, stateful_step_count=30))

    def test_many_changes_at_once(self) -> None:
        """The same when there are too many changes to put each in its place."""
        self.patch(ordered, "FEW", 0)
        run_state_machine_as_test(Model, settings=settings(max_examples=60, stateful_step_count=30))

    def test_many_changes_compare_little(self) -> None:
        """Many changes of a large index cost no look at each of its paths."""

        class Path(str):
            __slots__ = ()
            looks = 0

            def __lt__(self, other) -> bool:
                Path.looks += 1
                return str.__lt__(self, other)

        rows = {path: Row(entry(path, 1)) for path in (Path(f"{n:05d}") for n in range(20_000))}
        ordered_ = Sorted()
        ordered_.reset(rows)
        for n in range(0, 200, 2):
            ordered_.put(Row(entry(Path(f"{n:05d}"), 2)))
        Path.looks = 0
        shown = [row.entry.version for row in ordered_.below("")]
        self.assertEqual((len(shown), shown[:200]), (20_000, [2, 1] * 100))
        self.assertLess(Path.looks, 4_000)

    def setUp(self) -> None:
        self.replica = Replica(THREADS)

    def apply(self, *records) -> None:
        self.replica.apply("log", self.replica.position + 1, records)

    def test_body(self) -> None:
        """The body is the contract's, to the letter."""
        self.apply(Put(entry("a", 5, modified=1768473000123456, size=3), 0))
        expected = (
            b'{"files":{"a":{"md5":"m","last_modified":"2026-01-15T10:30:00.123456Z","size":3,"is_deleted":false,'
            b'"version":5}},"index_last_modified":"2026-01-15T10:30:00.123456Z","index_version":5}'
        )
        self.assertEqual(self.replica.view().body(), expected)
        empty = b'{"files":{},"index_last_modified":"1970-01-01T00:00:00.000000Z","index_version":0}'
        self.assertEqual(self.replica.view("none").body(), empty)

    def test_view_is_of_a_moment(self) -> None:
        """A view shows what was there when it was asked for, though its body is made later."""
        self.apply(Put(entry("a", 1), 0))
        view = self.replica.view()
        self.apply(Put(entry("b", 2), 0), Put(entry("a", 3), 1))
        self.assertEqual({path: each["version"] for path, each in files(view).items()}, {"a": 1})
        self.assertNotEqual(view.etag, self.replica.view().etag)

    def test_change_elsewhere(self) -> None:
        """A change elsewhere leaves a namespace's etag and body as they are; its cursor goes on."""
        self.apply(Put(entry("a/x", 1), 0))
        before = self.replica.view("a")
        body = before.body()
        self.apply(Put(entry("ab", 2), 0))
        after = self.replica.view("a")
        self.assertEqual((after.etag, after.cursor), (before.etag, "log-2"))
        self.assertIs(after.body(), body)

    def test_pages(self) -> None:
        """Pages give everything once, in order; the last one says that there is no next."""
        for number, path in enumerate(PATHS, 1):
            self.apply(Put(entry(path, number), 0))
        view, after, found = self.replica.view(), "", []
        while after is not None:
            page = json.loads(view.page(after, 3))
            found += page["files"]
            after = page["next"]
        self.assertEqual(found, sorted(PATHS))
        self.assertIsNone(json.loads(view.page("", 100))["next"])
        self.assertIsNone(json.loads(view.page("", len(PATHS)))["next"])
        self.assertIsNone(json.loads(view.page("zzzz", 3))["next"])

    def test_cursors(self) -> None:
        """A cursor of another log, from the future or from before a purge gets everything; what is none is refused."""
        self.apply(Put(entry("a", 1, is_deleted=True), 0))
        self.apply(Put(entry("b", 2), 0))
        self.apply(Purge("a", 1))
        view = self.replica.view()
        for cursor, reset in (("log-3", False), ("log-1", False), ("gol-2", True), ("log-4", True), ("-0", False)):
            self.assertEqual(json.loads(view.since(cursor))["reset"], reset, cursor)
        self.apply(Purge("b", 2))
        self.assertTrue(json.loads(self.replica.view().since("log-3"))["reset"])  # a live file went away
        for wrong in ("", "x", "log-", "log-x", "log--1", "log-" + "9" * 19, "log-٣"):
            self.assertRaises(BadRequest, view.since, wrong)

    def test_namespaces(self) -> None:
        """Namespaces that have an index of their own are remembered, also across a snapshot."""
        self.apply(Namespace("a"), Namespace("b/c"))
        other = Replica(THREADS)
        other.reset(unpack_snapshot(pack_snapshot(self.replica.state())))
        self.assertEqual(other.namespaces, {"a", "b/c"})

    def test_listeners(self) -> None:
        """Who listens is told of each change, and of a fresh start."""
        told = []
        self.replica.listen(told.append)
        self.apply(Namespace("a"))
        self.replica.reset(State())
        self.assertEqual(told, [(Namespace("a"),), None])


class GzipTests(TestCase):
    async def test_shared(self) -> None:
        """The body is compressed once for all who ask, in a thread, and again only when it changed."""
        threads = Threads("blobs", 1, reactor)
        threads.startService()
        self.addCleanup(threads.stopService)
        replica = Replica(threads)
        replica.apply("log", 1, [Put(entry("a", 1), 0)])
        view = replica.view()
        first = await view.gzipped()
        self.assertEqual(gzip.decompress(first), view.body())
        self.assertIs(await replica.view().gzipped(), first)
        replica.apply("log", 2, [Put(entry("b", 2), 0)])
        self.assertEqual(gzip.decompress(await replica.view().gzipped()), replica.view().body())


class FormTests(SynchronousTestCase):
    @given(st.integers(0, LAST_MOMENT))
    def test_moments(self, micros) -> None:
        """A time is read back as it was written."""
        self.assertEqual(microseconds(moment(micros)), micros)

    def test_older_times(self) -> None:
        """Times of the older software are read, with an offset or without; what is none is None."""
        self.assertEqual(microseconds("2024-01-15T10:30:00.123Z"), 1705314600123000)
        self.assertEqual(microseconds("2024-01-15T10:30:00.123456+00:00"), 1705314600123456)
        self.assertEqual(microseconds("2024-01-15T11:30:00+01:00"), 1705314600000000)
        self.assertEqual(microseconds("2024-01-15T10:30:00"), 1705314600000000)
        self.assertIsNone(microseconds("yesterday"))

    def test_segment(self) -> None:
        """A segment is read back as it was written, unknown keys are ignored, a newer format is refused."""
        records = [Put(entry("ü", 3, content_type="text/plain"), 2), Namespace("n"), Purge("p", 4)]
        segment = Segment("log", "w-1", records)
        data = pack_segment(segment)
        self.assertEqual(unpack_segment(data), segment)
        told = json.loads(data)
        self.assertEqual(unpack_segment(json.dumps(told | {"later": 1}).encode()), segment)
        self.assertRaises(Failed, unpack_segment, json.dumps(told | {"format": 2}).encode())
        self.assertRaises(Damaged, unpack_segment, data[:-1])

    def test_snapshot(self) -> None:
        """A snapshot of many entries is read back; one that is cut or changed is never taken for whole."""
        entries = [entry(f"f{number}", number, position=number) for number in range(1, 2501)]
        state = State("log", 2500, entries, frozenset({"n"}), 7, 8, 9)
        data = pack_snapshot(state)
        self.assertEqual(unpack_snapshot(data), state)
        self.assertEqual(unpack_snapshot(pack_snapshot(State())), State(entries=[]))
        for cut in (b"", data[:-1], data[: len(data) // 2], data[:-9] + b"x" + data[-8:]):
            self.assertRaises(Damaged, unpack_snapshot, cut)
