"""Buckets of the older software are taken over as they are, and stay readable by it."""

import contextlib  # trial takes a module's `suppress` for its own
import json
from datetime import UTC, datetime
from hashlib import md5
from secrets import token_hex

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from stor.blobs.rules import Anything, Md5, New, Version
from stor.blobs.tree import Shape
from stor.errors import Failed, Full, PreconditionFailed, StorError, Unavailable
from stor.streams import whole
from tests.blobs.core import CoreCase, Faulty, client, until, weed


def digest(data):
    return md5(data, usedforsecurity=False).hexdigest()


class BucketCase(CoreCase):
    timeout = 120

    async def setUp(self):
        super().setUp()
        self.prefix = f"t{token_hex(4)}"
        self.shape = Shape(self.prefix)
        self.s3, self.older = client(), {}
        self.addCleanup(self.s3.close)
        self.store = await self.bucket()

    async def old_put(self, path, body, **metadata):
        """Put an object as other software does."""
        await deferToThread(
            self.s3.put_object,
            Bucket=weed().bucket,
            Key=f"{self.prefix}/{path}",
            Body=body,
            ContentType="text/plain",
            Metadata={name.replace("_", "-"): value for name, value in metadata.items()},
        )

    async def old_file(self, path, body, version=None, *, is_deleted=False):
        """Put a file as the older software did, and remember it for its index."""
        metadata = {"content_md5": digest(body), "is_deleted": str(is_deleted).lower()}
        if version is not None:
            metadata["version"] = str(version)
        await self.old_put(path, b"" if is_deleted else body, **metadata)
        self.older[path] = {
            "md5": digest(body),
            "last_modified": "2024-01-15T10:30:00.123000+00:00",
            "size": 0 if is_deleted else len(body),
            "is_deleted": is_deleted,
            **({} if version is None else {"version": version}),
        }

    async def old_index(self, namespace="", **more):
        head = namespace + "/" if namespace else ""
        files = {path[len(head) :]: file for path, file in self.older.items() if path.startswith(head)}
        index = {"files": files, "index_last_modified": "2024-01-15T11:00:00.456000+00:00", **more}
        await self.old_put(f"{head}.sync-index.json", json.dumps(index, indent=2))

    async def read_index(self, namespace=""):
        """Read the index as the older software does."""
        key = f"{self.prefix}/{namespace}/.sync-index.json" if namespace else f"{self.prefix}/.sync-index.json"
        found = await deferToThread(self.s3.get_object, Bucket=weed().bucket, Key=key)
        index = json.loads(await deferToThread(found["Body"].read))
        datetime.fromisoformat(index["index_last_modified"])
        for file in index["files"].values():
            datetime.fromisoformat(file["last_modified"])
        return index

    async def has_followed(self, tree, namespace=""):
        """Tell whether the older software reads what the tree shows."""
        with contextlib.suppress(self.s3.exceptions.NoSuchKey):
            return (await self.read_index(namespace))["files"] == await self.files(tree, namespace)

    async def files(self, tree, namespace=""):
        return json.loads((await tree.view(namespace)).body())["files"]


class OneByOne(Faulty):
    """A store whose listings give one key at a time."""

    async def list(self, prefix="", after=""):
        async for page in self.store.list(prefix, after):
            for listed in page:
                yield [listed]


class TakeoverTests(BucketCase):
    async def test_plain(self):
        """Files and tombstones of the plain dialect are shown as the older index did, and can be read and written."""
        for n in range(30):
            await self.old_file(f"d/f{n}", b"x" * n)
        await self.old_file("gone", b"was here", is_deleted=True)
        await self.old_index()
        tree = await self.started(self.store, self.shape)
        shown = await self.files(tree)
        told = {
            path: {**file, "last_modified": "2024-01-15T10:30:00.123000Z", "version": shown[path]["version"]}
            for path, file in self.older.items()
        }
        told["gone"]["last_modified"] = shown["gone"]["last_modified"]  # the object's own: it is not expired
        self.assertEqual(shown, told)
        now = datetime.now(UTC).timestamp() * 1000
        self.assertTrue(all(now - 120_000 < file["version"] < now + 5_000 for file in shown.values()))
        blob = await tree.get("d/f5")
        self.assertEqual((blob.body, blob.entry.md5), (b"xxxxx", digest(b"xxxxx")))
        self.assertEqual(blob.entry.version, shown["d/f5"]["version"])
        await tree.put("d/f5", b"y", content_type=None, condition=Version(shown["d/f5"]["version"]))
        with self.assertRaises(PreconditionFailed):
            await tree.put("gone", b"y", content_type=None, condition=New())
        await tree.put("gone", b"y", content_type=None, condition=Md5(digest(b"was here")))

    async def test_namespaced(self):
        """Namespaces keep their versions, and an index of their own."""
        namespace = "personas/default/memory"
        await self.old_file(f"{namespace}/topics/one.md", b"one", 1_700_000_000_123)
        await self.old_file(f"{namespace}/gone.md", b"gone", 1_700_000_000_456, is_deleted=True)
        await self.old_index(namespace, index_version=1_700_000_000_500)
        tree = await self.started(self.store, self.shape)
        shown = await self.files(tree, namespace)
        self.assertEqual(shown["topics/one.md"]["version"], 1_700_000_000_123)
        self.assertEqual(shown["gone.md"]["version"], 1_700_000_000_456)
        self.assertTrue(shown["gone.md"]["is_deleted"])
        path = f"{namespace}/topics/one.md"
        await tree.put(path, b"two", content_type=None, condition=Version(1_700_000_000_123))
        await until(lambda: self.has_followed(tree, namespace))
        index = await self.read_index(namespace)
        self.assertEqual(index["files"]["topics/one.md"]["md5"], digest(b"two"))
        self.assertGreater(index["index_version"], 1_700_000_000_500)

    async def test_cut(self):
        """A takeover that was cut goes on where it ended, with what the older index says."""
        for n in range(4):
            await self.old_put(f"f{n}", b"%d" % n)
            self.older[f"f{n}"] = {"md5": digest(b"%d" % n), "version": 70 + n, "last_modified": "2024-01-15T10:30:00"}
        await self.old_index()
        one_by_one = OneByOne(self.store)

        def cut(name, key):
            if (name, key) == ("head", f"{self.prefix}/f2"):
                raise Unavailable("cut")

        one_by_one.before = cut
        tree = self.new_tree(one_by_one, self.shape)
        with self.assertRaises(Unavailable):
            await tree.startService()
        await tree.stopService()
        self.assertEqual(tree.entries, 2)
        later = await self.started(self.store, self.shape)
        self.assertEqual([file["version"] for file in (await self.files(later)).values()], [70, 71, 72, 73])

    async def test_older_index_is_not_asked(self):
        """Where all objects say all about themselves, a start reads no older index."""
        tree = await self.started(self.store, self.shape)
        await tree.put("a", b"1", content_type=None, condition=New())
        await tree.stopService()
        counting = Faulty(self.store)
        await self.started(counting, self.shape)
        self.assertNotIn(("get", f"{self.prefix}/.sync-index.json"), counting.calls)

    async def test_missing_metadata(self):
        """What was put by hand, or by half: its md5 is computed, and an index is believed where it fits the object."""
        await self.old_put("by/hand", b"hello")
        await self.old_put("empty", b"")
        await self.old_put("big", b"z" * 9_000_000)
        await self.old_put("tombstone", b"")
        await self.old_put("hinted", b"hinted")
        await self.old_put("liar", b"truth")
        await self.old_put("odd", b"odd", content_md5="rubbish", version="-7", is_deleted="maybe", modified="never")
        hint = {"last_modified": "2024-01-15T10:30:00", "size": 0}
        self.older = {
            "tombstone": {"md5": digest(b"old"), "is_deleted": True, "version": 77, **hint},
            "hinted": {"md5": digest(b"hinted"), "is_deleted": False, "version": 78, **hint},
            "liar": {"md5": digest(b"lie"), "is_deleted": False, "version": 79, **hint},
            "nowhere": {"md5": digest(b"lie"), "is_deleted": False, **hint},
        }
        await self.old_index()
        tree = await self.started(self.store, self.shape)
        shown = await self.files(tree)
        bodies = {"by/hand": b"hello", "empty": b"", "big": b"z" * 9_000_000, "hinted": b"hinted", "liar": b"truth"}
        expected = {path: digest(body) for path, body in (bodies | {"odd": b"odd"}).items()}
        expected["tombstone"] = digest(b"old")
        self.assertEqual({path: file["md5"] for path, file in shown.items()}, expected)
        self.assertEqual([path for path, file in shown.items() if file["is_deleted"]], ["tombstone"])
        self.assertEqual((shown["tombstone"]["version"], shown["hinted"]["version"]), (77, 78))
        self.assertGreater(shown["liar"]["version"], 1_700_000_000_000)
        for path, body in bodies.items():
            blob = await tree.get(path)
            self.assertEqual(await whole(blob.body, 1 << 24), body)
            self.assertEqual((blob.entry.md5, blob.entry.version), (digest(body), shown[path]["version"]))
        await tree.stopService()
        again = Faulty(self.store)
        later = await self.started(again, self.shape)
        self.assertEqual(await self.files(later), shown)
        self.assertNotIn("get", [name for name, key in again.calls if key.startswith(f"{self.prefix}/big")])

    async def test_strange_keys(self):
        """Keys that are no paths of ours, and an index that cannot be read, keep nobody from the rest."""
        await self.old_file("good", b"1")
        await self.old_put("bad\tkey", b"1")
        await self.old_put("trailing/", b"")
        await self.old_put(".sync-index.json", b"{not json")
        tree = await self.started(self.store, self.shape)
        self.assertEqual(list(await self.files(tree)), ["good"])

    async def test_too_many(self):
        """A bucket with more files than a tree may have is refused, clearly."""
        for n in range(4):
            await self.old_file(f"f{n}", b"")
        with self.assertRaisesRegex(Full, "holds more than 3 files"):
            await self.started(self.store, Shape(self.prefix, most_entries=3))

    async def test_two_at_once(self):
        """Two processes that take over one bucket at once agree, and each object is in the journal once."""
        for n in range(25):
            await self.old_file(f"f{n}", b"%d" % n)
        one, other = self.new_tree(self.store, self.shape), self.new_tree(await self.bucket(), self.shape)
        for tree in (one, other):
            self.addCleanup(tree.stopService)
        first, second = one.startService(), other.startService()
        await first
        await second
        self.assertEqual(await self.files(one), await self.files(other))
        self.assertEqual(len(await self.files(one)), 25)

    async def test_changed_meanwhile(self):
        """What other software changed while no stor ran is found by the next start."""
        tree = await self.started(self.store, self.shape)
        for path in ("a", "b", "c", "z"):
            await tree.put(path, b"1", content_type=None, condition=New())
        await tree.stopService()
        await self.old_file("a", b"2")
        await self.old_put("d", b"new")
        for path in ("c", "z"):
            await deferToThread(self.s3.delete_object, Bucket=weed().bucket, Key=f"{self.prefix}/{path}")
        later = await self.started(self.store, self.shape)
        self.assertEqual((later.found.objects, later.found.corrected), (3, 4))
        shown = await self.files(later)
        self.assertEqual({path: file["md5"] for path, file in shown.items()}, {
            "a": digest(b"2"), "b": digest(b"1"), "d": digest(b"new"),
        })  # fmt: skip

    async def test_copied(self):
        """Objects that were copied as they are, and so have other etags, keep their versions, and are found again."""
        store = await self.directory()
        tree = await self.started(store, self.shape)
        written = await tree.put("a", b"1", content_type="text/plain", condition=New())
        await tree.stopService()
        key = f"{self.prefix}/a"
        found = await store.get(key)
        await store.put(key, found.body, content_type=found.info.content_type, metadata=found.info.metadata)
        counting = Faulty(store)
        later = await self.started(counting, self.shape)
        self.assertEqual((await self.files(later))["a"]["version"], written.entry.version)
        counting.calls.clear()
        await later.put("a", b"2", content_type=None, condition=Version(written.entry.version))
        self.assertNotIn("head", [name for name, called in counting.calls if called == key])

    async def test_reindex(self):
        """A comparison while others write corrects what is wrong, and undoes nothing."""
        tree, other = await self.started(self.store, self.shape), await self.started(await self.bucket(), self.shape)
        for n in range(20):
            await tree.put(f"f{n}", b"1", content_type=None, condition=New())
        await self.old_put("f3", b"changed by hand")
        await deferToThread(self.s3.delete_object, Bucket=weed().bucket, Key=f"{self.prefix}/f4")
        running = Deferred.fromCoroutine(tree.reconcile())
        for n in range(5, 20):
            await other.put(f"f{n}", b"2", content_type=None, condition=Md5(digest(b"1")))
        found = await running
        self.assertGreaterEqual(found.corrected, 2)
        shown = {path: file["md5"] for path, file in (await self.files(tree)).items()}
        expected = {f"f{n}": digest(b"1") for n in range(3)} | {f"f{n}": digest(b"2") for n in range(5, 20)}
        self.assertEqual(shown, expected | {"f3": digest(b"changed by hand")})
        self.assertEqual(await self.files(other), await self.files(tree))
        self.assertEqual((await tree.reconcile()).corrected, 0)


class BehindTests(BucketCase):
    async def test_follows(self):
        """The older software reads what was written, and deleted, within three seconds."""
        tree = await self.started(self.store, self.shape)
        await tree.put("a", b"1", content_type=None, condition=New())
        await tree.put("n/b", b"2", content_type=None, condition=New(), namespace="n")
        await tree.delete("a", Anything())
        await until(lambda: self.has_followed(tree))
        await until(lambda: self.has_followed(tree, "n"))
        index, own = await self.read_index(), await self.read_index("n")
        self.assertEqual(index["files"], await self.files(tree))
        self.assertTrue(index["files"]["a"]["is_deleted"])
        self.assertEqual(own["files"], await self.files(tree, "n"))
        self.assertEqual(list(own["files"]), ["b"])

    async def test_stop_writes(self):
        """A stop leaves the index as it should be."""
        tree = await self.started(self.store, self.shape)
        await tree.put("n/a", b"1", content_type=None, condition=New(), namespace="n")
        await tree.stopService()
        self.assertEqual(list((await self.read_index())["files"]), ["n/a"])
        self.assertEqual(list((await self.read_index("n"))["files"]), ["a"])

    async def test_stop_writes_the_others(self):
        """An index that cannot be written when the tree stops keeps the others from nothing."""
        store = Faulty(self.store)
        tree = await self.started(store, self.shape)
        names = [f"n{n}" for n in range(8)]
        for name in names:
            await tree.put(f"{name}/a", b"1", content_type=None, condition=New(), namespace=name)

        def fail(name, key):
            if name == "put" and key.endswith("/.sync-index.json") and "/n" not in key:
                raise Failed("not this one")

        store.before = fail
        await tree.stopService()
        for name in names:
            self.assertEqual(list((await self.read_index(name))["files"]), ["a"])

    async def test_next_start_writes(self):
        """What a dead process did not write behind, the next one does."""
        store = Faulty(self.store)
        tree = await self.started(store, self.shape)
        await tree.put("a", b"1", content_type=None, condition=New())

        def dead(name, key):
            raise StorError("dead")

        store.before = dead
        with contextlib.suppress(StorError):
            await tree.stopService()
        later = await self.started(self.store, self.shape)
        await until(lambda: self.has_followed(later))

    async def test_never_back(self):
        """Of two processes that write it behind, the one that knows less never has the last word."""
        other_store = Faulty(await self.bucket())
        one, other = await self.started(self.store, self.shape), await self.started(other_store, self.shape)
        for n in range(12):
            tree = (one, other)[n % 2]
            await tree.put("a", b"%d" % n, content_type=None, condition=Anything())
            await deferLater(reactor, 0.2)
        await until(lambda: self.has_followed(one))
        # A slow one: it has the older view in its hand when the newer is written.
        behind = other._behind
        view = other._replica.view("")
        await one.put("a", b"last", content_type=None, condition=Anything())
        await one.stopService()
        self.patch(other._replica, "view", lambda namespace="": view)
        behind._indexes[""].etag = None
        await behind._write("")
        self.assertEqual((await self.read_index())["files"]["a"]["md5"], digest(b"last"))

    async def test_rests(self):
        """The longer a write of the index takes, the seldomer it is written."""
        store = Faulty(await self.directory())
        written = []

        def note(name, key):
            if name == "put" and key.endswith(".sync-index.json"):
                written.append(reactor.seconds())

        store.before = note
        tree = await self.started(store, self.shape)
        for n in range(25):
            await tree.put("a", b"%d" % n, content_type=None, condition=Anything())
            await deferLater(reactor, 0.1)
        self.assertLessEqual(len(written), 3)
        self.assertGreaterEqual(len(written), 1)
