"""What the comparison of two suites' runs can and cannot see."""

from twisted.trial.unittest import SynchronousTestCase

from tests.compat.results import ABSENT, DIED, Case, Pair, differing, judge, read_junit, read_tcl
from tests.compat.sources import deb_src

TCL = """\
Testing unit/dump
[ok]: DUMP / RESTORE are able to serialize (2 ms)
[err]: RESTORE fails in tests/unit/dump.tcl
Expected '*Bad*' to equal or match 'ERR'
[ignore]: MIGRATE: caching: Not supported on external server
[ok]: twice (0 ms)
[ok]: twice (1 ms)
[1/80 done]: unit/dump (3 seconds)
Testing unit/auth
[skip]: AUTH
"""
JUNIT = """\
<testsuites><testsuite name="pytest">
<testcase classname="tests.test_a.TestLock" name="test_x[single]" file="tests/test_a.py" time="0.1"/>
<testcase classname="tests.test_a" name="test_y" file="tests/test_a.py"><failure>text</failure></testcase>
<testcase classname="tests.test_a" name="test_z" file="tests/test_a.py"><skipped message="old"/></testcase>
<testcase classname="tests.test_a" name="test_e" file="tests/test_a.py"><error message="set-up"/></testcase>
</testsuite></testsuites>
"""
A, B = Case("unit/a", "one"), Case("unit/a", "two")


class ReadTests(SynchronousTestCase):
    """Both forms of output become the same outcomes."""

    def test_tcl(self) -> None:
        """Names come without times, files and reasons; those that stand twice are told apart."""
        self.assertEqual(
            read_tcl(TCL),
            {
                Case("unit/dump", "DUMP / RESTORE are able to serialize"): "passed",
                Case("unit/dump", "RESTORE fails"): "failed",
                Case("unit/dump", "MIGRATE: caching"): "skipped",
                Case("unit/dump", "twice"): "passed",
                Case("unit/dump", "twice #2"): "passed",
                Case("unit/auth", "AUTH"): "skipped",
            },
        )

    def test_tcl_gave_up(self) -> None:
        """A suite that stops half-way does not look like one that had less to do."""
        for line in (
            "[exception]: Executing test client: broken pipe.",
            "[TIMEOUT]: clients state report follows.",
        ):
            self.assertIn(DIED, read_tcl(f"{TCL}{line}\n").values())

    def test_tcl_names(self) -> None:
        """A test is read whatever its name holds, brackets and numbers too."""
        (test,) = read_tcl("Testing unit/type/set\n[ok]: SADD [x] (1) (12 ms)\n")
        self.assertEqual(test, Case("unit/type/set", "SADD [x] (1)"))

    def test_junit(self) -> None:
        """A set-up that breaks fails its test; classes and parameters are part of the name."""
        self.assertEqual(
            {test.name: outcome for test, outcome in read_junit(JUNIT).items()},
            {
                "TestLock::test_x[single]": "passed",
                "test_y": "failed",
                "test_z": "skipped",
                "test_e": "failed",
            },
        )
        self.assertEqual({test.group for test in read_junit(JUNIT)}, {"tests/test_a.py"})


class CompareTests(SynchronousTestCase):
    """What is equal, what differs, and what cannot be relied on."""

    def test_equal(self) -> None:
        """Failing on both sides is no difference."""
        self.assertEqual(differing({A: "failed"}, {A: "failed"}), {})

    def test_absent(self) -> None:
        """A test that one side did not come to is a difference, in either direction."""
        self.assertEqual(differing({A: "passed"}, {}), {A: Pair("passed", ABSENT)})
        self.assertEqual(differing({}, {A: "passed"}), {A: Pair(ABSENT, "passed")})

    def test_different(self) -> None:
        """What fails again and again through the proxy alone is the proxy's doing."""
        well, ill = ({A: "passed"}, {A: "passed"}), ({A: "passed"}, {A: "failed"})
        self.assertEqual(list(judge([ill, ill, ill]).different), [A])
        self.assertEqual(list(judge([ill, well, ill]).different), [A])

    def test_flaky(self) -> None:
        """What differs once in three times is told as flaky, with its history."""
        well, ill = ({A: "passed", B: "failed"}, {A: "passed", B: "failed"}), ({A: "passed"}, {A: "failed"})
        verdict = judge([ill, well, well])
        self.assertEqual(verdict.different, {})
        self.assertEqual(verdict.flaky, {A: [Pair("passed", "failed"), *[Pair("passed", "passed")] * 2]})


class SourceListTests(SynchronousTestCase):
    """The machine's package sources, asked for sources."""

    def test_both_forms(self) -> None:
        """Lists of lines and of stanzas; what asks for sources already is not asked twice."""
        self.assertEqual(deb_src("deb [x=y] http://h/d s main\ndeb-src http://h/d s main\n# deb\n"), LINES)
        self.assertEqual(deb_src("Types: deb\nURIs: http://h/d\nSuites: s\n"), STANZA)


LINES = "deb-src [x=y] http://h/d s main\n# deb\n"
STANZA = "Types: deb-src\nURIs: http://h/d\nSuites: s\n"
