from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.blobs.api.index import takes_gzip
from stor.blobs.api.preconditions import Invalid, deletion, etags, namespaced_put, optional, plain_put
from stor.blobs.rules import All, Anything, Etags, Md5, New, NotExisting, Version
from stor.errors import BadRequest

MD5 = "5d41402abc4b2a76b9719d911017c592"


def headers(**given):
    return {name.replace("_", "-"): value for name, value in given.items()}.get


class ReadingTests(SynchronousTestCase):
    """What headers mean, by the tables of docs/protocols/blobs.md."""

    def test_plain(self):
        """Content-MD5 is of what is there: `new`, a digest, and the empty one that never holds."""
        self.assertEqual(plain_put(headers()), Anything())
        self.assertEqual(plain_put(headers(content_md5="new")), New())
        self.assertEqual(plain_put(headers(content_md5=MD5)), Md5(MD5))
        self.assertEqual(plain_put(headers(content_md5="")), Md5(""))
        self.assertEqual(plain_put(headers(content_md5=MD5.upper())), Md5(MD5.upper()))

    def test_namespaced(self):
        """If-Match-Version must be there and a number, unless a standard precondition stands for it."""
        self.assertEqual(namespaced_put(headers(if_match_version="7", content_md5="new")), Version(7))
        self.assertEqual(namespaced_put(headers(if_match_version=" 0 ")), Version(0))
        self.assertEqual(namespaced_put(headers(if_none_match="*")), NotExisting())
        self.assertEqual(namespaced_put(headers(if_match="*")), Etags(None))
        for given_, kind in (
            ({}, "missing"),
            ({"if_match_version": "x"}, "int_parsing"),
            ({"if_match_version": ""}, "int_parsing"),
        ):
            with self.assertRaises(Invalid) as caught:
                namespaced_put(headers(**given_))
            self.assertEqual((caught.exception.kind, caught.exception.place), (kind, ("header", "If-Match-Version")))

    def test_together(self):
        """Several must all hold; none is lost."""
        both = plain_put(headers(content_md5="new", if_none_match="*", if_match_version="3", if_match=f'"{MD5}"'))
        self.assertEqual(both, All((New(), Version(3), Etags(frozenset({MD5})), NotExisting())))

    def test_delete(self):
        """The quotes of If-Match may be missing there, and only there."""
        for written in MD5, f'"{MD5}"', f' "{MD5}" ':
            self.assertEqual(deletion(headers(if_match=written)), Etags(frozenset({MD5})))
        self.assertEqual(deletion(headers(if_match_version="5")), Version(5))
        self.assertEqual(deletion(headers(content_md5=MD5)), Anything())
        with self.assertRaises(BadRequest):
            plain_put(headers(if_match=MD5))

    def test_what_cannot_be_kept(self):
        """A precondition that we would have to ignore is refused."""
        for name in "if_modified_since", "if_unmodified_since":
            with self.assertRaises(BadRequest):
                plain_put(headers(**{name: "Thu, 15 Jan 2026 10:30:00 GMT"}))
        for none in f'"{MD5}"', "", "**":
            with self.assertRaises(BadRequest):
                optional(headers(if_none_match=none))

    def test_etags(self):
        """Lists with their spaces and empty members; weak ones never match; anything else is refused."""
        self.assertEqual(etags('"a" ,, W/"b","c,d"'), frozenset({"a", "c,d"}))
        self.assertEqual(etags('W/"a"'), frozenset())
        self.assertIsNone(etags(" * "))
        for wrong in "", "a", '"a', '"a" "b"', '"a",b', "*, *", 'w/"a"':
            with self.assertRaises(BadRequest, msg=wrong):
                etags(wrong)

    def test_any_bytes(self):
        """Bytes that are no ASCII match nothing, and are told in ASCII."""
        odd = b"\xff\xc3\xa4".decode("utf-8", "surrogateescape")
        self.assertEqual(plain_put(headers(content_md5=odd)), Md5(r"\udcff\xe4"))
        self.assertEqual(plain_put(headers(if_match=f'"{odd}"')), Etags(frozenset({r"\udcff\xe4"})))
        for read in plain_put, namespaced_put, deletion, optional:
            with self.assertRaises(Invalid) as caught:
                read(headers(if_match_version=odd))
            self.assertEqual(caught.exception.given, r"\udcff\xe4")

    @given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc", "Zs"], exclude_characters='"\x7f'))))
    def test_any_etags(self, tags):
        """Whatever is quoted comes back."""
        if tags:
            self.assertEqual(etags(", ".join(f'"{tag}"' for tag in tags)), frozenset(tags))

    @given(st.text(alphabet='",W/* \ta', max_size=40))
    def test_no_surprise(self, text):
        """Any text is a set, any, or refused."""
        try:
            found = etags(text)
        except BadRequest:
            return
        self.assertTrue(found is None or isinstance(found, frozenset))


class GzipTests(SynchronousTestCase):
    def test_accepted(self):
        """By its own name first, else by `*`; a weight of 0 is a no."""
        for yes in "gzip", "deflate, GZIP;q=0.5", "*", "identity;q=0, x-gzip", "gzip;q=1.0", "*;q=0, gzip":
            self.assertTrue(takes_gzip(yes), yes)
        for no in "", "br", "gzip;q=0", "gzip; q=0.0", "*, gzip;q=0", "*;q=0":
            self.assertFalse(takes_gzip(no), no)
