"""What a write may do to a path."""

import re
from dataclasses import dataclass

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.blobs.rules import (
    ANY,
    INDEX_NAME,
    All,
    Anything,
    Entry,
    Etags,
    Md5,
    New,
    NotExisting,
    Version,
    check_namespace,
    check_path,
    creates,
    judge,
    needs_any,
    needs_live,
    next_version,
    unexpired,
)
from stor.errors import BadRequest, Missing, PreconditionFailed

X, Y = "5d41402abc4b2a76b9719d911017c592", "7d793037a0760186574b0282f2f435e7"
LIVE = Entry(path="a", md5=X, size=5, modified=10, is_deleted=False, version=7, etag="e")
DEAD = msgspec.structs.replace(LIVE, size=0, is_deleted=True)
HOLDS = None


@dataclass
class Row:
    """A condition, and what is said when it meets nothing, a live file, a tombstone: None where it holds."""

    condition: object
    nothing: tuple[str, dict[str, str]] | None
    live: tuple[str, dict[str, str]] | None
    dead: tuple[str, dict[str, str]] | None


def md5(text: str, current: str, provided: str, **more: str) -> tuple[str, dict[str, str]]:
    return text, {"current_md5": current, "provided_md5": provided, **more}


def version(text: str, current: str, provided: str, **more: str) -> tuple[str, dict[str, str]]:
    return text, {"current_version": current, "provided_version": provided, **more}


DELETED = {"is_deleted": "true"}
EXISTS, NONE, OTHER = "File already exists", "File does not exist", "Content-MD5 mismatch"
TABLE = [
    Row(Anything(), HOLDS, HOLDS, HOLDS),
    Row(New(), HOLDS, md5(EXISTS, X, "new"), md5(EXISTS, X, "new", **DELETED)),
    Row(Md5(X), md5(NONE, "none", X), HOLDS, HOLDS),
    Row(Md5(Y), md5(NONE, "none", Y), md5(OTHER, X, Y), md5(OTHER, X, Y, **DELETED)),
    Row(Md5(""), md5(NONE, "none", ""), md5(OTHER, X, ""), md5(OTHER, X, "", **DELETED)),
    Row(Version(0), HOLDS, version(EXISTS, "7", "0"), version(EXISTS, "7", "0", **DELETED)),
    Row(Version(7), version(NONE, "none", "7"), HOLDS, HOLDS),
    Row(
        Version(6),
        version(NONE, "none", "6"),
        version("Version mismatch", "7", "6"),
        version("Version mismatch", "7", "6", **DELETED),
    ),
    Row(NotExisting(), HOLDS, md5(EXISTS, X, "*"), HOLDS),
    Row(Etags(ANY), md5(NONE, "none", "*"), HOLDS, md5(NONE, X, "*", **DELETED)),
    Row(Etags(frozenset({Y, X})), md5(NONE, "none", f"{X}, {Y}"), HOLDS, md5(NONE, X, f"{X}, {Y}", **DELETED)),
    Row(Etags(frozenset({Y})), md5(NONE, "none", Y), md5(OTHER, X, Y), md5(NONE, X, Y, **DELETED)),
]
SINGLE = st.one_of(
    st.just(Anything()),
    st.just(New()),
    st.just(NotExisting()),
    st.builds(Md5, st.sampled_from([X, Y, ""])),
    st.builds(Version, st.integers(-1, 9)),
    st.builds(Etags, st.one_of(st.none(), st.frozensets(st.sampled_from([X, Y])))),
)
STATES = st.sampled_from([None, LIVE, DEAD])


def refusal(condition, current) -> PreconditionFailed | None:
    try:
        judge(condition, current)
    except PreconditionFailed as why:
        return why
    return None


class JudgeTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each condition on nothing, on a live file and on a tombstone holds, or is refused in the contract's words."""
        for row in TABLE:
            for current, told in ((None, row.nothing), (LIVE, row.live), (DEAD, row.dead)):
                why = refusal(row.condition, current)
                found = None if why is None else (str(why), why.context)
                self.assertEqual(found, told, (row.condition, current))
                self.assertTrue(why is None or why.code == "PRECONDITION_FAILED")

    @given(st.lists(SINGLE, max_size=4), STATES)
    def test_all(self, conditions, current) -> None:
        """Several conditions hold when each does, and the first that does not is told."""
        refusals = [why for why in (refusal(each, current) for each in conditions) if why is not None]
        together = refusal(All(tuple(conditions)), current)
        self.assertEqual(
            None if together is None else (str(together), together.context),
            (str(refusals[0]), refusals[0].context) if refusals else None,
        )

    @given(SINGLE, STATES)
    def test_context(self, condition, current) -> None:
        """A context's values are text, one of what is there and one of what was asked for; deleted only if it is."""
        why = refusal(condition, current)
        if why is not None:
            assert why.context is not None
            self.assertTrue(all(isinstance(value, str) for value in why.context.values()))
            kind = "version" if isinstance(condition, Version) else "md5"
            names = {f"current_{kind}", f"provided_{kind}"}
            deleted = current is not None and current.is_deleted
            self.assertEqual(set(why.context), names | ({"is_deleted"} if deleted else set()))

    @given(SINGLE)
    def test_one_new(self, condition) -> None:
        """What may be put on nothing under `new` or 0 may not be put again on what that left."""
        if condition in (New(), Version(0), NotExisting()):
            self.assertIsNone(refusal(condition, None))
            self.assertIsNotNone(refusal(condition, LIVE))

    def test_creates(self) -> None:
        """Something new is what meets nothing, or If-None-Match: * on a tombstone; a revived one is not new."""
        self.assertTrue(creates(New(), None))
        self.assertTrue(creates(Anything(), None))
        self.assertFalse(creates(Anything(), LIVE))
        self.assertFalse(creates(Anything(), DEAD))
        self.assertFalse(creates(Md5(X), DEAD))
        self.assertTrue(creates(NotExisting(), DEAD))
        self.assertTrue(creates(All((Md5(X), NotExisting())), DEAD))

    def test_missing(self) -> None:
        """What cannot be read or deleted is told in the contract's words."""
        self.assertRaisesRegex(Missing, "^File not found: a$", needs_live, "a", None)
        self.assertRaisesRegex(Missing, "^File not found: a$", needs_any, "a", None)
        self.assertRaisesRegex(Missing, "^File is deleted: a$", needs_live, "a", DEAD)
        self.assertIs(needs_live("a", LIVE), LIVE)
        self.assertIs(needs_any("a", DEAD), DEAD)


class TimeTests(SynchronousTestCase):
    @given(st.floats(0, 4e9), st.lists(st.integers(0, 1 << 52)))
    def test_versions(self, now, seen) -> None:
        """A version is beyond all that were seen, and never behind the clock."""
        version = next_version(now, *seen)
        self.assertGreaterEqual(version, int(now * 1000))
        self.assertTrue(all(version > each for each in seen))

    def test_expiry(self) -> None:
        """A tombstone is nothing once it is older than so many days; a live file never is, and 0 days are for ever."""
        old = msgspec.structs.replace(DEAD, modified=1_000_000_000_000)
        now = 1_000_000 + 30 * 86_400
        self.assertIs(unexpired(old, now, 30), old)
        self.assertIsNone(unexpired(old, now + 1, 30))
        self.assertIs(unexpired(old, now + 1, 0), old)
        live = msgspec.structs.replace(old, is_deleted=False)
        self.assertIs(unexpired(live, now + 1, 30), live)
        self.assertIsNone(unexpired(None, now, 30))


class PathTests(SynchronousTestCase):
    def test_refused(self) -> None:
        """What cannot be a key of every store, or would be taken for an index, is refused."""
        wrong = [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            ".",
            "..",
            "a/../b",
            "./a",
            "a/.",
            "\0",
            "a\nb",
            "\x7f",
            "a\x85",
            "\ud800",
        ]
        for path in [*wrong, INDEX_NAME, f"a/b/{INDEX_NAME}", "x" * 1025]:
            self.assertRaises(BadRequest, check_path, path)
        for namespace in wrong:
            self.assertRaises(BadRequest, check_namespace, namespace)

    def test_length(self) -> None:
        """A path with its prefix has at most 1024 bytes of UTF-8."""
        check_path("ü" * 508, "memory1")
        self.assertRaises(BadRequest, check_path, "ü" * 508 + "x", "memory1")

    @given(st.text())
    def test_allowed(self, text) -> None:
        """All else is allowed: dots, spaces, %2F, other alphabets, names like ours."""
        segments = [re.sub("[\0-\x1f\x7f-\x9f/\ud800-\udfff]", "", segment) for segment in text.split("/")]
        path = "/".join(segment + "x" for segment in segments)[:300]
        check_path(path, "memory")
        check_namespace(path)
        for odd in ("...", "a b", "%2F", ".stor/log/1", f"{INDEX_NAME}/a", f"{INDEX_NAME}.md", "-", "~"):
            check_path(odd)
