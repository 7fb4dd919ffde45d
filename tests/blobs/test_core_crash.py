"""Whatever fails and wherever a process dies, the index and the objects agree when somebody comes after."""

import json
import time
from collections import Counter
from dataclasses import replace
from hashlib import md5

from twisted.internet import reactor

from stor.blobs import compactor
from stor.blobs.history import Retention
from stor.blobs.rules import Anything, Md5, New, NotExisting, Version
from stor.blobs.stored import stored
from stor.blobs.tree import Shape
from stor.errors import Missing, PreconditionFailed, StorError, Unavailable
from stor.storage.directory import Directory
from stor.storage.promise import Found
from tests.blobs.core import CoreCase, Faulty, unavailable, until
from tests.places import folder

NO_MD5 = "d41d8cd98f00b204e9800998ecf8427e"


class Dying(Faulty):
    """A store that is reached by the first `calls` calls, and then by none; the last one's answer may be lost."""

    def __init__(self, store, calls, *, answered):
        super().__init__(store)
        self.left, self.answered, self.dead = calls, answered, False

    async def _call(self, name, key, *args, **kwargs):
        self.calls.append((name, key))
        if self.dead:
            raise Unavailable("dead")
        self.left -= 1
        if self.left < 0:
            self.dead = True
            if not self.answered:
                await getattr(self.store, name)(key, *args, **kwargs)
            raise Unavailable("dead")
        return await getattr(self.store, name)(key, *args, **kwargs)

    async def list(self, prefix="", after=""):
        if self.dead:
            raise Unavailable("dead")
        async for page in self.store.list(prefix, after):
            yield page


class Done(dict):
    """What was acknowledged: md5 and whether it is deleted, by path; `trying` is the path of the last write."""

    trying = ""

    def certain(self):
        """Give what must be there: of the path that was being written nobody knows."""
        return [(path, state) for path, state in self.items() if path != self.trying]


class CrashCase(CoreCase):
    async def objects(self, store, prefix):
        """What the objects themselves say."""
        found = {}
        async for page in store.list(f"{prefix}/"):
            for listed in page:
                path = listed.key.removeprefix(f"{prefix}/")
                if not path.endswith(".sync-index.json"):
                    said = stored(await store.head(listed.key))
                    found[path] = (said.md5, said.version, said.size, said.is_deleted)
        return found

    async def index(self, tree):
        shown = json.loads((await tree.view()).body())["files"]
        return {p: (f["md5"], f["version"], f["size"], f["is_deleted"]) for p, f in shown.items()}

    async def assert_right(self, store, prefix, message=None):
        tree = await self.started(store, Shape(prefix))
        index = await self.index(tree)
        self.assertEqual(index, await self.objects(store, prefix), message)
        await tree.stopService()
        return index


class CrashTests(CrashCase):
    timeout = 120

    async def scenario(self, tree, done):
        """Write in every way; note what was acknowledged."""

        async def put(path, body, condition):
            done.trying = path
            entry = (await tree.put(path, body, content_type=None, condition=condition)).entry
            done[path] = (entry.md5, entry.is_deleted)
            return entry

        async def delete(path):
            done.trying = path
            entry = await tree.delete(path, Anything())
            done[path] = (entry.md5, entry.is_deleted)
            return entry

        a = await put("a", b"1", New())
        await put("a", b"2", Md5(a.md5))
        await put("empty", b"", New())
        await delete("empty")
        gone = await delete("a")
        await put("a", b"", Version(gone.version))
        await put("n/b", b"3", NotExisting())
        await delete("n/b")
        await put("n/b", b"3", NotExisting())

    async def test_at_every_call(self):
        """A process dies at each call, before it or before its answer: what was acknowledged is there, and shown."""
        self.patch(compactor, "STEP", 3)
        store = await self.directory()
        retention = Retention(versions=3)
        lived = Counter()
        for answered in (True, False):
            for calls in range(100):
                prefix = f"t{calls}{answered}"
                dying, done = Dying(store, calls, answered=answered), Done()
                tree = self.new_tree(dying, Shape(prefix, retention=retention))
                try:
                    await tree.startService()
                    await self.scenario(tree, done)
                    lived[answered] += 1
                except StorError:
                    pass
                died = dying.dead
                dying.dead = True
                await tree.stopService()
                index = await self.assert_right(store, prefix, (calls, answered, dying.calls[-3:]))
                for path, state in done.certain():
                    self.assertEqual((index[path][0], index[path][3]), state, (path, calls))
                if not died:
                    break
            else:
                self.fail("the scenario never lived to its end")
        self.assertEqual(lived, {True: 1, False: 1})

    async def test_at_every_call_beside_another(self):
        """While one process dies at each call, another lives on: it shows what was acknowledged, at once and later."""
        store = await self.directory()
        for calls in range(0, 60, 5):
            prefix = f"t{calls}"
            shape = Shape(prefix)
            living = await self.started(store, shape)
            dying, done = Dying(store, calls, answered=bool(calls % 2)), Done()
            tree = self.new_tree(dying, shape)
            try:
                await tree.startService()
                await self.scenario(tree, done)
            except StorError:
                pass
            dying.dead = True
            shown = await self.index(living)
            for path, state in done.certain():
                self.assertEqual((shown[path][0], shown[path][3]), state, (path, calls))
            for path in ("a", "n/b", "empty", "new"):
                await living.put(path, b"after", content_type=None, condition=Anything())
            await tree.stopService()
            self.assertEqual(await self.index(living), await self.objects(store, prefix), calls)
            await living.stopService()

    async def test_one_failure_at_every_call(self):
        """One call fails, the rest goes on: within moments, without a restart, the index shows the objects."""
        store = await self.directory()
        for answered in (True, False):
            trees = []
            for calls in range(0, 45, 4):
                prefix = f"f{calls}{answered}"
                flaky, done = Dying(store, calls, answered=answered), Done()
                tree = await self.started_in_spite(flaky, Shape(prefix))
                for _ in range(2):
                    try:
                        await self.scenario(tree, done)
                    except StorError:
                        flaky.dead, flaky.left = False, 1000
                flaky.dead, flaky.left = False, 1000
                trees.append((tree, prefix))
            for tree, prefix in trees:
                await until(lambda tree=tree, prefix=prefix: self.is_right(tree, store, prefix))
                await tree.stopService()

    async def is_right(self, tree, store, prefix):
        return await self.index(tree) == await self.objects(store, prefix)

    async def started_in_spite(self, store, shape):
        while True:
            tree = self.new_tree(store, shape)
            try:
                await tree.startService()
                return tree
            except StorError:
                store.dead, store.left = False, 1000
                await tree.stopService()


class DamageTests(CrashCase):
    async def test_torn_file(self):
        """A file that is damaged keeps nobody from the others: it is counted, and the index shows what it showed."""
        place = folder(self)
        store = Directory(place, reactor)
        await store.startService()
        self.addCleanup(store.stopService)
        tree = await self.started(store)
        for path in ("a", "torn", "z"):
            await tree.put(path, b"this is " + path.encode(), content_type=None, condition=New())
        shown = await self.index(tree)
        await tree.stopService()
        (torn,) = [file for file in place.rglob("*") if file.is_file() and b"this is torn" in file.read_bytes()]
        torn.write_bytes(b"this is t")
        later = await self.started(store)
        self.assertEqual((later.found.objects, later.found.unreadable), (3, 1))
        self.assertEqual(await self.index(later), shown)
        self.assertEqual((await later.get("z")).body, b"this is z")

    async def test_store_away(self):
        """A store that goes away while all is compared ends the start: nothing is served half."""
        store = Faulty(await self.directory())
        await store.put("memory/a", b"by hand")
        store.before = unavailable(1, "head")
        tree = self.new_tree(store)
        with self.assertRaises(Unavailable):
            await tree.startService()
        await tree.stopService()


class AbaTests(CrashCase):
    """A store whose etags are those of the bytes, as S3's are: here the same etag comes back."""

    async def setUp(self):
        super().setUp()
        self.store = ByBytes(await self.directory())

    async def test_delete_of_empty(self):
        """A crash between the tombstone of an empty file and its record is found, though the etag is the same."""
        tree = await self.started(self.store)
        await tree.put("a", b"", content_type=None, condition=New())
        append = tree._journal.append

        async def die(records):
            raise Unavailable("dead")

        tree._journal.append = die
        with self.assertRaises(Unavailable):
            await tree.delete("a", Anything())
        tree._journal.append = append
        await tree._suspects.stop()
        self.assertFalse((await self.index(tree))["a"][3])
        self.assertTrue((await self.assert_right(self.store, "memory"))["a"][3])

    async def test_same_bytes_again(self):
        """A crash between the same bytes, put again later, and their record is found by the next start."""
        tree = await self.started(self.store, now=lambda: time.time() - 60)
        await tree.put("a", b"x", content_type=None, condition=New())
        append = tree._journal.append

        async def die(records):
            raise Unavailable("dead")

        tree._journal.append = die
        with self.assertRaises(Unavailable):
            await tree.put("a", b"x", content_type=None, condition=Anything())
        tree._journal.append = append
        await tree._suspects.stop()
        await tree.stopService()
        await self.assert_right(self.store, "memory")

    async def test_same_empty_etag(self):
        """Two processes on an empty file and its tombstone: each is judged by what is there, not by its etag."""
        one, other = await self.started(self.store), await self.started(self.store)
        first = await one.put("a", b"x", content_type=None, condition=New())
        await one.delete("a", Anything())
        await other.view()
        await one.put("a", b"y", content_type=None, condition=Anything())
        await one.delete("a", Anything())
        with self.assertRaises(StorError):
            await other.put("a", b"z", content_type=None, condition=Md5(first.entry.md5))
        revived = await one.put("a", b"", content_type=None, condition=NotExisting())
        self.assertTrue(revived.created)
        with self.assertRaises(StorError):
            await other.put("a", b"", content_type=None, condition=NotExisting())
        self.assertEqual(revived.entry.md5, NO_MD5)
        self.assertEqual(await self.index(other), await self.objects(self.store, "memory"))

    async def test_etag_comes_back(self):
        """A write over bytes that went and came back unnoticed gets a version beyond what it could not know of."""
        fast = await self.started(self.store, now=lambda: 3_000_000_000.0)
        slow = await self.started(self.store, now=lambda: 1_000_000_000.0)
        await fast.put("a", b"x", content_type=None, condition=New())
        await slow.view()
        await fast.put("a", b"y", content_type=None, condition=Anything())
        last = await fast.put("a", b"x", content_type=None, condition=Anything())
        written = await slow.put("a", b"z", content_type=None, condition=Anything())
        self.assertGreater(written.entry.version, last.entry.version)
        for tree in (fast, slow):
            shown = await self.index(tree)
            self.assertEqual(shown["a"][1], written.entry.version)
            self.assertEqual(shown, await self.objects(self.store, "memory"))

    async def test_etag_comes_back_and_record_is_late(self):
        """The same when the record of what came back is later than that of the write over it."""
        fast = await self.started(self.store, now=lambda: 3_000_000_000.0)
        slow = await self.started(self.store, now=lambda: 1_000_000_000.0)
        await fast.put("a", b"x", content_type=None, condition=New())
        await slow.view()
        await fast.put("a", b"y", content_type=None, condition=Anything())
        append, held = fast._journal.append, []

        async def hold(records):
            held.extend(records)
            written.append(await slow.put("a", b"z", content_type=None, condition=Anything()))
            return await append(records)

        written = []
        fast._journal.append = hold
        await fast.put("a", b"x", content_type=None, condition=Anything())
        for tree in (fast, slow):
            shown = await self.index(tree)
            self.assertEqual(shown, await self.objects(self.store, "memory"))
        self.assertEqual((await fast.get("a")).body, b"z")


class ByBytes(Faulty):
    """A folder that gives its keys the etags that S3 would, and decides by them."""

    def _known(self, info):
        return replace(info, etag=info.metadata["etag"])

    async def put(self, key, body, *, when=None, metadata=None, **kwargs):
        data = body if isinstance(body, bytes) else b"".join(body.read_chunks())
        etag = md5(data, usedforsecurity=False).hexdigest()
        if isinstance(when, str):
            there = await self._there(key)
            if there.metadata["etag"] != when:
                raise PreconditionFailed("another etag")
            when = there.etag
        info = await self.store.put(key, data, when=when, metadata={**(metadata or {}), "etag": etag}, **kwargs)
        return self._known(info)

    async def _there(self, key):
        try:
            return await self.store.head(key)
        except Missing:
            raise PreconditionFailed("nothing there") from None

    async def head(self, key):
        return self._known(await self.store.head(key))

    async def get(self, key, start=0, stop=None, *, etag=None):
        found = await self.store.get(key, start, stop)
        return Found(self._known(found.info), found.body)

    async def list(self, prefix="", after=""):
        async for page in self.store.list(prefix, after):
            infos = [await self.store.head(each.key) for each in page]
            yield [self._known(info) for info in infos]
