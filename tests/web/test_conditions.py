import itertools

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.errors import PreconditionFailed
from stor.web.conditions import check_write, is_unchanged, range_applies, seconds, tags

THEN, NOW = "Thu, 15 Jan 2026 10:30:00 GMT", "Thu, 15 Jan 2026 10:30:01 GMT"
MOMENT = 1768473000
opaque = st.text(st.characters(codec="latin-1", categories=("L", "N", "P", "S"), exclude_characters='"'), max_size=8)


def asking(**headers):
    return {name.replace("_", "-"): value for name, value in headers.items()}.get


class TagTests(SynchronousTestCase):
    @given(st.lists(st.tuples(st.booleans(), opaque), max_size=5), st.sampled_from([",", ", ", " , ", ",,"]))
    def test_lists(self, wanted, comma):
        """A list of any ETags is read as it was written, commas inside the quotes too."""
        written = [("W/" if weak else "") + f'"{text}"' for weak, text in wanted]
        self.assertEqual(tags(comma.join(written)).tags, frozenset(written))

    def test_bare(self):
        """Without quotes an ETag is taken for one with them."""
        self.assertEqual(tags('abc, "d"').tags, {'"abc"', '"d"'})

    def test_any(self):
        """`*` is what exists, whatever it is."""
        self.assertTrue(tags("*").has_strong('"x"'))
        self.assertTrue(tags(" * ").has_weak('W/"x"'))
        self.assertFalse(tags("*").has_strong(None))
        self.assertFalse(tags("*").has_weak(None))

    def test_comparison(self):
        """The table of RFC 9110, 8.8.3.2."""
        for one, other, strong, weak in (
            ('W/"1"', 'W/"1"', False, True),
            ('W/"1"', 'W/"2"', False, False),
            ('W/"1"', '"1"', False, True),
            ('"1"', '"1"', True, True),
        ):
            for left, right in ((one, other), (other, one)):
                self.assertEqual((tags(left).has_strong(right), tags(left).has_weak(right)), (strong, weak))

    @given(st.text(max_size=60))
    def test_noise(self, header):
        """Whatever the header, it is read to an end."""
        tags(header)


class DateTests(SynchronousTestCase):
    def test_forms(self):
        """All three forms of a date (5.6.7)."""
        for text in (THEN, "Thursday, 15-Jan-26 10:30:00 GMT", "Thu Jan 15 10:30:00 2026"):
            self.assertEqual(seconds(text), MOMENT, text)

    @given(st.text(max_size=40))
    def test_noise(self, text):
        """What is no date is None, never an error."""
        self.assertIn(type(seconds(text)), {int, type(None)})


class WriteTests(SynchronousTestCase):
    """RFC 9110, 13.2.2, for a method that changes something."""

    def refuses(self, etag, modified=None, **headers):
        try:
            check_write(asking(**headers), etag, modified)
        except PreconditionFailed:
            return True
        return False

    def test_if_match(self):
        """Only what was meant may be changed; of nothing, nothing."""
        self.assertFalse(self.refuses('"a"', if_match='"b", "a"'))
        self.assertTrue(self.refuses('"a"', if_match='"b"'))
        self.assertTrue(self.refuses('"a"', if_match='W/"a"'))
        self.assertTrue(self.refuses(None, if_match="*"))
        self.assertFalse(self.refuses('"a"', if_match="*"))

    def test_if_none_match(self):
        """`*` creates and never replaces."""
        self.assertFalse(self.refuses(None, if_none_match="*"))
        self.assertTrue(self.refuses('"a"', if_none_match="*"))
        self.assertTrue(self.refuses('"a"', if_none_match='W/"a"'))

    def test_if_unmodified_since(self):
        """Counts only without If-Match, and only when it is a date."""
        self.assertTrue(self.refuses('"a"', MOMENT + 1, if_unmodified_since=THEN))
        self.assertFalse(self.refuses('"a"', MOMENT, if_unmodified_since=THEN))
        self.assertFalse(self.refuses('"a"', MOMENT + 1, if_unmodified_since=THEN, if_match='"a"'))
        self.assertFalse(self.refuses('"a"', MOMENT + 1, if_unmodified_since="soon"))

    def test_nothing_asked(self):
        """Without conditions anything goes."""
        self.assertFalse(self.refuses(None))
        self.assertFalse(self.refuses('"a"', MOMENT))


class ReadTests(SynchronousTestCase):
    """RFC 9110, 13.2.2, for GET and HEAD."""

    def test_order(self):
        """If-None-Match stands above If-Modified-Since, whatever each would say."""
        for tag, since in itertools.product(('"a"', '"b"', None), (THEN, NOW, None)):
            headers = {"if_none_match": tag, "if_modified_since": since}
            asked = asking(**{name: value for name, value in headers.items() if value is not None})
            expected = tag == '"a"' if tag is not None else since == NOW
            self.assertEqual(is_unchanged(asked, '"a"', MOMENT + 1), expected, (tag, since))

    def test_if_match(self):
        """A reader may ask for one thing and no other."""
        self.assertRaises(PreconditionFailed, is_unchanged, asking(if_match='"b"'), '"a"')
        self.assertRaises(PreconditionFailed, is_unchanged, asking(if_unmodified_since=THEN), '"a"', MOMENT + 1)
        self.assertFalse(is_unchanged(asking(if_match='"a"'), '"a"'))

    def test_if_range(self):
        """A part is sent only of the very thing (13.1.5): strong ETag, or exactly its date."""
        for wanted, applies in (
            (None, True),
            ('"a"', True),
            ('"b"', False),
            ('W/"a"', False),
            (THEN, True),
            (NOW, False),
            ("nonsense", False),
        ):
            asked = asking() if wanted is None else asking(if_range=wanted)
            self.assertEqual(range_applies(asked, '"a"', MOMENT, MOMENT + 60), applies, wanted)
        self.assertFalse(range_applies(asking(if_range='W/"a"'), 'W/"a"', MOMENT))

    def test_if_range_date(self):
        """A date is no strong validator before it is a minute old, nor when it is none of this clock (8.8.2.2)."""
        for age, applies in ((-5, False), (0, False), (59, False), (60, True), (10**6, True)):
            self.assertEqual(range_applies(asking(if_range=THEN), '"a"', MOMENT, MOMENT + age), applies, age)
        self.assertFalse(range_applies(asking(if_range=THEN), '"a"', MOMENT + 1, MOMENT + 100))
        self.assertTrue(range_applies(asking(if_range='"a"'), '"a"', MOMENT, MOMENT))
