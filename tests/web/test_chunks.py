from itertools import pairwise

from httptools import HttpParserError, HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.web.chunks import LINE_BYTES, Chunks
from stor.web.framing import Malformed

MOST = 200
HEAD = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
EXTENSIONS = [b"", b";a", b";a=b;c", b';a="b c"']
WORDS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"0",
    b"3",
    b"a",
    b"abc",
    b";x",
    b"; x",
    b" ",
    b"00",
    b"T: v",
    b"0x3",
    b"-1",
    b"+1",
    b"_",
]
pieces = st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.sampled_from(EXTENSIONS)), max_size=5)
trailers = st.lists(st.sampled_from([b"T: v", b"Connection: close", b"U:"]), max_size=3)


def written(body, trailer):
    """What a sender makes of pieces of a body."""
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece, extension in body)
    return chunks + b"0\r\n" + b"".join(line + b"\r\n" for line in trailer) + b"\r\n"


def read(parts):
    """Give the body, what is left behind it, and whether it was whole; None when it is refused."""
    chunks, kept, body = Chunks(MOST), b"", b""
    try:
        for part in parts:
            kept += part
            piece, taken = chunks.take(kept)
            body, kept = body + piece, kept[taken:]
    except Malformed:
        return None
    return body, kept, chunks.whole


def by_llhttp(data):
    """The same by llhttp."""
    body, ends = [], []

    class Heard:
        def on_body(self, piece):
            body.append(piece)

        def on_message_complete(self):
            ends.append(1)

    try:
        HttpRequestParser(Heard()).feed_data(HEAD + data)
    except HttpParserError:
        return None
    return b"".join(body), bool(ends)


class ChunkTests(SynchronousTestCase):
    @given(pieces, trailers, st.binary(max_size=20), st.lists(st.integers(0, 10**6), max_size=10))
    def test_round(self, body, trailer, behind, places):
        """What a sender wrote is read, however cut, and nothing behind it is touched."""
        data = written(body, trailer)
        cuts = sorted(place % (len(data) + 1) for place in places)
        parts = [data[begin:end] for begin, end in pairwise([0, *cuts, len(data)])]
        whole = b"".join(piece for piece, _ in body)
        self.assertEqual(read(parts), (whole, b"", True))
        self.assertEqual(read([data + behind]), (whole, behind, True))

    @given(st.lists(st.sampled_from(WORDS), max_size=25), st.lists(st.integers(0, 10**6), max_size=5))
    def test_noise(self, words, places):
        """Whatever comes: the cuts change nothing, and what we take as a body llhttp takes as the same one."""
        data = b"".join(words)
        cuts = sorted(place % (len(data) + 1) for place in places)
        found = read([data])
        self.assertEqual(read([data[begin:end] for begin, end in pairwise([0, *cuts, len(data)])]), found)
        if found is not None and found[2]:
            self.assertEqual(by_llhttp(data[: len(data) - len(found[1])]), (found[0], True))

    def test_refused(self):
        """What another server might read in another way is refused."""
        for data in (
            b"x\r\n",
            b"0x3\r\nabc\r\n",
            b"3\nabc\r\n",
            b"3 \r\nabc\r\n",
            b" 3\r\nabc\r\n",
            b"+3\r\nabc\r\n",
            b"-3\r\nabc\r\n",
            b"3_0\r\n",
            b"\r\n",
            b"3\r\nabcd",
            b"3\r\nabc\n",
            b"3;a\nb\r\nabc\r\n",
            b"3;\x00\r\nabc\r\n",
            b"1" * 16 + b"\r\n",
            b"0\r\nno header\r\n",
            b"0\r\nName : v\r\n",
            b"0\r\nName: a\nb\r\n",
            b"0\r\n folded\r\n",
        ):
            self.assertIsNone(read([data]), data)

    def test_bounded(self):
        """A line and a trailer have their bounds, whether they end or not."""
        self.assertIsNone(read([b"3;" + b"x" * LINE_BYTES]))
        self.assertIsNone(read([b"3;" + b"x" * LINE_BYTES + b"\r\nabc\r\n"]))
        self.assertIsNone(read([b"0\r\n" + b"T: v\r\n" * 100]))
        self.assertIsNone(read([b"0\r\nT: " + b"v" * MOST]))
        self.assertIsNotNone(read([b"0\r\n" + b"T: v\r\n" * 30]))
