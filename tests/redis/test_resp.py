"""What is read as a command, and what is refused in which words."""

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.redis.resp import LINE, Malformed, Short, command, encode, integer, split

words_lists = st.lists(st.binary(max_size=40), min_size=1, max_size=9)


def read(data: bytes) -> tuple[list[bytes], int]:
    return command(data, most=10, largest=16384)


class IntegerTests(SynchronousTestCase):
    @given(st.integers(-(1 << 63), (1 << 63) - 1))
    @example(-(1 << 63))
    @example((1 << 63) - 1)
    @example(0)
    def test_reads_what_redis_writes(self, number):
        """Every signed 64-bit integer in its one way of writing is read."""
        self.assertEqual(integer(b"%d" % number), number)

    def test_refuses_what_python_would_take(self):
        """Signs, zeros, blanks, underscores and overflow are not numbers: Redis frames by this."""
        for text in (
            b"+1",
            b" 1",
            b"1 ",
            b"01",
            b"-0",
            b"1_0",
            b"",
            b"-",
            b"0x1",
            b"9223372036854775808",
            b"1" * 30,
        ):
            self.assertIsNone(integer(text), text)


class CommandTests(SynchronousTestCase):
    @given(words_lists, st.integers(0, 400))
    def test_round_trip(self, words, cut):
        """A written command is read back, and any shorter piece of it is Short."""
        wire = encode(words)
        self.assertEqual(read(wire + b"more"), (words, len(wire)))
        if cut < len(wire):
            self.assertRaises(Short, read, wire[:cut])

    def test_loose_ends(self):
        """The byte after CR, and the two after a bulk, may be anything."""
        self.assertEqual(read(b"*1\rX$4\rXPING\rX"), ([b"PING"], 14))

    def test_nothing_to_do(self):
        """Empty arrays and empty lines are commands of no words."""
        for wire in (b"*0\r\n", b"*-1\r\n", b"*-5\r\n", b"\r\n", b"\n", b"  \r\n"):
            self.assertEqual(read(wire), ([], len(wire)), wire)

    def test_refusals(self):
        """Each broken frame is refused in Redis's own words."""
        for wire, said in [
            (b"*+1\r\n", b"invalid multibulk length"),
            (b"* 1\r\n", b"invalid multibulk length"),
            (b"*01\r\n", b"invalid multibulk length"),
            (b"*\r\n", b"invalid multibulk length"),
            (b"*2147483648\r\n", b"invalid multibulk length"),
            (b"*11\r\n", b"unauthenticated multibulk length"),
            (b"*1\r\n$0_4\r\n", b"invalid bulk length"),
            (b"*1\r\n$-1\r\n", b"invalid bulk length"),
            (b"*1\r\n$16385\r\n", b"unauthenticated bulk length"),
            (b"*1\r\nPING\r\n", b"expected '$', got 'P'"),
            (b"*1\r\n\n\r\n", b"expected '$', got ' '"),
            (b'"PING\r\n', b"unbalanced quotes in request"),
            (b"'PING'x\r\n", b"unbalanced quotes in request"),
            (b"x" * (LINE + 1), b"too big inline request"),
            (b"*" + b"1" * LINE, b"too big mbulk count string"),
            (b"*1\r\n$" + b"1" * LINE, b"too big bulk count string"),
        ]:
            why = self.assertRaises(Malformed, read, wire)
            self.assertEqual(why.args[0], b"-ERR Protocol error: " + said, wire[:40])

    def test_nul_hides_the_line_end(self):
        """Redis looks for line ends with strchr, so a NUL makes it wait for ever."""
        self.assertRaises(Short, read, b"PI\0NG\r\n")
        self.assertRaises(Short, read, b"*1\0\r\n$4\r\nPING\r\n")


class InlineTests(SynchronousTestCase):
    def test_words(self):
        """Blanks separate, quotes join, escapes are understood as in sdssplitargs."""
        for line, words in [
            (b"PING", [b"PING"]),
            (b"\tset  a\tb ", [b"set", b"a", b"b"]),
            (b'"PI\\x4eG"', [b"PING"]),
            (b"'PING'", [b"PING"]),
            (b'set a "b c\\n\\t\\\\\\"\\q"', [b"set", b"a", b'b c\n\t\\"q']),
            (b"set a 'b \\' \\n'", [b"set", b"a", b"b ' \\n"]),
            (b'a"b c"', [b"ab c"]),
            (b'""', [b""]),
            (b"a\vb \vc", [b"a\vb", b"c"]),
        ]:
            self.assertEqual(split(line), words, line)

    def test_unbalanced(self):
        """A quote that never closes, or closes against a word, is refused."""
        for line in (b'"', b"'", b'"a', b'"a"b', b"'a'b", b'"a\\"', b'a"b'):
            self.assertIsNone(split(line), line)
