"""Names: which can be synced, which are left alone, what a conflict copy is called."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.client.paths import Ignored, conflict_names, fault, look_alike, shown

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=80)
PATHS = st.lists(NAMES, min_size=1, max_size=6).map("/".join).filter(lambda path: fault(path) is None)


class PathTests(SynchronousTestCase):
    def test_refused(self):
        """A path that leads out, is ours, or that the server refuses is none."""
        for path in ("", "/a", "a/", "a//b", ".", "a/../b", "./a", "a\0", "a\nb", "a\x9b", "x" * 1025, "\udcff"):
            self.assertIsNotNone(fault(path), path)
        for path in (".stor-sync", ".stor-sync/state.db", ".sync-index.json", "a/.sync-index.json"):
            self.assertIsNotNone(fault(path), path)

    def test_good(self):
        """Anything else is a good name."""
        for path in ("a", "a/b", "..a", "a b", "ä", "日", "a/.stor-sync", "x" * 1024, "%2F", "a\\b"):
            self.assertIsNone(fault(path), path)

    @given(st.text())
    def test_shown(self, path):
        """Whatever a name is, it is printed as one line."""
        self.assertEqual(shown(path).splitlines() or [""], [shown(path).encode().decode()] if shown(path) else [""])

    def test_ignored(self):
        """A glob without a slash is for any name on the way, one with a slash for the whole path."""
        ignored = Ignored(["*.tmp", "node_modules/", "drafts/*", "/top"])
        for path in (
            "a.tmp",
            "a/b.tmp",
            "x.tmp/a",
            "node_modules",
            "a/node_modules/b",
            "drafts/a",
            "drafts/a/b",
            "top",
            "top/a",
        ):
            self.assertIn(path, ignored)
        for path in ("a.tmpx", "a/drafts/b", "drafts", "a/top", "A.TMP"):
            self.assertNotIn(path, ignored)
        self.assertNotIn("a", Ignored())

    def test_look_alike(self):
        """Paths that only normalization tells apart are found."""
        self.assertEqual(look_alike(["caf\u00e9", "cafe\u0301", "cafe"]), [("cafe\u0301", "caf\u00e9")])


class ConflictTests(SynchronousTestCase):
    def test_name(self):
        """Host and time stand before the ending."""
        names = list(islice(conflict_names("a/notes.tar.md", "Lap top.example.org", 1768473000.9), 3))
        self.assertEqual(names[0], "a/notes.tar.conflict-Lap-top-20260115-103000.md")
        self.assertEqual(names[2], "a/notes.tar.conflict-Lap-top-20260115-103000-3.md")

    @given(PATHS, st.text(), st.integers(0, 2**32))
    def test_any(self, path, host, changed):
        """Whatever the path is, its copies lie beside it, have names that can be synced, and are all different."""
        folder = path.rpartition("/")[0]
        names = list(islice(conflict_names(path, host, changed), 12))
        self.assertEqual(len(set(names)), 12)
        for name in names:
            self.assertIsNone(fault(name))
            self.assertLessEqual(len(name.rpartition("/")[2].encode()), 255)
            self.assertEqual(name.rpartition("/")[0], folder)
