"""What a look at a folder finds, and when it believes what it saw before."""

import os
from hashlib import md5
from threading import Event

from twisted.trial.unittest import SynchronousTestCase

from stor.client.paths import Ignored
from stor.client.reading import Stopped
from stor.client.scan import RACY, Scan
from stor.client.tree import Tree, stamp
from tests.places import folder

LATER = 1 << 62


def of(content):
    return md5(content.encode(), usedforsecurity=False).hexdigest()


class ScanCase(SynchronousTestCase):
    def setUp(self):
        self.root = folder(self)
        self.tree = Tree(self.root)
        self.addCleanup(self.tree.close)

    def write(self, path, content="x"):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)

    def scan(self, seen=(), ignored=(), now=LATER):
        return Scan(self.tree, dict(seen), Ignored(ignored), now).run(Event())


class FindTests(ScanCase):
    def test_files(self):
        """Regular files with their md5s, at any depth; our own folder is none of them."""
        self.write("a", "one")
        self.write("b/c/d", "two")
        self.write(".stor-sync/state.db")
        self.write("b/.stor-sync", "mine")
        (self.root / "empty").mkdir()
        found = self.scan()
        self.assertEqual(found.files, {"a": of("one"), "b/c/d": of("two"), "b/.stor-sync": of("mine")})
        self.assertEqual((found.blocked, found.foreign), ({}, {}))

    def test_foreign(self):
        """Links are not followed, pipes not opened; nothing is concluded about what would be behind them."""
        (self.root / "link").symlink_to("/etc")
        os.mkfifo(self.root / "pipe")
        found = self.scan()
        self.assertEqual(set(found.foreign), {"link", "pipe"})
        self.assertEqual(found.files, {})
        self.assertIsNotNone(found.why_not("link/passwd"))
        self.assertIsNotNone(found.why_not("pipe"))
        self.assertIsNone(found.why_not("lin"))

    def test_names(self):
        """Names that cannot be synced are told, and the rest is found."""
        self.write("good")
        for name in (b"\xff", b"a\nb", b".sync-index.json"):
            (self.root / os.fsdecode(name)).touch()
        found = self.scan()
        self.assertEqual(set(found.files), {"good"})
        self.assertEqual(set(found.blocked), {"\udcff", "a\nb", ".sync-index.json"})

    def test_ignored(self):
        """What is left alone is not even looked at."""
        self.write("a.tmp")
        self.write("cache/a")
        self.write("b")
        self.assertEqual(set(self.scan(ignored=["*.tmp", "cache"]).files), {"b"})

    def test_deep(self):
        """Depth is no matter."""
        path = "/".join(["d"] * 400)
        with self.tree.made(path) as (fd, name):
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        self.assertEqual(set(self.scan().files), {path})

    def test_root_gone(self):
        """Without the root nothing is found out: that is an error, and not an empty folder."""
        os.close(self.tree._root)
        self.tree._root = os.open(os.devnull, os.O_RDONLY)
        self.assertRaises(OSError, self.scan)

    def test_stopped(self):
        """A scan ends when it is told to."""
        self.write("a")
        stop = Event()
        stop.set()
        self.assertRaises(Stopped, Scan(self.tree, {}, Ignored(), LATER).run, stop)


class MemoryTests(ScanCase):
    def test_believed(self):
        """A file with the stamp that it had is not read again."""
        self.write("a", "one")
        mark = stamp((self.root / "a").stat())
        self.assertEqual(self.scan({"a": (mark, "remembered")}).files, {"a": "remembered"})

    def test_changed(self):
        """A file with any other stamp is read: also one of the same size whose time was set back."""
        self.write("a", "one")
        status = (self.root / "a").stat()
        self.write("a", "two")
        os.utime(self.root / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
        self.assertEqual(self.scan({"a": (stamp(status), "remembered")}).files, {"a": of("two")})

    def test_racy(self):
        """An md5 is worth remembering when the file had kept still for a while before it was read."""
        self.write("a", "one")
        changed = (self.root / "a").stat().st_ctime_ns
        self.assertEqual([path for path, _, _ in self.scan(now=changed + RACY).read], ["a"])
        self.assertEqual(self.scan(now=changed + RACY - 1).read, [])
