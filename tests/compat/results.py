"""What two suites of strangers said, as values: read from their output, and compared."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree import ElementTree as ET

ABSENT = "absent"
DIED = "died"


class Case(NamedTuple):
    """One test of a suite: the unit or file that can be run alone, and the name in there."""

    group: str
    name: str

    def __str__(self) -> str:
        return f"{self.group}: {self.name}"


class Pair(NamedTuple):
    """One test's outcome without and with the proxy."""

    direct: str
    proxied: str


Outcomes = Mapping[Case, str]

_TCL_LINE = re.compile(r"\[(?P<outcome>ok|err|skip|ignore|exception|TIMEOUT)\]: (?P<text>.*)")
_TCL_UNIT = re.compile(r"Testing (?P<unit>\S+/\S+)$")
_TCL_TAIL = {
    "ok": re.compile(r" \(\d+ ms\)$"),
    "err": re.compile(r" in tests/\S+$"),
    "ignore": re.compile(r": [^:]*$"),
}
_TCL_OUTCOME = {"ok": "passed", "err": "failed", "skip": "skipped", "ignore": "skipped"}


def read_tcl(text: str) -> dict[Case, str]:
    """Read what Redis's `runtest` printed; one that gave up counts as a test that died."""
    outcomes: dict[Case, str] = {}
    seen: Counter[Case] = Counter()
    unit = ""
    for line in text.splitlines():
        if started := _TCL_UNIT.match(line):
            unit = started["unit"]
        elif told := _TCL_LINE.match(line):
            kind, name = told["outcome"], told["text"]
            if kind not in _TCL_OUTCOME:
                outcomes[Case(unit, "the suite itself")] = DIED
                continue
            if kind in _TCL_TAIL:
                name = _TCL_TAIL[kind].sub("", name)
            outcomes[_numbered(Case(unit, name), seen)] = _TCL_OUTCOME[kind]
    return outcomes


def read_junit(text: str) -> dict[Case, str]:
    """Read pytest's JUnit report in its `xunit1` form, which names each test's file."""
    outcomes: dict[Case, str] = {}
    seen: Counter[Case] = Counter()
    for case in ET.fromstring(text).iter("testcase"):  # noqa: S314 - written by our own pytest
        scope = case.get("classname", "").rpartition(".")[2]
        name = f"{scope}::{case.get('name')}" if scope[:1].isupper() else str(case.get("name"))
        marks = {child.tag for child in case}
        outcome = "failed" if marks & {"failure", "error"} else "skipped" if "skipped" in marks else "passed"
        outcomes[_numbered(Case(case.get("file") or "", name), seen)] = outcome
    return outcomes


def _numbered(test: Case, seen: Counter[Case]) -> Case:
    """Tell tests of the same name apart by their order."""
    seen[test] += 1
    return test if seen[test] == 1 else Case(test.group, f"{test.name} #{seen[test]}")


def differing(direct: Outcomes, proxied: Outcomes) -> dict[Case, Pair]:
    """Find the tests whose outcomes are not equal; a test that ran on one side only is among them."""
    tests = sorted(direct.keys() | proxied.keys())
    pairs = {test: Pair(direct.get(test, ABSENT), proxied.get(test, ABSENT)) for test in tests}
    return {test: pair for test, pair in pairs.items() if pair.direct != pair.proxied}


@dataclass(frozen=True)
class Verdict:
    """The outcome of a comparison: what the proxy changes, and what changes from run to run."""

    different: Mapping[Case, Sequence[Pair]]
    flaky: Mapping[Case, Sequence[Pair]]


def judge(attempts: Sequence[tuple[Outcomes, Outcomes]]) -> Verdict:
    """Sort the tests that differed in the first attempt by what the later ones, of only those, make of them.

    A test is different when it differed in more than half of the attempts, else flaky.
    """
    (direct, proxied), *_ = attempts
    suspects = {
        test: [Pair(one.get(test, ABSENT), other.get(test, ABSENT)) for one, other in attempts]
        for test in differing(direct, proxied)
    }
    different = {
        test: pairs
        for test, pairs in suspects.items()
        if sum(pair.direct != pair.proxied for pair in pairs) * 2 > len(pairs)
    }
    flaky = {test: pairs for test, pairs in suspects.items() if test not in different}
    return Verdict(different, flaky)
