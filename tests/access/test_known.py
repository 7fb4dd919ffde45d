from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from stor.access.key import is_id, new_key, prefix_of
from stor.access.known import Keys, ProxyPassword, listed
from stor.access.offers import offered
from stor.access.passwords import digest, same
from stor.access.principal import Principal
from stor.errors import ConfigError


class PasswordTests(SynchronousTestCase):
    def test_same(self):
        """Only the very same bytes are the password."""
        kept = digest(b"p\xc3\xa4ss")
        self.assertTrue(same(b"p\xc3\xa4ss", kept))
        for other in (b"", b"p\xc3\xa4s", b"p\xc3\xa4ss\n", b"pass", kept):
            self.assertFalse(same(other, kept))

    def test_proxy(self):
        """The proxy's password may format the volume, and nothing else."""
        known = ProxyPassword(b"pw")
        self.assertIsNone(known.find(digest(b"PW")))
        found = known.find(digest(b"pw"))
        self.assertEqual((found.name, found.permissions), ("proxy", {"volume:format"}))

    def test_empty(self):
        """An empty secret would admit everybody, so it is no setting."""
        self.assertRaises(ConfigError, ProxyPassword, b"")
        self.assertRaises(ConfigError, Keys, {"": Principal("p", frozenset())})
        self.assertRaises(ConfigError, listed, ["good", ""])


class ListedTests(SynchronousTestCase):
    def test_places(self):
        """Each key of the list may everything, and is called by its place; short ones are kept apart."""
        strong, weak = listed(["short", "l" * 32, "ä" * 40])
        for keys, text, name in (
            (weak, "short", "listed:1"),
            (strong, "l" * 32, "listed:2"),
            (strong, "ä" * 40, "listed:3"),
        ):
            found = keys.find(digest(text.encode()))
            self.assertEqual((found.name, found.tenant, found.may("keys:manage")), (name, None, True))
        self.assertIsNone(strong.find(digest(b"short")))
        self.assertIsNone(weak.find(digest(b"l" * 32)))


class OfferedTests(SynchronousTestCase):
    def test_headers(self):
        """Every way of saying a key, and none that says nothing."""
        basic = b64encode(b"any:p:w").decode()
        for key, authorization, secrets in (
            (None, None, []),
            ("", "", []),
            (None, "Bearer k", [("bearer", "k")]),
            (None, "bearer  k ", [("bearer", "k")]),
            (None, "ApiKey k", [("key", "k")]),
            (None, "Bearer", []),
            (None, "Basic ", []),
            (None, f"Basic {basic}", [("basic", "p:w")]),
            (None, "Basic !", [("basic", "!")]),
            (None, "Digest k", []),
            ("k", None, [("key", "k")]),
            ("b", "Bearer a", [("key", "b"), ("bearer", "a")]),
        ):
            self.assertEqual([offer[:2] for offer in offered(key, authorization)], secrets)

    def test_bytes(self):
        """What is no UTF-8 is looked up as the bytes that came, in any scheme."""
        odd = b"\xff\xfe".decode("utf-8", "surrogateescape")
        basic = b64encode(b"any:\xff\xfe").decode()
        for offer in (*offered(odd, f"Bearer {odd}"), *offered(None, f"Basic {basic}")):
            self.assertEqual(offer.digest, digest(b"\xff\xfe"))

    def test_hidden(self):
        """Its repr shows no secret."""
        (offer,) = offered("swordfish", None)
        self.assertNotIn("swordfish", repr(offer))


class FormTests(SynchronousTestCase):
    def test_new(self):
        """A key is its prefix and 43 characters of 62, kept as a digest; no two are alike."""
        made = [new_key() for _ in range(200)]
        for key in made:
            self.assertRegex(key.text, r"\Astor_[0-9a-z]{10}_[0-9A-Za-z]{43}\Z")
            self.assertEqual(prefix_of(key.text), f"stor_{key.id}")
            self.assertEqual(key.digest, digest(key.text.encode()).hex())
            self.assertTrue(is_id(key.id))
            self.assertNotIn(key.text, repr(key))
        self.assertEqual(len({key.text for key in made}), 200)
        self.assertEqual(len({key.id for key in made}), 200)
        self.assertGreaterEqual(62**43, 2**256)

    def test_others(self):
        """Nothing else looks like one of ours."""
        text = new_key().text
        for other in (
            "",
            "stor_",
            text[:-1],
            text + "x",
            text + "\n",
            " " + text,
            text.upper(),
            text.replace("_", "-"),
        ):
            self.assertIsNone(prefix_of(other), other)
        for other in ("", "short", "0123456789a", "012345678\0", "ABCDEFGHIJ", "012345678\n"):
            self.assertFalse(is_id(other), other)
