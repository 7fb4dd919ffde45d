from urllib.parse import parse_qsl, unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.access.presign import LONGEST, SIGNATURE, Presigner
from stor.access.principal import Principal
from stor.errors import BadRequest, ConfigError, Denied, Forbidden

SECRET = b"s" * 32
GIVER = Principal("key:abc:ci", frozenset({"objects:read", "blobs:write"}), "acme")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = TEXT.filter(lambda text: not text.startswith("stor-"))


class Request:
    def __init__(self, url, method="GET", **headers):
        parts = urlsplit(url)
        self.method, self.path = method, unquote(parts.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
        self.headers = headers

    def header(self, name):
        return self.headers.get(name.replace("-", "_"))


class PresignTests(SynchronousTestCase):
    def setUp(self):
        self.now = 1_000_000.0
        self.presigner = Presigner(SECRET, wall=lambda: self.now)

    def url(self, giver=GIVER, permission="objects:read", method="GET", path="/v1/objects/x", seconds=60, query=None):
        return self.presigner.sign(giver, permission, method, path, seconds, query)

    def test_good(self):
        """Who brings the URL is let in as whom it was made for: this permission, this tenant."""
        found = self.presigner.find(Request(self.url()))
        self.assertEqual(found, Principal("presigned:key:abc:ci", frozenset({"objects:read"}), "acme"))
        everywhere = Principal("admin", frozenset({"admin"}))
        found = self.presigner.find(Request(self.url(everywhere, "blobs:write", "PUT"), "PUT"))
        self.assertEqual(found, Principal("presigned:admin", frozenset({"blobs:write"})))

    @given(TEXT, st.dictionaries(NAMES, TEXT, max_size=3))
    def test_survives_the_wire(self, path, query):
        """Any path and any further parameters come through percent-encoding."""
        request = Request(self.url(path=f"/blob/{path}", query=query))
        self.assertEqual(request.path, f"/blob/{path}")
        self.assertLessEqual(query.items(), request.query.items())
        self.assertIsNotNone(self.presigner.find(request))

    @given(st.data())
    def test_nothing_can_be_changed(self, data):
        """Another method, path, or any parameter more, less or other than what was signed is refused."""
        request = Request(self.url(query={"version": "3"}))
        change = data.draw(st.sampled_from(["method", "path", "drop", "add", "set"]))
        if change == "method":
            request.method = data.draw(st.sampled_from(["HEAD", "PUT", "POST", "DELETE", "get", ""]))
        elif change == "path":
            request.path = data.draw(TEXT.filter(lambda text: text != request.path))
        elif change == "drop":
            del request.query[data.draw(st.sampled_from(sorted(request.query)))]
        elif change == "add":
            request.query[data.draw(TEXT.filter(lambda text: text not in request.query))] = data.draw(TEXT)
        else:
            name = data.draw(st.sampled_from(sorted(request.query)))
            request.query[name] = data.draw(TEXT.filter(lambda text: text != request.query[name]))
        self.assertIsNone(self.presigner.find(request))

    @given(st.lists(st.tuples(TEXT, st.dictionaries(NAMES, TEXT, max_size=3)), min_size=2, max_size=2, unique_by=repr))
    def test_no_two_alike(self, both):
        """Two different requests never have the same signature, wherever their letters stand."""
        first, second = (Request(self.url(path=f"/{path}", query=query)) for path, query in both)
        self.assertNotEqual(first.query[SIGNATURE], second.query[SIGNATURE])

    def test_expires(self):
        """A genuine URL is refused as expired from its last second on."""
        request = Request(self.url(seconds=60))
        self.now += 59
        self.assertIsNotNone(self.presigner.find(request))
        self.now += 1
        self.assertRaises(Denied, self.presigner.find, request)

    def test_other_tenant(self):
        """A header cannot say another tenant than the one that was signed, nor any where none was."""
        for giver in (GIVER, Principal("root", frozenset({"admin"}))):
            request = Request(self.url(giver), x_tenant="other")
            self.assertRaises(Denied, self.presigner.find, request)

    def test_never_more(self):
        """One can sign what one holds, for reading or putting, for a week; and not our own parameters."""
        self.assertRaises(Forbidden, self.url, permission="objects:write")
        self.assertRaises(Forbidden, self.url, Principal("p", frozenset()))
        for method in ("POST", "DELETE", "get", ""):
            self.assertRaises(BadRequest, self.url, method=method)
        for seconds in (0, -1, LONGEST + 1, float("nan")):
            self.assertRaises(BadRequest, self.url, seconds=seconds)
        self.assertRaises(BadRequest, self.url, query={"stor-expires": "1"})

    def test_secret(self):
        """Another secret knows nothing of it; a short one is no setting; neither is shown."""
        self.assertIsNone(Presigner(b"t" * 32, wall=lambda: self.now).find(Request(self.url())))
        self.assertRaises(ConfigError, Presigner, b"short")
        self.assertNotIn("ssss", repr(self.presigner) + self.url())

    def test_nonsense(self):
        """What was never signed by us is wrong, and breaks nothing."""
        for query in ("", f"{SIGNATURE}=", f"{SIGNATURE}=%C3%A4", f"{SIGNATURE}=00&stor-expires=%C2%B2"):
            request = Request("/x")
            request.query = dict(parse_qsl(query, keep_blank_values=True))
            self.assertIsNone(self.presigner.find(request))
