"""The decision about one path: total, and by it no content is lost."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.client.plan import Act, Base, Choice, Entry, decide, plan

A, B, C = (letter * 32 for letter in "abc")
MD5S = st.sampled_from([A, B, C])
VERSIONS = st.none() | st.integers(1, 3)
BASES = st.none() | st.builds(Base, MD5S, VERSIONS)
HERE = st.none() | MD5S
THERE = st.none() | st.builds(Entry, MD5S, st.just(0), st.booleans(), VERSIONS)
CHOICES = st.sampled_from(Choice)


def live(there):
    return there.md5 if there is not None and not there.is_deleted else None


def after(act, here, there):
    """What is here, what is there, and what is kept beside it, when the act was done."""
    return {
        Act.NOTHING: (here, live(there), None),
        Act.RECORD: (here, live(there), None),
        Act.FORGET: (here, live(there), None),
        Act.UPLOAD: (here, here, None),
        Act.DOWNLOAD: (live(there), live(there), None),
        Act.DELETE_HERE: (None, live(there), None),
        Act.DELETE_THERE: (here, None, None),
        Act.KEEP_BOTH: (live(there), live(there), here),
    }[act]


class DecideTests(SynchronousTestCase):
    @given(BASES, HERE, THERE, CHOICES)
    def test_in_step(self, base, here, there, choice):
        """Whatever the three are, afterwards both sides are the same."""
        ours, theirs, _ = after(decide(base, here, there, choice), here, there)
        self.assertEqual(ours, theirs)

    @given(BASES, HERE, THERE)
    def test_nothing_lost(self, base, here, there):
        """A content that is not there any more was the agreed one, and the other side had replaced or deleted it."""
        kept = after(decide(base, here, there), here, there)
        for content in {here, live(there)} - {None}:
            if content not in kept:
                self.assertIsNotNone(base)
                self.assertEqual(content, base.md5)

    @given(BASES, HERE, THERE, CHOICES)
    def test_edits_stay(self, base, here, there, choice):
        """Whatever is chosen, a deletion never takes an edit with it."""
        ours, theirs, _ = after(decide(base, here, there, choice), here, there)
        if here is not None and (base is None or base.md5 != here) and live(there) is None:
            self.assertEqual(ours, here)
        if live(there) is not None and (base is None or base.md5 != there.md5) and here is None:
            self.assertEqual(theirs, there.md5)

    @given(BASES, HERE, THERE, CHOICES)
    def test_only_tombstones_delete(self, base, here, there, choice):
        """A file here is deleted for a tombstone, if it is the agreed one; for nothing else."""
        if decide(base, here, there, choice) is Act.DELETE_HERE:
            self.assertTrue(there.is_deleted)
            self.assertEqual(base.md5, here)

    @given(BASES, HERE, THERE, CHOICES)
    def test_settled(self, base, here, there, choice):
        """What was done is remembered, and then there is nothing more to do."""
        act = decide(base, here, there, choice)
        ours, theirs, _ = after(act, here, there)
        version = there.version if there is not None else 1
        entry = Entry(theirs, 0, False, version) if theirs else there and Entry(there.md5, 0, True, version)
        self.assertEqual(decide(Base(theirs, version) if theirs else None, ours, entry, choice), Act.NOTHING)

    @given(HERE, THERE, CHOICES, st.integers(1, 3))
    def test_rolled_back(self, here, there, choice, version):
        """What a remote that went back has instead of the agreed content neither deletes nor replaces ours unseen."""
        if (
            there is None
            or there.version is None
            or there.version >= version
            or (there.md5 == A and not there.is_deleted)
        ):
            return
        self.assertEqual(decide(Base(A, version), here, there, choice), decide(None, here, there, choice))

    def test_table(self):
        """The table of docs/sync.md, row by row."""
        base, grave = Base(A), Entry(A, is_deleted=True)
        rows = [
            (None, None, Entry(A), Act.DOWNLOAD),
            (None, A, None, Act.UPLOAD),
            (None, A, grave, Act.UPLOAD),
            (None, A, Entry(A), Act.RECORD),
            (None, A, Entry(B), Act.KEEP_BOTH),
            (base, A, Entry(A), Act.NOTHING),
            (base, A, Entry(B), Act.DOWNLOAD),
            (base, A, grave, Act.DELETE_HERE),
            (base, A, None, Act.UPLOAD),
            (base, B, Entry(A), Act.UPLOAD),
            (base, B, Entry(B), Act.RECORD),
            (base, B, Entry(C), Act.KEEP_BOTH),
            (base, B, None, Act.UPLOAD),
            (base, B, grave, Act.UPLOAD),
            (base, None, Entry(A), Act.DELETE_THERE),
            (base, None, Entry(B), Act.DOWNLOAD),
            (base, None, None, Act.FORGET),
            (base, None, grave, Act.FORGET),
        ]
        for was, here, there, act in rows:
            self.assertEqual(decide(was, here, there), act, (was, here, there))

    def test_choices(self):
        """A choice is about two contents, and about nothing else."""
        self.assertEqual(decide(Base(A), B, Entry(C), Choice.OURS), Act.UPLOAD)
        self.assertEqual(decide(Base(A), B, Entry(C), Choice.THEIRS), Act.DOWNLOAD)
        self.assertEqual(decide(Base(A), B, Entry(A, is_deleted=True), Choice.THEIRS), Act.UPLOAD)
        self.assertEqual(decide(Base(A), None, Entry(B), Choice.OURS), Act.DOWNLOAD)


class PlanTests(SynchronousTestCase):
    def test_untouched(self):
        """What could not be looked at, and names that cannot be synced, are in no plan."""
        there = {"a": Entry(A), "../b": Entry(A), ".stor-sync/state.db": Entry(A), "c": Entry(A)}
        steps = list(plan({"d": Base(A)}, {}, there, {"c", "d"}, Choice.BOTH))
        self.assertEqual([(step.act, step.path) for step in steps], [(Act.DOWNLOAD, "a")])
