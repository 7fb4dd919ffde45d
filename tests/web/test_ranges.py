from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.errors import NotSatisfiable
from stor.web.ranges import content_range, span

sizes = st.integers(0, 300)


class RangeTests(SynchronousTestCase):
    """RFC 9110, 14.1.2: what each form means is written here a second time, over the bytes themselves."""

    def check(self, header, size, expected):
        """`expected` are the numbers of the bytes."""
        if expected:
            start, stop = span(header, size)
            self.assertEqual(range(start, stop), expected)
        else:
            self.assertEqual(self.assertRaises(NotSatisfiable, span, header, size).size, size)

    @given(sizes, st.integers(0, 320), st.integers(0, 320))
    def test_both_ends(self, size, first, more):
        """From the first to the last, as far as there are any."""
        self.check(f"bytes={first}-{first + more}", size, range(size)[first : first + more + 1])

    @given(sizes, st.integers(0, 320))
    def test_open(self, size, first):
        """From the first to the end."""
        self.check(f"bytes={first}-", size, range(size)[first:])

    @given(sizes, st.integers(0, 320))
    def test_suffix(self, size, last):
        """The last ones; all, when there are fewer; of none there is no suffix."""
        self.check(f"bytes=-{last}", size, range(size)[-last:] if last else range(0))

    def test_all(self):
        """No header, several ranges, another unit, and what is no range: all is sent."""
        for header in (
            None,
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-2,4-5",
            "bytes=5-2",
            "bytes=1-2-3",
            "bytes= 1 - 2",
            "bytes=+1-2",
            "bytes=1-٣",
            "chunks=1-2",
            "bytes=" + "9" * 5000 + "-",
            "bytes=0-" + "9" * 30,
        ):
            self.assertIsNone(span(header, 10), header)

    @given(st.text(max_size=30), sizes)
    def test_noise(self, header, size):
        """Whatever the header, the answer is a part that exists, all, or NotSatisfiable."""
        try:
            found = span("bytes=" + header, size)
        except NotSatisfiable:
            return
        if found is not None:
            self.assertTrue(0 <= found[0] < found[1] <= size)

    def test_said(self):
        """Content-Range names the last byte, not the one behind it."""
        self.assertEqual(content_range(2, 5, 10), b"bytes 2-4/10")
