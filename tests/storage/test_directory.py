"""A Directory's own promises: what a disk may do to it, and what other processes may."""

import contextlib  # trial takes a module's `suppress` for its own
import os
import random
import stat
import subprocess
import threading
import time
from errno import EDQUOT, EIO, ENOSPC
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.errors import ConfigError, Failed, Full, Missing, Unavailable
from stor.storage import directory, trailer
from stor.storage.directory import Directory
from stor.storage.folders import Folders
from stor.storage.promise import ABSENT
from stor.storage.scratch import Scratch
from stor.storage.stamps import stamp
from tests.places import folder
from tests.storage import children
from tests.storage.child import body_of
from tests.storage.stores import MIB, at_once, keys, open_directory, read, spooled


def left_over(path):
    """Give the temporary files of a Directory, of all processes."""
    return [file for file in (path / "tmp").rglob("*") if file.is_file() and file.name != "lock"]


def open_files():
    """Count the files and sockets that we have open."""
    return len(list(Path("/proc/self/fd").iterdir()))


class LayoutTests(TestCase):
    async def test_readable(self):
        """The bytes of a key are at the beginning of a file named for it, which nobody else may read."""
        path = folder(self)
        store = await open_directory(self, path)
        await store.put("notes/one.md", b"hello", metadata={"a": "b"})
        file = path / "data" / "notes" / "one.md="
        self.assertTrue(file.read_bytes().startswith(b'hello\n{"type":null,"metadata":{"a":"b"}}'))
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(file.stat().st_size, 5 + trailer.SIZE)

    async def test_foreign(self):
        """Files that are not ours are neither shown nor in the way."""
        path = folder(self)
        store = await open_directory(self, path)
        (path / "data" / "readme").write_text("x")
        (path / "data" / "x=").mkdir()
        (path / "data" / "%41=").write_text("x")
        (path / "data" / os.fsdecode(b"\xff=")).write_text("x")
        await store.put("a", b"")
        self.assertEqual(await keys(store), ["a"])

    async def test_folders_go(self):
        """What is deleted takes the folders along that it leaves empty, and no others."""
        path = folder(self)
        store = await open_directory(self, path)
        await store.put("a/b/c/d", b"")
        await store.put("a/x", b"")
        await store.delete("a/b/c/d")
        self.assertEqual([file.name for file in (path / "data").rglob("*")], ["a", "x="])

    async def test_no_folder(self):
        """A folder that cannot be made is the operator's to mend."""
        path = folder(self) / "file"
        path.write_text("")
        store = Directory(path / "in", reactor)
        self.addCleanup(store.stopService)
        with self.assertRaises(ConfigError):
            await store.startService()

    async def test_streams(self):
        """A stream gives the state that was found, whatever becomes of the key; closing it twice is no harm."""
        store = await open_directory(self)
        data = os.urandom(3 * MIB)
        await store.put("a", data)
        before = open_files()
        body = (await store.get("a", 5)).body
        await store.put("a", b"other")
        await store.delete("a")
        pieces = []
        while piece := await body.read():
            self.assertLessEqual(len(piece), MIB)
            pieces.append(piece)
        self.assertEqual(b"".join(pieces), data[5:])
        body.close()
        body.close()
        while open_files() > before:
            await deferLater(reactor, 0.01)

    async def test_given_up_get(self):
        """A get that nobody waits for leaves no file open."""
        store = await open_directory(self)
        await store.put("a", bytes(MIB))
        before = open_files()
        for _ in range(20):
            getting = Deferred.fromCoroutine(store.get("a"))
            getting.cancel()
            await self.assertFailure(getting, CancelledError)
        await store.head("a")
        while open_files() > before:
            await deferLater(reactor, 0.01)


class DamageTests(TestCase):
    async def test_torn(self):
        """A file that is cut or has other bytes in its trailer fails, and is never given as something else."""
        path = folder(self)
        store = await open_directory(self, path)
        for size in (100, 100_000):
            await store.put("a", os.urandom(size))
            file = path / "data" / "a="
            whole = file.read_bytes()
            torn = [whole[:n] for n in (0, 1, size, size + 5, len(whole) - 1)]
            torn += [whole + b"x", whole[:5] + whole[6:], whole[: size + 9] + b"#" + whole[size + 10 :]]
            for data in torn:
                file.write_bytes(data)
                for call in (store.get("a"), store.get("a", 1, 2), store.head("a"), store.copy("a", "b", etag="x")):
                    with self.assertRaises(Failed):
                        await call
        self.assertEqual(await keys(store), ["a"])

    async def test_shortened_while_read(self):
        """A file that becomes shorter while it is read ends with an error, not as if that were all."""
        path = folder(self)
        store = await open_directory(self, path)
        await store.put("a", bytes(2 * MIB))
        body = (await store.get("a")).body
        await body.read()
        os.truncate(path / "data" / "a=", MIB)
        with self.assertRaises(Failed):
            while await body.read():
                pass
        body.close()


class OrderTests(TestCase):
    def watch(self):
        """Write down the calls that make a put durable, with what they were called for."""
        calls, real = [], {name: getattr(os, name) for name in ("fsync", "rename", "utime", "unlink", "rmdir")}

        def name_of(fd):
            return Path(f"/proc/self/fd/{fd}").readlink().name

        def fsync(fd):
            kind = "sync folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "sync file"
            real["fsync"](fd)
            calls.append((kind, name_of(fd) if kind == "sync folder" else ""))

        def utime(what, **more):
            real["utime"](what, **more)
            calls.append(("time", ""))

        def rename(source, target):
            real["rename"](source, target)
            calls.append(("rename", Path(os.fsdecode(target)).name))

        def unlink(path):
            real["unlink"](path)
            calls.append(("unlink", Path(os.fsdecode(path)).name))

        for name, fake in (("fsync", fsync), ("utime", utime), ("rename", rename), ("unlink", unlink)):
            self.patch(os, name, fake)
        return calls

    async def test_put(self):
        """The file is synced before it gets its name, the folder after that, and new folders' places too."""
        store = await open_directory(self)
        calls = self.watch()
        for body in (b"x", await spooled(store, [bytes(100_000)])):
            await store.put("a/b/c", body)
            self.assertEqual(calls[:4], [("time", ""), ("sync file", ""), ("rename", "c="), ("sync folder", "b")])
            if isinstance(body, bytes):
                self.assertEqual(calls[4:], [("sync folder", "a"), ("sync folder", "data")])
            else:
                self.assertEqual(calls[4:], [])  # they are known to be safe
            calls.clear()

    async def test_delete(self):
        """A deletion is answered when its folder is synced."""
        store = await open_directory(self)
        await store.put("a/b", b"")
        await store.put("a/c", b"")
        calls = self.watch()
        await store.delete("a/b")
        self.assertEqual(calls, [("unlink", "b="), ("sync folder", "a")])

    def test_folders_of_others(self):
        """A folder that another process made, or made anew, is synced all the way up once before it is trusted."""
        root = folder(self)
        mark = os.fsencode(root / "mark")
        (root / "mark").touch()
        base = os.fsencode(root / "data")
        ours, theirs = Folders(base, mark), Folders(base, mark)
        (root / "data" / "a").mkdir(parents=True)
        calls = self.watch()
        ours.settle(base + b"/a")
        self.assertEqual([name for _, name in calls], ["a", "data"])
        calls.clear()
        ours.settle(base + b"/a")
        self.assertEqual([name for _, name in calls], ["a"])
        theirs.prune(base + b"/a")
        self.assertFalse((root / "data" / "a").exists())
        (root / "data" / "a").mkdir()
        calls.clear()
        ours.settle(base + b"/a")
        self.assertEqual([name for _, name in calls], ["a", "data"])
        theirs.prune(base + b"/a")
        calls.clear()
        ours.settle(base + b"/a")  # what was in it is gone too, and that is made durable
        self.assertEqual([name for _, name in calls], ["data"])


class FullTests(TestCase):
    async def test_full_disk(self):
        """A full disk refuses, leaves the old bytes and no temporary file, and takes small things again later."""
        path = folder(self)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", path], check=True)
        self.addCleanup(subprocess.run, ["umount", "--lazy", path], check=True)
        store = Directory(path, reactor)
        await store.startService()
        try:
            old = await store.put("a", b"old")
            spool = store.spool(10 * MIB)
            for _ in range(40):
                room = spool.write(bytes(100_000))
                if room is not None:
                    await room
            with self.assertRaises(Full):
                await spool.finish()
            spool.discard()
            with self.assertRaises(Full):
                await store.put("a", bytes(3 * MIB))
            await store.put("filler", bytes(1_500_000))
            with self.assertRaises(Full):
                await store.copy("filler", "a", etag=(await store.head("filler")).etag)
            self.assertEqual((await store.get("a")).info.etag, old.etag)
            self.assertEqual(await read(store, "a"), b"old")
            await store.delete("filler")
            await store.put("b", b"new")
            await deferLater(reactor, 0.1)
            self.assertEqual(left_over(path), [])
        finally:
            await store.stopService()

    async def failing(self, error, is_folder):
        store = await open_directory(self)
        await store.put("x/a", b"old")
        real = os.fsync

        def fsync(fd):
            if stat.S_ISDIR(os.fstat(fd).st_mode) == is_folder:
                raise OSError(error, os.strerror(error))
            real(fd)

        patch = self.patch(os, "fsync", fsync)
        results = [
            await one
            for one in [
                self.outcome(store.put("x/a", b"new")),
                self.outcome(store.put("x/b", b"new", when=ABSENT)),
                self.outcome(store.put("x/c", await spooled(store, [bytes(100_000)]))),
                self.outcome(store.delete("x/a")) if is_folder else self.outcome(store.put("x/d", b"")),
            ]
        ]
        patch.restore()
        return store, results

    async def outcome(self, work):
        (result,) = await at_once(work)
        return type(result)

    async def test_file_sync_fails(self):
        """When the bytes cannot be made durable, nothing of them is visible."""
        for error, kind in ((EIO, Unavailable), (ENOSPC, Full), (EDQUOT, Full)):
            store, results = await self.failing(error, is_folder=False)
            self.assertEqual(results, [kind] * 4)
            self.assertEqual(await keys(store), ["x/a"])
            self.assertEqual(await read(store, "x/a"), b"old")

    async def test_folder_sync_fails(self):
        """When the name cannot be made durable the put fails, and what is visible is whole."""
        store, results = await self.failing(EIO, is_folder=True)
        self.assertEqual(results, [Unavailable] * 4)
        for key in await keys(store):
            self.assertIn(await read(store, key), (b"new", bytes(100_000)))

    async def test_read_fails(self):
        """A disk that cannot be read is Unavailable, not an error of its own kind."""
        store = await open_directory(self)
        await store.put("a", b"x")
        real = os.pread
        self.patch(os, "pread", lambda *_: (_ for _ in ()).throw(OSError(EIO, "bad disk")))
        with self.assertRaises(Unavailable):
            await store.get("a")
        self.patch(os, "pread", real)
        self.assertEqual(await read(store, "a"), b"x")


class HangTests(TestCase):
    timeout = 20

    async def test_hung_writes(self):
        """Writes that hang stop neither reads nor checks; they fail in time, and so do those behind them."""
        self.patch(directory, "_WRITE_SECONDS", 0.5)
        store = await open_directory(self)
        await store.put("a", b"x")
        gate, real = threading.Event(), os.fsync
        self.patch(os, "fsync", lambda fd: (gate.wait(), real(fd)))
        self.addCleanup(gate.set)
        began = time.monotonic()
        writes = [Deferred.fromCoroutine(store.put(f"k{n}", b"")) for n in range(40)]
        await deferLater(reactor, 0.05)
        self.assertEqual(await read(store, "a"), b"x")
        await store.check()
        self.assertEqual(await keys(store), ["a"])
        self.assertLess(time.monotonic() - began, 0.4)
        for write in writes:
            await self.assertFailure(write, Unavailable)
        self.assertLess(time.monotonic() - began, 2)
        gate.set()

    async def test_hung_check(self):
        """A disk that does not answer is told in less than a second."""
        store = await open_directory(self)
        gate = threading.Event()
        self.addCleanup(gate.set)
        store._files.check = gate.wait
        began = time.monotonic()
        with self.assertRaises(Unavailable):
            await store.check()
        self.assertLess(time.monotonic() - began, 1)
        gate.set()


class CrashTests(TestCase):
    timeout = 60

    async def test_killed(self):
        """After kill -9 at any instant all that was acknowledged is there, whole, and nothing else is visible."""
        path = folder(self)
        chance = random.Random(7)
        acknowledged = 0
        for n in range(6):
            order = {"where": {"directory": str(path)}, "at": f"r{n}", "do": "write"}
            child = children.begin(order)
            first = child.stdout.readline()
            time.sleep(chance.uniform(0.05, 0.3))
            child.kill()
            out, err = child.communicate()
            said = [first.strip(), *out.split("\n")[:-1]]
            self.assertTrue(first, err)
            store = Directory(path, reactor)
            await store.startService()
            there = await keys(store, f"r{n}/")
            self.assertLessEqual(set(said), set(there))
            for key in there:
                self.assertEqual(await read(store, key), body_of(key), key)
            self.assertEqual(left_over(path), [])
            await store.stopService()
            acknowledged += len(said)
        self.assertGreater(acknowledged, 30)

    def test_scratch(self):
        """What the dead left is cleared at the next start and from time to time, what the living have is not."""
        path = folder(self)
        living, dead, later = Scratch(path), Scratch(path), Scratch(path)
        for scratch in (living, dead, later):
            scratch.open()
            (scratch.path / "file").touch()
        os.close(dead._lock)  # as its end would
        new = Scratch(path)
        new.open()
        self.assertTrue((living.path / "file").exists())
        self.assertFalse(dead.path.exists())
        os.close(later._lock)
        living.clear()
        self.assertFalse(later.path.exists())
        self.assertTrue((living.path / "file").exists())
        new.close()
        living.close()
        self.assertEqual([place.name for place in path.iterdir()], ["lock"])


class DiscardTests(TestCase):
    async def test_discarded_while_put(self):
        """A spool that is discarded while it is put is there whole or not at all."""
        path = folder(self)
        store = await open_directory(self, path)
        data = os.urandom(300_000)
        for n in range(40):
            spool = await spooled(store, [data])
            putting = Deferred.fromCoroutine(store.put(f"k{n}", spool))
            await deferLater(reactor, 0.0002 * n)
            putting.cancel()
            spool.discard()
            with contextlib.suppress(CancelledError, Missing):
                await putting
        await deferLater(reactor, 0.2)
        for key in await keys(store):
            self.assertEqual(await read(store, key), data)
        self.assertEqual(left_over(path), [])


class StampTests(SynchronousTestCase):
    def test_never_twice(self):
        """Two threads are never given the same time."""
        given = [[], []]

        def take(mine):
            mine.extend(stamp() for _ in range(20_000))

        takers = [threading.Thread(target=take, args=(mine,)) for mine in given]
        for taker in takers:
            taker.start()
        for taker in takers:
            taker.join()
        self.assertEqual(len({*given[0], *given[1]}), 40_000)
        self.assertEqual(given[0], sorted(given[0]))
