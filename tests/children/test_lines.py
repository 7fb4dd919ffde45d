"""Lines, however they are cut and however long they are."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.children.lines import KEPT, LINE_BYTES, LastWords, Lines


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[a:b] for a, b in pairwise(edges)]


class LinesTests(SynchronousTestCase):
    @given(st.lists(st.binary(max_size=40).map(lambda b: b.translate(None, b"\r\n"))), st.lists(st.integers(0)))
    def test_cuts(self, lines: list[bytes], at: list[int]) -> None:
        """Where the pipe cuts the bytes makes no difference."""
        pipe = Lines()
        heard = [line for piece in cut(b"".join(line + b"\n" for line in lines), at) for line in pipe.feed(piece)]
        self.assertEqual(heard, lines)
        self.assertEqual(list(pipe.end()), [])

    def test_unfinished(self) -> None:
        """What stands behind the last newline is a line when the pipe ends, once."""
        pipe = Lines()
        self.assertEqual(list(pipe.feed(b"a\r\nb")), [b"a"])
        self.assertEqual([*pipe.end(), *pipe.end()], [b"b"])

    def test_long(self) -> None:
        """Of a line without end the beginning is kept, and no more is held."""
        pipe = Lines()
        for _ in range(100):
            self.assertEqual(list(pipe.feed(b"x" * 1000)), [])
            self.assertLessEqual(len(pipe._rest), LINE_BYTES)
        self.assertEqual(list(pipe.feed(b"\nnext\n")), [b"x" * LINE_BYTES, b"next"])


class LastWordsTests(SynchronousTestCase):
    def test_forgets(self) -> None:
        """The oldest lines go; what is told is bounded and has the newest."""
        words = LastWords()
        for number in range(1000):
            words.add(b"line %d" % number)
        self.assertEqual(len(words._lines), KEPT)
        self.assertTrue(words.tell().endswith("line 998; line 999"))
        self.assertEqual(len(words.tell(most=20)), 20)
