"""How objects are written: what is shown is read again as the same, and what makes no sense is refused."""

from hypothesis import given
from hypothesis.strategies import builds, characters, text
from twisted.trial.unittest import SynchronousTestCase

from stor.client.objects.names import Id, Name, is_remote, named, place
from stor.client.objects.wish import etag_of, metadata_of
from stor.errors import BadRequest

WORDS = text(characters(exclude_categories=["Cs"]), min_size=1)
NAMES = builds(Name, text("abc-._0", min_size=1), WORDS, WORDS)
ID = "01A1fedb-271e-79bc-8113-9e8f84e3dc1b"


class NameTests(SynchronousTestCase):
    @given(NAMES)
    def test_round(self, name):
        """Any name is written on one line, without spaces, and read again."""
        written = str(name)
        self.assertEqual(named(written), name)
        self.assertTrue(written.isprintable() and " " not in written, written)

    @given(NAMES)
    def test_target(self, name):
        """Its path has just the slashes that part it."""
        self.assertEqual(name.target.count("/"), 6)
        self.assertRegex(name.target, r"^[A-Za-z0-9/._~%-]+$")

    def test_read(self):
        """What follows the second slash is the key, whatever it has; %XX is decoded everywhere."""
        for text_, name in (
            ("stor://", Name()),
            ("stor://n", Name("n")),
            ("stor://n/", Name("n")),
            ("stor://n/t", Name("n", "t")),
            ("stor://n/t/", Name("n", "t")),
            ("stor://n/t/a/b/", Name("n", "t", "a/b/")),
            ("stor://n/t//a", Name("n", "t", "/a")),
            ("stor://n/a%2Fb/c", Name("n", "a/b", "c")),
            ("stor://n/t/100%25?x#y", Name("n", "t", "100%?x#y")),
            ("stor://n/t/%C3%A4ä", Name("n", "t", "ää")),
        ):
            self.assertEqual(named(text_), name)
            self.assertTrue(is_remote(text_))
        self.assertEqual(named(ID), Id(ID.lower()))
        self.assertTrue(is_remote(ID))
        self.assertFalse(is_remote(f"./{ID}"))

    def test_refused(self):
        """What is no name is refused, and not guessed at."""
        for wrong in (
            "",
            "n/t/k",
            "/n/t/k",
            "stor:/n",
            "stor://n//k",
            "stor:///t/k",
            "stor://n/t/%",
            "stor://n/t/%zz",
            "stor://n/t/%FF",
        ):
            with self.assertRaises(BadRequest, msg=wrong):
                named(wrong)
        with self.assertRaises(BadRequest):
            place(ID)

    def test_folders(self):
        """A name without a key, or whose key ends with a slash, is a folder; any other can be taken for one."""
        self.assertEqual(Name("n", "t").below("a"), Name("n", "t", "a"))
        self.assertEqual(Name("n", "t", "x/").below("a"), Name("n", "t", "x/a"))
        self.assertEqual(Name("n", "t", "x").below("a"), Name("n", "t", "x/a"))
        self.assertEqual([Name("n", "t", key).is_folder for key in ("", "x/", "x")], [True, True, False])


class WishTests(SynchronousTestCase):
    def test_etags(self):
        """An ETag may be written as it is, without its quotes, or as a digest."""
        digest = "ab" * 32
        for text_ in (digest, f"sha256:{digest}", f'"sha256:{digest}"'):
            self.assertEqual(etag_of(text_), f'"sha256:{digest}"')
        self.assertEqual(etag_of("*"), "*")
        for wrong in ("", "x", digest.upper(), f"md5:{digest}", f'"{digest}", "{digest}"'):
            with self.assertRaises(BadRequest):
                etag_of(wrong)

    def test_metadata(self):
        """What could end a header, or is no name of one, is refused."""
        self.assertEqual(metadata_of(("A=b=c", "d=")), {"a": "b=c", "d": ""})
        for wrong in ("x", "=y", "a b=c", "a=b\r\nHost: x", "a=\ud800", "ä=b"):
            with self.assertRaises(BadRequest):
                metadata_of((wrong,))
