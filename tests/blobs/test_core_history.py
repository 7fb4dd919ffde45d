"""Old versions, what is forgotten with time, and bodies kept compressed."""

import os
import random
from hashlib import md5

import zstandard
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from stor.blobs.compression import FRAME, Packed, pack, unpacked
from stor.blobs.history import Retention
from stor.blobs.layout import Layout
from stor.blobs.rules import Anything, Md5, New, NotExisting, Version
from stor.blobs.stored import ZSTD
from stor.blobs.tree import Shape
from stor.errors import Failed, Missing, NotSatisfiable, PreconditionFailed, Unavailable
from stor.storage.promise import Listed
from stor.streams import whole
from tests.blobs.core import Faulty, unavailable
from tests.blobs.test_core_tree import TreeCase, digest

DAY = 86_400.0


class HistoryTests(TreeCase):
    shape = Shape(retention=Retention(versions=3))

    async def test_kept(self):
        """What was overwritten or deleted can be listed, read and restored; a tombstone is a version too."""
        written = [(await self.put("a", b"%d" % n, content_type=f"text/{n}")).entry for n in range(3)]
        gone = await self.tree.delete("a", Anything())
        versions = await self.tree.versions("a")
        self.assertEqual([entry.version for entry in versions], [each.version for each in (gone, *written[::-1])])
        self.assertEqual([entry.content_type for entry in versions[1:]], ["text/2", "text/1", "text/0"])
        self.assertTrue(versions[0].is_deleted)
        for n, entry in enumerate(written):
            blob = await self.tree.get("a", version=entry.version)
            self.assertEqual((blob.body, blob.entry.md5, blob.entry.modified), (b"%d" % n, entry.md5, entry.modified))
        with self.assertRaises(PreconditionFailed):
            await self.tree.restore("a", written[0].version, Version(written[0].version))
        restored = await self.tree.restore("a", written[0].version, NotExisting())
        self.assertEqual((restored.created, restored.entry.content_type), (True, "text/0"))
        self.assertEqual((await self.tree.get("a")).body, b"0")
        self.assertGreater(restored.entry.version, gone.version)
        current = await self.tree.get("a", version=restored.entry.version)
        self.assertEqual(current.body, b"0")
        with self.assertRaisesRegex(Missing, "^Version 7 not found: a$"):
            await self.tree.get("a", version=7)
        with self.assertRaises(Missing):
            await self.tree.restore("b", 7, Anything())

    async def test_large(self):
        """A large old version comes back in whole and in parts, and can be restored."""
        body = os.urandom(2_000_000)
        old = (await self.put("a", await self.spooled(body))).entry
        await self.put("a", b"new")
        blob = await self.tree.get("a", 1000, 1_500_000, version=old.version)
        self.assertEqual(await whole(blob.body, 1 << 22), body[1000:1_500_000])
        with self.assertRaises(NotSatisfiable):
            await self.tree.get("a", 3_000_000, version=old.version)
        await self.tree.restore("a", old.version, Md5(digest(b"new")))
        self.assertEqual(await whole((await self.tree.get("a")).body, 1 << 22), body)

    async def test_limits(self):
        """No more versions are listed than are kept, and a sweep deletes the rest, of this path and no other."""
        for n in range(6):
            await self.put("a", b"%d" % n)
        await self.put("a/1", b"other")
        await self.put("a/1", b"another")
        self.assertEqual(len(await self.tree.versions("a")), 4)
        self.assertEqual(len(await self.kept("a")), 5)
        await self.tree._lifecycle.run()
        self.assertEqual((len(await self.kept("a")), len(await self.kept("a/1"))), (3, 1))
        blob = await self.tree.get("a", version=(await self.tree.versions("a"))[3].version)
        self.assertEqual(blob.body, b"2")

    async def kept(self, path):
        prefix = Layout("memory").history(path)
        return [each.key async for page in self.directory_.list(prefix) for each in page]

    async def test_off(self):
        """Without history nothing is kept, only the current one is listed, and what is there already is left alone."""
        await self.put("a", b"1")
        await self.put("a", b"2")
        tree = await self.started(self.directory_)
        await tree.put("a", b"3", content_type=None, condition=Anything())
        self.assertEqual([entry.md5 for entry in await tree.versions("a")], [digest(b"3")])
        await tree._lifecycle.run()
        self.assertEqual(len(await self.kept("a")), 1)

    async def test_cannot_be_kept(self):
        """What cannot be kept is not overwritten."""
        await self.put("a", b"1")
        self.store.before = unavailable(1, "copy")
        with self.assertRaises(Unavailable):
            await self.put("a", b"2")
        self.assertEqual((await self.tree.get("a")).body, b"1")

    async def test_races(self):
        """With two processes every state that a path had is among its versions."""
        other = await self.started(self.directory_, Shape(retention=Retention(versions=100)))
        bodies = [b"%d" % n for n in range(12)]
        for n, body in enumerate(bodies):
            tree = (self.tree, other)[n % 2]
            await tree.put("a", body, content_type=None, condition=Anything())
        found = {entry.md5 for entry in await other.versions("a")}
        self.assertEqual(found, {digest(body) for body in bodies})


class RetentionTests(SynchronousTestCase):
    @given(st.integers(0, 4), st.sampled_from([0, 1, 2.5]), st.lists(st.floats(0, 4 * DAY), max_size=8))
    def test_kept(self, versions, days, ages) -> None:
        """Those stay that are among the newest so many and not older than so many days, where these are said."""
        listed = [Listed(str(n), 1, "e", 1e9 - age) for n, age in enumerate(sorted(ages))]
        kept = Retention(versions, days).kept(listed, 1e9)
        wanted = [
            each
            for n, each in enumerate(listed)
            if (not versions or n < versions) and (not days or 1e9 - each.modified <= days * DAY)
        ]
        self.assertEqual(kept, wanted)


class LifecycleTests(TreeCase):
    async def setUp(self):
        await super().setUp()
        self.now = 1_900_000_000.0
        self.aging = Shape("aging", tombstone_days=10)
        self.tree = await self.started(self.store, self.aging, now=lambda: self.now)

    async def object_of(self, path):
        return [each.key async for page in self.directory_.list(f"aging/{path}") for each in page]

    async def test_expired(self):
        """A tombstone of its age is nothing: not read, not judged, created anew; before it is purged and after."""
        await self.put("a", b"1")
        await self.tree.delete("a", Anything())
        self.now += 9 * DAY
        with self.assertRaisesRegex(Missing, "deleted"):
            await self.tree.get("a")
        self.now += 2 * DAY
        with self.assertRaisesRegex(Missing, "not found"):
            await self.tree.get("a")
        with self.assertRaisesRegex(Missing, "not found"):
            await self.tree.head("a")
        with self.assertRaisesRegex(Missing, "not found"):
            await self.tree.delete("a", Anything())
        await self.refused(
            self.put("a", b"2", Md5(digest(b"1"))), "File does not exist", current_md5="none", provided_md5=digest(b"1")
        )
        written = await self.put("a", b"2", New())
        self.assertTrue(written.created)
        self.assertEqual((await self.files())["a"]["md5"], digest(b"2"))

    async def test_purge(self):
        """A sweep removes what has expired, object and entry, and nothing else; versions do not go back."""
        await self.put("old", b"1")
        await self.put("lives", b"1")
        await self.tree.delete("old", Anything())
        self.now += 11 * DAY
        await self.put("young", b"1")
        await self.tree.delete("young", Anything())
        before = await self.tree.view()
        await self.tree._lifecycle.run()
        after = await self.tree.view()
        self.assertEqual(set(await self.files()), {"lives", "young"})
        self.assertEqual(await self.object_of("old"), [])
        self.assertGreaterEqual(after.version, before.version)
        self.assertNotEqual(after.etag, before.etag)
        self.now -= 20 * DAY
        again = await self.put("old", b"2", New())
        self.assertGreater(again.entry.version, before.version)
        self.assertIn(b'"reset":true', after.since(str(before.cursor).rpartition("-")[0] + "-1"))
        self.assertIn(b'"reset":false', after.since(before.cursor))

    async def test_for_ever(self):
        """With no age a tombstone stays."""
        tree = await self.started(self.directory_, Shape("for-ever", tombstone_days=0), now=lambda: self.now)
        await tree.put("a", b"", content_type=None, condition=New())
        await tree.delete("a", Anything())
        self.now += 10_000 * DAY
        await tree._lifecycle.run()
        self.assertTrue((await self.files(tree=tree))["a"]["is_deleted"])

    async def test_revived_meanwhile(self):
        """What another process revived is not purged, though this one does not know of it yet."""
        other = await self.started(self.directory_, self.aging, now=lambda: self.now)
        await self.put("a", b"1")
        await self.tree.delete("a", Anything())
        await other.view()
        self.now += 11 * DAY
        await other.put("a", b"", content_type=None, condition=Anything())
        await self.tree._lifecycle.run()
        self.assertEqual((await self.tree.get("a")).body, b"")
        self.assertFalse((await self.files())["a"]["is_deleted"])

    async def test_store_that_cannot(self):
        """A store that cannot delete on a condition keeps the object: the entry goes, and does not come back."""
        store = Faulty(self.directory_)
        store.conditional_delete = False
        tree = await self.started(store, self.aging, now=lambda: self.now)
        await tree.put("a", b"1", content_type=None, condition=New())
        await tree.delete("a", Anything())
        self.now += 11 * DAY
        await tree._lifecycle.run()
        self.assertEqual(await self.files(tree=tree), {})
        self.assertEqual(len(await self.object_of("a")), 1)
        later = await self.started(store, self.aging, now=lambda: self.now)
        self.assertEqual(await self.files(tree=later), {})
        with self.assertRaisesRegex(Missing, "not found"):
            await later.get("a")
        self.assertTrue((await later.put("a", b"2", content_type=None, condition=New())).created)
        self.assertEqual((await self.files(tree=later))["a"]["md5"], digest(b"2"))


class CompressionTests(TreeCase):
    shape = Shape(compressed=True)

    async def test_there_and_back(self):
        """A body is kept small and given plain: size, md5, whole, parts; what does not shrink is kept as it is."""
        text = b"all work and no play makes jack a dull boy\n"
        noise = random.Random(1).randbytes(300_000)
        bodies = [b"", b"x", text * 10, text * 3_000, text * 100_000, noise, noise + text * 50_000]
        for body in bodies:
            for each in (body, await self.spooled(body)):
                written = await self.put("a", each)
                self.assertEqual((written.entry.md5, written.entry.size), (digest(body), len(body)))
                for start, stop in ((0, None), (0, 1), (5, 50), (len(body) // 2, None), (len(body) - 3, len(body) + 9)):
                    if 0 <= start < len(body):
                        blob = await self.tree.get("a", start, stop)
                        self.assertEqual(await whole(blob.body, 1 << 23), body[start:stop])
                        self.assertEqual((blob.entry.size, blob.entry.md5), (len(body), digest(body)))
                with self.assertRaises(NotSatisfiable) as caught:
                    await self.tree.get("a", len(body) + 1)
                self.assertEqual(caught.exception.size, len(body))
            info = await self.directory_.head("memory/a")
            is_packed = info.metadata.get("encoding") == ZSTD
            self.assertEqual(is_packed, body[:50] == (text * 2)[:50])
            self.assertEqual(info.size < len(body), is_packed)
        head = await self.tree.head("a")
        self.assertEqual(head.size, len(bodies[-1]))

    async def test_plain_tools(self):
        """What is kept is zstd frames, each of at most 1 MiB, that any tool unpacks."""
        body = b"0123456789" * 400_000
        await self.put("a", body)
        kept = await whole((await self.directory_.get("memory/a")).body, 1 << 22)
        unpacker = zstandard.ZstdDecompressor()
        self.assertEqual(unpacker.stream_reader(kept, read_across_frames=True).read(), body)
        self.assertLessEqual(zstandard.frame_content_size(kept), FRAME)

    async def test_restart_and_history(self):
        """A restart shows plain sizes; old versions, compressed or not, come back plain; both settings read both."""
        retention = Retention(versions=9)
        packing = await self.started(self.directory_, Shape("p", retention=retention, compressed=True))
        plain = await self.started(self.directory_, Shape("p", retention=retention))
        one, two = b"1" * 10_000, b"2" * 10_000
        first = await packing.put("a", one, content_type=None, condition=New())
        await plain.put("a", two, content_type=None, condition=Anything())
        second = (await plain.versions("a"))[0]
        await packing.put("a", b"3", content_type=None, condition=Anything())
        for tree in (packing, plain):
            self.assertEqual((await tree.get("a", 3, 7, version=first.entry.version)).body, b"1111")
            self.assertEqual((await tree.get("a", version=second.version)).body, two)
        await plain.restore("a", first.entry.version, Anything())
        self.assertEqual((await packing.get("a")).body, one)
        later = await self.started(self.directory_, Shape("p"))
        self.assertEqual((await self.files(tree=later))["a"]["size"], 10_000)

    async def test_damaged(self):
        """Damaged or short bytes are never given for whole."""
        for body in (b"x" * 1_000, b"0123456789" * 300_000):
            packed = await pack(body, self.directory_.spool, self.threads)
            assert isinstance(packed.body, bytes)
            for wrong in (packed.body[:-1], packed.body[: len(packed.body) // 2], b"", b"rubbish" * 9):
                with self.assertRaises(Failed):
                    await whole(unpacked(wrong, 0, len(body), self.threads), 1 << 22)

    async def test_bounded(self):
        """However well bytes were compressed, a reader is given at most 1 MiB at once."""
        body = bytes(30 << 20)
        packed = await pack(body, self.directory_.spool, self.threads)
        assert isinstance(packed.body, bytes)
        self.assertLess(len(packed.body), 10_000)
        stream, sizes = unpacked(packed.body, 0, len(body), self.threads), []
        while piece := await stream.read():
            sizes.append(len(piece))
        self.assertEqual((sum(sizes), max(sizes)), (len(body), FRAME))

    async def test_kinds(self):
        """Small bodies stay bytes, large ones stay in files."""
        spool = await self.spooled(b"a" * 500_000)
        packed = await pack(spool, self.directory_.spool, self.threads)
        self.assertEqual(packed.encoding, ZSTD)
        self.assertEqual(md5(b"a" * 500_000, usedforsecurity=False).hexdigest(), spool.digests["md5"])
        self.assertEqual(await pack(b"q", self.directory_.spool, self.threads), Packed(b"q", None))
        self.assertTrue(reactor.running)
        spool.discard()
