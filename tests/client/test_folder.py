"""A folder as a sync changes it, with somebody else at work in it at the worst moments."""

import errno
import os
from contextlib import ExitStack
from hashlib import md5
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from stor.client import folder as folder_module
from stor.client.exchange import Unsupported
from stor.client.folder import looked_at, synced
from stor.client.paths import Ignored
from stor.client.plan import Base
from stor.client.reading import Changed, Stopped
from stor.errors import Conflict, Failed
from tests.places import folder

NOW = Ignored()


def of(content):
    return md5(content.encode(), usedforsecurity=False).hexdigest()


class FolderCase(SynchronousTestCase):
    def setUp(self):
        self.root = folder(self)
        self.open()

    def open(self):
        self.held = ExitStack()
        self.addCleanup(self.held.close)
        self.folder = self.held.enter_context(synced(self.root, "http://host", "laptop.example"))

    def again(self):
        """As the next start of the program."""
        self.held.close()
        self.open()

    def write(self, path, content):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)

    def files(self):
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in self.root.rglob("*")
            if path.is_file() and ".stor-sync" not in path.parts
        }

    def leftovers(self):
        return {path.name for path in (self.root / ".stor-sync/tmp").iterdir()} - {"now"}

    def landed(self, content):
        landing = self.folder.landing()
        landing.open()
        landing.write(content.encode())
        self.addCleanup(landing.close)
        return landing

    def base(self):
        return {path: base.md5 for path, base in self.folder.state.base().items()}


class PutTests(FolderCase):
    def test_new(self):
        """A new file appears whole, with the folders that it needs, and is remembered."""
        self.folder.put("a/b/c.md", self.landed("one"), Base(of("one")))
        self.assertEqual(self.files(), {"a/b/c.md": "one"})
        self.assertEqual(self.base(), {"a/b/c.md": of("one")})
        self.assertEqual(self.leftovers(), set())

    def test_there_by_now(self):
        """A file that somebody made meanwhile is not replaced."""
        self.write("a", "theirs")
        self.assertRaises(Changed, self.folder.put, "a", self.landed("ours"), Base(of("ours")))
        self.assertEqual((self.files(), self.base()), ({"a": "theirs"}, {}))

    def test_in_the_way(self):
        """A folder where a file would have to be, or a file where a folder would, is told."""
        self.write("a/b", "x")
        self.assertRaisesRegex(Failed, "a is in the way", self.folder.put, "a", self.landed("y"), Base(of("y")))
        self.assertRaisesRegex(Failed, "a/b is in", self.folder.put, "a/b/c", self.landed("y"), Base(of("y")))
        self.assertEqual(self.files(), {"a/b": "x"})

    def test_link_above(self):
        """Nothing is written through a symbolic link, nor in its place."""
        outside = folder(self)
        (self.root / "out").symlink_to(outside)
        self.assertRaises(Failed, self.folder.put, "out/a", self.landed("x"), Base(of("x")))
        self.assertRaises(Changed, self.folder.put, "out", self.landed("x"), Base(of("x")))
        self.assertEqual(list(outside.iterdir()), [])

    def test_closed(self):
        """What was given up does not land any more, and leaves nothing."""
        landing = self.landed("x")
        landing.close()
        self.assertRaises(Stopped, self.folder.put, "a", landing, Base(of("x")))
        self.assertEqual((self.files(), self.leftovers()), ({}, set()))


class ReplaceTests(FolderCase):
    def replace(self, expected, content="new"):
        return self.folder.replace("a.md", self.landed(content), expected, Base(of(content)))

    def test_expected(self):
        """The agreed content makes room, and its permission bits stay."""
        self.write("a.md", "old")
        (self.root / "a.md").chmod(0o751)
        self.assertIsNone(self.replace(of("old")))
        self.assertEqual((self.files(), self.base()), ({"a.md": "new"}, {"a.md": of("new")}))
        self.assertEqual((self.root / "a.md").stat().st_mode & 0o777, 0o751)
        self.assertEqual((self.leftovers(), self.folder.state.moves()), (set(), []))

    def test_unexpected(self):
        """A content that nobody spoke of is kept beside it."""
        self.write("a.md", "edited")
        os.utime(self.root / "a.md", (1768473000, 1768473000))
        copy = self.replace(of("old"))
        self.assertEqual(copy, "a.conflict-laptop-20260115-103000.md")
        self.assertEqual(self.files(), {"a.md": "new", copy: "edited"})

    def test_taken_names(self):
        """A conflict copy never replaces another one."""
        for content in ("one", "two", "three"):
            self.write("a.md", content)
            os.utime(self.root / "a.md", (1768473000, 1768473000))
            self.replace(None)
        self.assertEqual(sorted(self.files().values()), ["new", "one", "three", "two"])

    def test_same(self):
        """A content that is in its place anyway needs no copy."""
        self.write("a.md", "new")
        self.assertIsNone(self.replace(None))
        self.assertEqual(self.files(), {"a.md": "new"})

    def test_gone(self):
        """A file that was deleted meanwhile is not replaced: that is another decision."""
        self.assertRaises(Changed, self.replace, of("old"))
        self.assertEqual((self.files(), self.base()), ({}, {}))

    def test_edited_in_the_last_moment(self):
        """An edit between the last look and the exchange is kept."""
        self.write("a.md", "old")
        real = folder_module.exchange

        def late(one, other):
            (self.root / "a.md").unlink()
            self.write("a.md", "edited just now")
            real(one, other)

        with patch.object(folder_module, "exchange", late):
            copy = self.replace(of("old"))
        self.assertEqual(self.files(), {"a.md": "new", copy: "edited just now"})

    def test_link(self):
        """A symbolic link in its place is not replaced, and not followed."""
        target = folder(self) / "target"
        target.write_text("old")
        (self.root / "a.md").symlink_to(target)
        self.assertRaises(Changed, self.replace, of("old"))
        self.assertEqual(target.read_text(), "old")


class SlowReplaceTests(ReplaceTests):
    """The same where two names cannot be exchanged at once."""

    def setUp(self):
        super().setUp()

        def cannot(one, other):
            raise Unsupported(errno.EINVAL, "no such thing")

        self.patch(folder_module, "exchange", cannot)

    def test_edited_in_the_last_moment(self):
        """An edit after the last look is kept."""
        self.write("a.md", "old")
        real = folder_module.move

        def late(source, target):
            if source[1] == "a.md":
                self.write("a.md", "edited just now")
            real(source, target)

        self.patch(folder_module, "move", late)
        copy = self.replace(of("old"))
        self.assertEqual(self.files(), {"a.md": "new", copy: "edited just now"})

    def test_made_in_the_last_moment(self):
        """A file that appears while nothing is there stays, and what was there is kept beside it."""
        self.write("a.md", "edited")
        real = folder_module.move

        def late(source, target):
            if target[1] == "a.md":
                self.write("a.md", "made just now")
            real(source, target)

        self.patch(folder_module, "move", late)
        self.assertRaises(Changed, self.replace, of("old"))
        self.assertEqual(sorted(self.files().values()), ["edited", "made just now"])
        self.assertEqual(self.files()["a.md"], "made just now")


class DeleteTests(FolderCase):
    def test_expected(self):
        """The agreed content goes, and folders that are empty then."""
        self.write("a/b/c", "old")
        self.write("a/d", "x")
        self.folder.state.record({"a/b/c": Base(of("old"))})
        self.folder.delete("a/b/c", of("old"))
        self.assertEqual((self.files(), self.base()), ({"a/d": "x"}, {}))
        self.assertEqual([path.name for path in (self.root / "a").iterdir()], ["d"])
        self.assertEqual((self.leftovers(), self.folder.state.moves()), (set(), []))

    def test_edited(self):
        """A file that changed stays where it is."""
        self.write("a", "edited")
        self.assertRaises(Changed, self.folder.delete, "a", of("old"))
        self.assertEqual((self.files(), self.leftovers()), ({"a": "edited"}, set()))

    def test_edited_twice(self):
        """A file that changed, and whose name was taken again meanwhile, is kept beside that."""
        self.write("a", "edited")
        real = folder_module.move

        def late(source, target):
            real(source, target)
            if source[1] == "a":
                self.write("a", "edited again")

        with patch.object(folder_module, "move", late):
            self.assertRaises(Changed, self.folder.delete, "a", of("old"))
        self.assertEqual(sorted(self.files().values()), ["edited", "edited again"])

    def test_gone(self):
        """A file that is gone already is another decision, as is a folder of that name."""
        self.assertRaises(Changed, self.folder.delete, "a", of("old"))
        self.write("b/c", "x")
        self.assertRaises(Changed, self.folder.delete, "b", of("old"))
        self.assertEqual(self.files(), {"b/c": "x"})


class RecoverTests(FolderCase):
    def interrupt(self, name):
        """The program ends in the moment when it would call this."""

        def die(*_):
            raise KeyboardInterrupt

        return patch.object(folder_module.Folder, name, die)

    def test_replaced(self):
        """The replaced content goes if it was the agreed one, and is kept if not."""
        for content, count in (("old", 1), ("edited", 2)):
            self.write("a", content)
            with self.interrupt("_drop"), self.assertRaises(KeyboardInterrupt):
                self.folder.replace("a", self.landed("new"), of("old"), Base(of("new")))
            self.again()
            self.assertEqual(self.files()["a"], "new")
            self.assertEqual(len(self.files()), count)
        self.assertIn("edited", self.files().values())
        self.assertEqual((self.leftovers(), self.folder.state.moves()), (set(), []))

    def test_deleted(self):
        """A file that was being deleted is back, so that it is decided again."""
        self.write("a", "old")
        with self.interrupt("_drop"), self.assertRaises(KeyboardInterrupt):
            self.folder.delete("a", of("old"))
        self.assertEqual(self.files(), {})
        self.again()
        self.assertEqual((self.files(), self.leftovers()), ({"a": "old"}, set()))

    def test_not_landed(self):
        """A file that was on its way is forgotten, and the one that it should replace is as before."""
        self.write("a", "old")
        landing = self.landed("half of it")
        landing.landed = True  # closing it does not tidy up, as after a kill
        self.again()
        self.assertEqual((self.files(), self.leftovers()), ({"a": "old"}, set()))

    def test_written_down_only(self):
        """A move that was written down and never made leaves nothing."""
        self.write("a", "old")
        with (
            patch.object(folder_module, "exchange", side_effect=KeyboardInterrupt),
            self.assertRaises(KeyboardInterrupt),
        ):
            self.folder.replace("a", self.landed("new"), of("old"), Base(of("new")))
        self.again()
        self.assertEqual((self.files(), self.leftovers()), ({"a": "old"}, set()))


class HoldTests(FolderCase):
    def test_one_at_a_time(self):
        """A folder is held by one sync, and free after it."""
        second = synced(self.root, "http://host", "laptop")
        self.assertRaisesRegex(Conflict, "another sync", second.__enter__)
        self.held.close()
        with synced(self.root, "http://host", "laptop"):
            pass

    def test_by_url(self):
        """What was agreed on with one remote says nothing about another."""
        self.folder.state.record({"a": Base(of("x"), 7)})
        self.held.close()
        with synced(self.root, "http://other", "laptop") as other:
            self.assertEqual(other.state.base(), {})
        with synced(self.root, "http://host", "laptop") as same:
            self.assertEqual(same.state.base(), {"a": Base(of("x"), 7)})

    def test_damaged(self):
        """A damaged memory is told, never taken for an empty one."""
        self.held.close()
        (self.root / ".stor-sync/state.db").write_bytes(b"no database" * 1000)
        self.assertRaisesRegex(Failed, "state.db", synced(self.root, "http://host", "laptop").__enter__)
        with synced(folder(self), "http://host", "laptop"):
            pass  # nothing else is held

    def test_later(self):
        """So is that of a later stor."""
        self.folder.state._database.execute("PRAGMA user_version = 99")
        self.held.close()
        for lend in (synced, looked_at):
            self.assertRaisesRegex(Failed, "later stor", lend(self.root, "http://host", "laptop").__enter__)

    def test_missing(self):
        """A folder that is not there is not made: it may be a disk that is not mounted."""
        self.assertRaises(Failed, synced(self.root / "no", "http://host", "laptop").__enter__)
        self.assertFalse((self.root / "no").exists())

    def test_private(self):
        """Nobody else may look into what is kept."""
        self.assertEqual((self.root / ".stor-sync").stat().st_mode & 0o777, 0o700)

    def test_dry(self):
        """A dry run leaves no trace, and knows what was agreed on."""
        self.folder.state.record({"a": Base(of("x"), 7)})
        self.held.close()
        with looked_at(self.root, "http://host", "laptop") as dry:
            self.assertEqual(dry.state.base(), {"a": Base(of("x"), 7)})
        bare = folder(self)
        (bare / "a").write_text("x")
        with looked_at(bare, "http://host", "laptop") as dry:
            self.assertEqual(dry.scan(NOW).files, {"a": of("x")})
        self.assertEqual([path.name for path in bare.iterdir()], ["a"])


class ReaderTests(FolderCase):
    def read(self, path, expected):
        reader = self.folder.reader(path, expected)
        self.addCleanup(reader.close)
        pieces = []
        while piece := reader.read():
            pieces.append(piece)
        return b"".join(pieces)

    def test_whole(self):
        """A file of any size is read as it is."""
        for size in (0, 1, 262_144, 262_145, 1_000_000):
            self.write("a", "x" * size)
            self.assertEqual(self.read("a", of("x" * size)), b"x" * size)

    def test_last_piece(self):
        """Of a file that is another by now, at least the last piece is never given."""
        self.write("a", "x" * 600_000)
        reader = self.folder.reader("a", of("x" * 600_000))
        self.addCleanup(reader.close)
        size = len(reader.read())
        with (self.root / "a").open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"y")
        with self.assertRaises(Changed):
            while piece := reader.read():
                size += len(piece)
        self.assertLess(size, 600_000)

    def test_grows(self):
        """Nor is more given than was promised."""
        self.write("a", "x")
        reader = self.folder.reader("a", of("x"))
        self.addCleanup(reader.close)
        with (self.root / "a").open("a") as file:
            file.write("y" * 300_000)
        self.assertRaises(Changed, reader.read)

    def test_not_there(self):
        """What is no file any more cannot be sent: gone, a link, a pipe."""
        (self.root / "link").symlink_to("/etc/passwd")
        os.mkfifo(self.root / "pipe")
        for path in ("gone", "link", "pipe", "link/a"):
            self.assertRaises(Changed, self.folder.reader, path, of("x"))


class AbsentTests(FolderCase):
    def test_absent(self):
        """A file is absent when nothing, or a folder, has its name; behind a link nobody knows."""
        self.write("a", "x")
        self.write("e/f", "x")
        (self.root / "link").symlink_to(Path("/nowhere"))
        for path, absent in (
            ("a", False),
            ("e", True),
            ("b", True),
            ("a/b", True),
            ("c/d", True),
            ("link", False),
            ("link/a", False),
        ):
            self.assertEqual(self.folder.is_absent(path), absent, path)
