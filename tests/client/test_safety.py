"""Plans that are refused."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.client.plan import Act, Base, Choice, Entry, plan
from stor.client.safety import Allowed, Refused, check

MD5 = "a" * 32
NOTHING = Allowed()
PATHS = st.sets(st.integers(0, 60).map(str), max_size=60)


def checked(base, here, there, allowed=NOTHING):
    base = {path: Base(MD5) for path in base}
    steps = list(plan(base, dict.fromkeys(here, MD5), there, set(), Choice.BOTH))
    check(steps, base, there, allowed)
    return steps


def names(count):
    return [f"f{n}" for n in range(count)]


class SafetyTests(SynchronousTestCase):
    def test_mass_delete_here(self):
        """Tombstones for most of the files are refused, unless that is allowed."""
        there = {name: Entry(MD5, is_deleted=True) for name in names(10)}
        self.assertRaisesRegex(Refused, "10 of the 10 .* here", checked, names(10), names(10), there)
        self.assertEqual(len(checked(names(10), names(10), there, Allowed(mass_delete=True))), 10)

    def test_mass_delete_there(self):
        """A folder that came empty does not empty the remote."""
        there = {name: Entry(MD5) for name in names(30)}
        self.assertRaisesRegex(Refused, "16 of the 30 .* remote", checked, names(30), names(30)[16:], there)

    def test_few(self):
        """Some deletions are everyday: nine, or not more than half."""
        for count, gone in ((9, 9), (30, 15)):
            there = {name: Entry(MD5, is_deleted=name in names(gone)) for name in names(count)}
            self.assertEqual(len(checked(names(count), names(count), there)), gone)

    def test_empty(self):
        """A remote that came back empty is not filled again unasked, however few the files are."""
        self.assertRaisesRegex(Refused, "1 of the 1 ", checked, names(1), names(1), {})
        self.assertEqual([step.act for step in checked(names(1), names(1), {}, Allowed(refill=True))], [Act.UPLOAD])

    def test_mostly_empty(self):
        """Nor is one that lost most of it."""
        there = {name: Entry(MD5) for name in names(9)}
        self.assertRaises(Refused, checked, names(19), names(19), there)
        self.assertEqual({step.act for step in checked(names(18), names(18), there)}, {Act.UPLOAD})

    @given(PATHS, PATHS, PATHS, PATHS)
    def test_bound(self, base, here, live, graves):
        """What passes deletes fewer than ten files on a side, or not more than half of what was agreed on."""
        there = {path: Entry(MD5, is_deleted=path in graves) for path in live | graves}
        try:
            steps = checked(base, here, there)
        except Refused:
            return
        for act in (Act.DELETE_HERE, Act.DELETE_THERE):
            count = sum(step.act is act for step in steps)
            self.assertTrue(count < 10 or count * 2 <= len(base))
