"""One tree: what is put, read, deleted, shown."""

import contextlib  # trial takes a module's `suppress` for its own
import json
from hashlib import md5

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from stor.blobs import locks
from stor.blobs.rules import ANY, All, Anything, Etags, Md5, New, NotExisting, Version
from stor.blobs.tree import Shape
from stor.blobs.waiting import together
from stor.errors import BadRequest, Full, Missing, NotSatisfiable, PreconditionFailed, StorError, TooLarge, Unavailable
from stor.streams import whole
from tests.blobs.core import CoreCase, Faulty, unavailable, until


def digest(data):
    return md5(data, usedforsecurity=False).hexdigest()


async def sleep(seconds):
    await deferLater(reactor, seconds)


class TreeCase(CoreCase):
    shape = Shape()

    async def setUp(self):
        super().setUp()
        self.directory_ = await self.directory()
        self.store = Faulty(self.directory_)
        self.tree = await self.started(self.store, self.shape)

    async def put(self, path, body=b"hello", condition=None, **more):
        more.setdefault("content_type", "text/plain")
        return await self.tree.put(path, body, condition=condition or Anything(), **more)

    async def spooled(self, body):
        spool = self.tree.spool(1 << 30)
        for start in range(0, len(body), 1 << 20):
            if (room := spool.write(body[start : start + (1 << 20)])) is not None:
                await room
        await spool.finish()
        return spool

    async def files(self, namespace="", tree=None):
        return json.loads((await (tree or self.tree).view(namespace)).body())["files"]

    async def shows(self, path, body, tree=None):
        return (await self.files(tree=tree)).get(path, {}).get("md5") == digest(body)

    async def refused(self, work, text, **context):
        with self.assertRaisesRegex(PreconditionFailed, f"^{text}$") as caught:
            await work
        self.assertEqual(caught.exception.context, context)
        self.assertEqual(caught.exception.code, "PRECONDITION_FAILED")


class PutTests(TreeCase):
    async def test_new(self):
        """What is put comes back, and the index shows it."""
        written = await self.put("a/b.txt", b"hello", New())
        self.assertTrue(written.created)
        entry = written.entry
        self.assertEqual((entry.md5, entry.size, entry.content_type), (digest(b"hello"), 5, "text/plain"))
        blob = await self.tree.get("a/b.txt")
        self.assertEqual(blob.body, b"hello")
        self.assertEqual((blob.entry.md5, blob.entry.version, blob.entry.modified), entry_of(entry))
        head = await self.tree.head("a/b.txt")
        self.assertEqual((head.md5, head.version, head.modified), entry_of(entry))
        shown = (await self.files())["a/b.txt"]
        self.assertEqual((shown["md5"], shown["version"], shown["size"]), (entry.md5, entry.version, 5))
        self.assertFalse(shown["is_deleted"])
        self.assertEqual((await self.files("a"))["b.txt"], shown)
        self.assertEqual(await self.files("a/b.txt"), {})

    async def test_conditions(self):
        """New, md5, version and ETags decide; what they refuse changes nothing."""
        hello, world = digest(b"hello"), digest(b"world")
        await self.refused(
            self.put("a", condition=Md5(hello)), "File does not exist", current_md5="none", provided_md5=hello
        )
        first = await self.put("a", condition=New())
        await self.refused(self.put("a", condition=New()), "File already exists", current_md5=hello, provided_md5="new")
        await self.refused(
            self.put("a", condition=Md5(world)), "Content-MD5 mismatch", current_md5=hello, provided_md5=world
        )
        second = await self.put("a", b"world", Md5(hello))
        self.assertFalse(second.created)
        self.assertGreater(second.entry.version, first.entry.version)
        await self.refused(
            self.put("a", condition=Version(first.entry.version)),
            "Version mismatch",
            current_version=str(second.entry.version),
            provided_version=str(first.entry.version),
        )
        await self.put("a", b"third", All((Version(second.entry.version), Etags(frozenset({world})))))
        self.assertEqual((await self.tree.get("a")).body, b"third")
        await self.refused(
            self.put("a", condition=NotExisting()),
            "File already exists",
            current_md5=digest(b"third"),
            provided_md5="*",
        )
        self.assertFalse((await self.put("a", b"4", Etags(ANY))).created)

    async def test_tombstones(self):
        """A deleted file keeps its md5; new does not revive it, its md5, its version, or no condition do."""
        hello = digest(b"hello")
        await self.put("a")
        gone = await self.tree.delete("a", Anything())
        self.assertEqual((gone.md5, gone.size, gone.is_deleted), (hello, 0, True))
        again = await self.tree.delete("a", Md5("f" * 32))
        self.assertEqual((again.version, again.is_deleted), (gone.version, True))
        with self.assertRaisesRegex(Missing, "^File is deleted: a$"):
            await self.tree.get("a")
        with self.assertRaisesRegex(Missing, "^File is deleted: a$"):
            await self.tree.head("a")
        with self.assertRaisesRegex(Missing, "^File is deleted: a$"):
            await self.tree.get("a", 3)
        told = {"current_md5": hello, "provided_md5": "new", "is_deleted": "true"}
        await self.refused(self.put("a", condition=New()), "File already exists", **told)
        for condition, created in ((Md5(hello), False), (Anything(), False), (NotExisting(), True)):
            written = await self.put("a", b"hello", condition)
            self.assertEqual(written.created, created)
            self.assertEqual((await self.tree.get("a")).body, b"hello")
            gone = await self.tree.delete("a", Md5(hello))
        self.assertFalse((await self.put("a", b"", Version(gone.version))).created)
        shown = (await self.files())["a"]
        self.assertEqual((shown["size"], shown["is_deleted"]), (0, False))

    async def test_missing(self):
        """What never was can be neither read nor deleted."""
        for work in (self.tree.get("x"), self.tree.head("x"), self.tree.delete("x", Anything())):
            with self.assertRaisesRegex(Missing, "^File not found: x$"):
                await work
        with self.assertRaisesRegex(Missing, "^File not found: x$"):
            await self.tree.delete("x", Md5("f" * 32))
        with self.assertRaises(Missing):
            await self.tree.versions("x")

    async def test_paths(self):
        """Bad paths are refused before anything is read or stored; odd ones are as good as any."""
        self.store.calls.clear()
        for path in ("", "a//b", "../a", ".sync-index.json", "a/.sync-index.json", "\0", "x" * 1018):
            for work in (self.put(path), self.tree.get(path), self.tree.head(path), self.tree.delete(path, New())):
                with self.assertRaises(BadRequest):
                    await work
        self.assertEqual(self.store.calls, [])
        odd = ["a", "a/b", "a/b/c", ".stor/log/1", "memory.stor/log/000000000001", "ü ü", 'q"\\', "%2F", "-", "x" * 250]
        for path in odd:
            await self.put(path, path.encode())
        for path in odd:
            self.assertEqual((await self.tree.get(path)).body, path.encode())
        self.assertEqual(list(await self.files()), sorted(odd))

    async def test_versions_grow(self):
        """Versions grow with each write of any path, whatever the clock does."""
        now = 2_000_000_000.0
        tree = await self.started(self.directory_, Shape("clock"), now=lambda: now)
        seen = []
        for path in ("a", "b", "a", "c"):
            now -= 100
            seen.append((await tree.put(path, b"", content_type=None, condition=Anything())).entry.version)
        seen.append((await tree.delete("a", Anything())).version)
        self.assertEqual(seen, sorted(set(seen)))

    async def test_bodies(self):
        """Bodies of any size, whole or spooled, come back in whole and in ranges; an empty one is no tombstone."""
        for size in (0, 1, 1000, 70_000, 3_000_000):
            body = bytes(range(256)) * (size // 256 + 1)
            body = body[:size]
            for given in (body, await self.spooled(body)):
                written = await self.put("a", given)
                self.assertEqual((written.entry.md5, written.entry.size), (digest(body), size))
                blob = await self.tree.get("a")
                self.assertEqual(await whole(blob.body, 1 << 24), body)
                self.assertEqual((blob.entry.size, blob.entry.is_deleted), (size, False))
                if size > 10:
                    part = await self.tree.get("a", 5, size - 3)
                    self.assertEqual(await whole(part.body, 1 << 24), body[5:-3])
                    self.assertEqual(part.entry.size, size)
            with self.assertRaises(NotSatisfiable) as caught:
                await self.tree.get("a", size + 1)
            self.assertEqual(caught.exception.size, size)

    async def test_body_is_discarded(self):
        """The body belongs to the put, which lets go of it whatever comes."""
        await self.put("a")
        for path, condition in (("a", New()), ("../a", New()), ("b", New())):
            body = await self.spooled(b"x" * 100_000)
            with contextlib.suppress(StorError):
                await self.put(path, body, condition)
            self.assertIsNone(body.file)
        with self.assertRaises(TooLarge):
            spool = self.tree.spool(10)
            spool.write(b"x" * 11)
            await spool.finish()

    async def test_full(self):
        """A tree takes as many files as it may have; those that are there can still be changed."""
        tree = await self.started(self.directory_, Shape("few", most_entries=2))
        for path in "ab":
            await tree.put(path, b"", content_type=None, condition=New())
        with self.assertRaises(Full):
            await tree.put("c", b"", content_type=None, condition=New())
        await tree.put("a", b"x", content_type=None, condition=Anything())
        await tree.delete("b", Anything())
        self.assertEqual(len(await self.files(tree=tree)), 2)


def entry_of(entry):
    return (entry.md5, entry.version, entry.modified)


class CostTests(TreeCase):
    def called(self):
        names = [name for name, key in self.store.calls if "sync-index" not in key]
        self.store.calls.clear()
        return names

    async def test_calls(self):
        """Calls of the store: a put two, a get, a head, a view and a refusal one; none of them is a listing."""
        await self.put("b", condition=New())
        self.called()
        await self.put("a", condition=New())
        self.assertEqual(self.called(), ["put", "put"])
        await self.put("a", b"2")
        self.assertEqual(self.called(), ["put", "put"])
        await self.tree.delete("a", Anything())
        self.assertEqual(self.called(), ["put", "put"])
        await self.tree.get("b")
        self.assertEqual(self.called(), ["get"])
        await self.tree.head("b")
        self.assertEqual(self.called(), ["head"])
        await self.tree.view()
        self.assertEqual(self.called(), ["get"])
        for work, calls in (
            (self.tree.get("a"), ["get"]),
            (self.tree.head("a"), ["head"]),
            (self.tree.get("x"), ["get"]),
        ):
            with self.assertRaises(Missing):
                await work
            self.assertEqual(self.called(), calls)
        with self.assertRaises(PreconditionFailed):
            await self.put("b", condition=New())
        self.assertEqual(self.called(), ["head"])

    async def test_shared_appends(self):
        """Many writes at once share segments; many views at once share looks."""
        self.called()
        await together(self.put(f"f{n}", condition=New()) for n in range(60))
        segments = len([key for _, key in await self.listed("memory.stor/log/")])
        self.assertLess(segments, 40)
        self.called()
        await together(self.tree.view() for _ in range(60))
        self.assertLessEqual(len(self.called()), 2)

    async def listed(self, prefix):
        return [(each.size, each.key) async for page in self.directory_.list(prefix) for each in page]


class TroubleTests(TreeCase):
    async def test_one_path_many_writers(self):
        """Of many who create one path at once exactly one does; updates one after the other are all there."""
        results = await together(self.tried(self.put("a", b"%d" % n, New())) for n in range(30))
        self.assertEqual([result for result in results if result is not None and result.created].__len__(), 1)
        versions = [(await self.put("a", b"%d" % n)).entry.version for n in range(5)]
        self.assertEqual(versions, sorted(set(versions)))

    async def test_too_many_writers(self):
        """Who would wait behind too many writers of one path is sent away."""
        self.patch(locks, "MOST", 3)
        results = await together(self.tried(self.put("a", b"%d" % n), Unavailable) for n in range(10))
        self.assertEqual(sum(result is not None for result in results), 4)

    async def tried(self, work, error=PreconditionFailed):
        try:
            return await work
        except error:
            return None

    async def test_cancelled(self):
        """A caller who leaves does not stop the write, and the next one sees it."""
        writing = Deferred.fromCoroutine(self.put("a", condition=New()))
        writing.cancel()
        with self.assertRaises(CancelledError):
            await writing
        await self.tree.delete("a", Anything())
        self.assertTrue((await self.files())["a"]["is_deleted"])

    async def test_stop_waits(self):
        """A tree that is stopped ends the writes that it has begun, and takes no more."""
        writing = Deferred.fromCoroutine(self.put("a", condition=New()))
        await self.tree.stopService()
        self.assertTrue((await writing).created)
        with self.assertRaises(Unavailable):
            await self.put("b")
        later = await self.started(self.directory_)
        self.assertEqual(list(await self.files(tree=later)), ["a"])

    async def test_lost_answer_of_put(self):
        """After a put that was not answered the path is looked at before it is used again."""
        for there in (False, True):
            path = f"a{there}"
            setattr(self.store, "after" if there else "before", unavailable(1, "put"))
            with self.assertRaises(Unavailable):
                await self.put(path, b"x", New())
            if there:
                told = {"current_md5": digest(b"x"), "provided_md5": "new"}
                await self.refused(self.put(path, b"y", New()), "File already exists", **told)
                self.assertEqual((await self.put(path, b"y", Md5(digest(b"x")))).created, False)
            else:
                self.assertTrue((await self.put(path, b"y", New())).created)
            self.assertEqual((await self.files())[path]["md5"], digest(b"y"))

    async def test_lost_answer_heals(self):
        """A put that happened though it was not answered is in the index a little later, by itself."""
        self.store.after = unavailable(1, "put")
        with self.assertRaises(Unavailable):
            await self.put("a", b"x", New())
        self.assertEqual(await self.files(), {})
        await until(lambda: self.shows("a", b"x"))

    async def test_journal_away(self):
        """A write whose record cannot be appended fails, and is in the index when the journal can be written again."""

        def no_log(name, key):
            if name == "put" and "/log/" in key:
                raise Unavailable("no log")

        self.store.before = no_log
        with self.assertRaises(Unavailable):
            await self.put("a", b"x", New())
        self.store.before = lambda *_: None
        await until(lambda: self.shows("a", b"x"))

    async def test_store_away(self):
        """While the store is away calls fail, and when it is back all goes on."""
        await self.put("a")
        self.store.before = unavailable(1000)
        for work in (self.put("a"), self.put("b"), self.tree.get("a"), self.tree.view(), self.tree.delete("a", New())):
            with self.assertRaises(Unavailable):
                await work
        self.store.before = lambda *_: None
        await self.put("b")
        self.assertEqual(set(await self.files()), {"a", "b"})

    async def test_disk_full(self):
        """A disk that is full is told, and the file stays as it was."""
        await self.put("a")

        def full(name, key):
            if name == "put" and key == "memory/a":
                raise Full("no room")

        self.store.before = full
        with self.assertRaises(Full):
            await self.put("a", b"other")
        self.store.before = lambda *_: None
        self.assertEqual((await self.tree.get("a")).body, b"hello")
        self.assertEqual((await self.files())["a"]["md5"], digest(b"hello"))

    async def test_disk_full_afterwards(self):
        """A disk that is full when the file is there already: the index shows the file a little later."""

        def full(name, key):
            if name == "put" and key == "memory/a":
                self.store.after = lambda *_: None
                raise Full("no room")

        self.store.after = full
        with self.assertRaises(Full):
            await self.put("a", b"x", New())
        await until(lambda: self.shows("a", b"x"))

    async def test_unconditional(self):
        """Over a store without conditional writes one process keeps all promises by itself."""
        plain = Faulty(self.directory_)
        plain.conditional = plain.conditional_delete = False
        tree = await self.started(plain, Shape("plain"))
        works = (tree.put("a", b"%d" % n, content_type=None, condition=New()) for n in range(10))
        results = await together(self.tried(work) for work in works)
        self.assertEqual(sum(result is not None for result in results), 1)
        gone = await tree.delete("a", Anything())
        shown = (await self.files(tree=tree))["a"]
        self.assertEqual((shown["is_deleted"], shown["version"]), (True, gone.version))

    async def test_check(self):
        """The store's health is told, and within a second when it hangs."""
        await self.tree.check()

        async def hang():
            await Deferred()

        self.store.check = hang
        with self.assertRaisesRegex(Unavailable, r"0\.8 s"):
            await self.tree.check()

    async def test_spool_after_race(self):
        """A spooled body that lost one race is whole for the next try."""
        other = await self.started(self.directory_)
        await self.put("a", b"1")
        await other.put("a", b"2", content_type=None, condition=Anything())
        body = bytes(200_000)
        await self.put("a", await self.spooled(body))
        self.assertEqual(await whole((await other.get("a")).body, 1 << 20), body)


class ChangesTests(TreeCase):
    async def test_waits(self):
        """A change ends the wait; it is given relative to the namespace, and the cursor goes on from it."""
        cursor = (await self.tree.view()).cursor
        waiting = Deferred.fromCoroutine(self.tree.changes(cursor, "n"))
        await self.put("other")
        self.assertNoResult(waiting)
        await self.put("n/a")
        changes = await waiting
        self.assertEqual([entry.path for entry in changes.entries], ["a"])
        self.assertFalse(changes.reset)
        waiting = Deferred.fromCoroutine(self.tree.changes(changes.cursor, "n"))
        await sleep(0)
        self.assertNoResult(waiting)
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting

    async def test_of_others(self):
        """A change by another process ends the wait within some two seconds."""
        other = await self.started(self.directory_)
        waiting = Deferred.fromCoroutine(self.tree.changes((await self.tree.view()).cursor))
        await other.put("a", b"", content_type=None, condition=New())
        waiting.addTimeout(30, reactor)
        self.assertEqual([entry.path for entry in (await waiting).entries], ["a"])

    async def test_bad_cursor(self):
        """What is no cursor is refused, what is another tree's gets everything."""
        await self.put("a")
        with self.assertRaises(BadRequest):
            await self.tree.changes("?")
        self.assertTrue((await self.tree.changes("abc-7")).reset)


class TwoTreesTests(TreeCase):
    async def setUp(self):
        await super().setUp()
        self.other = await self.started(self.directory_)

    async def test_shows_the_others(self):
        """What one process acknowledged, the other shows, refuses and replaces, at once."""
        first = await self.put("a", b"1", New())
        self.assertEqual((await self.files(tree=self.other))["a"]["version"], first.entry.version)
        await self.put("a", b"2")
        with self.assertRaises(PreconditionFailed):
            await self.other.put("a", b"3", content_type=None, condition=Md5(digest(b"1")))
        await self.other.put("a", b"3", content_type=None, condition=Md5(digest(b"2")))
        await self.refused(
            self.put("a", b"4", Md5(digest(b"2"))),
            "Content-MD5 mismatch",
            current_md5=digest(b"3"),
            provided_md5=digest(b"2"),
        )
        self.assertEqual((await self.tree.get("a")).body, b"3")
        await self.other.delete("a", Anything())
        with self.assertRaisesRegex(Missing, "deleted"):
            await self.tree.get("a")
        self.assertTrue((await self.tree.delete("a", Anything())).is_deleted)

    async def test_races(self):
        """Two processes on the same paths: one wins each `new`, no update is lost, both show what the objects say."""
        trees = (self.tree, self.other)

        async def count_up(tree, path, times):
            for _ in range(times):
                while True:
                    blob = await tree.get(path)
                    body = b"%d" % (int(blob.body) + 1)
                    try:
                        await tree.put(path, body, content_type=None, condition=Version(blob.entry.version))
                        break
                    except (PreconditionFailed, Unavailable):
                        continue

        for path in ("x", "y"):
            new = (tree.put(path, b"0", content_type=None, condition=New()) for tree in trees * 4)
            results = await together(TroubleTests.tried(self, work) for work in new)
            self.assertEqual(sum(result is not None for result in results), 1)
        await together(count_up(tree, path, 8) for tree in trees for path in ("x", "y") for _ in range(2))
        for path in ("x", "y"):
            self.assertEqual((await self.tree.get(path)).body, b"32")
        self.assertEqual(await self.files(), await self.files(tree=self.other))
        for path, shown in (await self.files()).items():
            there = await self.tree.head(path)
            self.assertEqual((shown["md5"], shown["version"]), (there.md5, there.version))

    async def test_same_bytes_at_once(self):
        """Of two processes that put the same bytes in the same microsecond one is told that it has created them."""
        shape, now = Shape("same"), lambda: 1_700_000_000.0
        one, other = [await self.started(Faulty(self.directory_), shape, now=now) for _ in range(2)]

        async def put(tree):
            return await tree.put("a", b"x", content_type=None, condition=New())

        async def held(key, *args, **kwargs):
            del one._files.store.put
            winning.append(await put(other))
            return await one._files.store.put(key, *args, **kwargs)

        winning = []
        one._files.store.put = held
        with self.assertRaisesRegex(PreconditionFailed, "File already exists"):
            await put(one)
        self.assertTrue(winning[0].created)

    async def test_deleted_by_the_dead(self):
        """A deletion whose process died before it told is in the index when it is acknowledged by another."""
        await self.put("a", b"1")
        await self.other.view()
        await self.die_of(self.tree.delete("a", Anything()))
        self.assertTrue((await self.other.delete("a", Anything())).is_deleted)
        self.assertTrue((await self.files(tree=self.other))["a"]["is_deleted"])

    async def test_skewed_clocks(self):
        """A process whose clock lags behind writes versions beyond those it has seen, and the index follows it."""
        slow = await self.started(self.directory_, now=lambda: 1_000_000.0)
        first = await self.put("a", b"1")
        second = await slow.put("a", b"2", content_type=None, condition=Anything())
        third = await self.put("a", b"3")
        versions = [first.entry.version, second.entry.version, third.entry.version]
        self.assertEqual(versions, sorted(set(versions)))
        shown = await self.files(tree=slow)
        self.assertEqual(shown["a"]["md5"], digest(b"3"))

    async def test_record_comes_late(self):
        """A write whose record comes after its successor's does not take the index back, and is acknowledged."""
        held = Deferred()
        append = self.tree._journal.append
        await self.put("a", b"0")
        await self.other.view()

        async def late(records):
            await held
            return await append(records)

        self.tree._journal.append = late
        writing = Deferred.fromCoroutine(self.put("a", b"1"))
        while (await self.other.get("a")).body != b"1":
            await sleep(0.01)
        await self.other.put("a", b"2", content_type=None, condition=Md5(digest(b"1")))
        held.callback(None)
        await writing
        for tree in (self.tree, self.other):
            self.assertEqual((await self.files(tree=tree))["a"]["md5"], digest(b"2"))
        later = await self.started(self.directory_)
        self.assertEqual(await self.files(tree=later), await self.files())

    async def test_notices_what_it_meets(self):
        """Who reads another object than the index shows, or is refused by it, has it in the index soon."""

        async def read(path):
            self.assertEqual((await self.other.get(path)).body, b"1")

        async def be_refused(path):
            with self.assertRaises(PreconditionFailed):
                await self.other.put(path, b"2", content_type=None, condition=Md5(digest(b"0")))

        for path, meet in (("a", read), ("b", be_refused)):
            await self.put(path, b"0")
            await self.die_of(self.put(path, b"1"))
            self.assertFalse(await self.shows(path, b"1", self.other))
            await meet(path)
            await until(lambda path=path: self.shows(path, b"1", self.other))

    async def die_of(self, writing):
        """Put the object, but not its record."""

        def die(name, key):
            if "/log/" in key:
                raise Unavailable("dead")

        self.store.before = die
        with self.assertRaises(Unavailable):
            await writing
        await self.tree._suspects.stop()
        self.store.before = lambda *_: None
