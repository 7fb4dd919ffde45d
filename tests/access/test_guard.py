from base64 import b64encode

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from stor.access.attempts import Attempts
from stor.access.guard import Locked, Open
from stor.access.passwords import digest, same
from stor.access.principal import Keys, Principal, ProxyPassword, offered
from stor.errors import ConfigError, Denied, Forbidden, TooMany

READER = Principal("reader", frozenset({"volume:read"}))
ADMIN = Principal("root", frozenset({"admin"}))


class Caller:
    remote = "192.0.2.1"
    principal = None

    def __init__(self, **headers):
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def header(self, name):
        return self.headers.get(name)


class PasswordTests(SynchronousTestCase):
    def test_same(self):
        """Only the very same bytes are the password."""
        kept = digest(b"p\xc3\xa4ss")
        self.assertTrue(same(b"p\xc3\xa4ss", kept))
        for other in (b"", b"p\xc3\xa4s", b"p\xc3\xa4ss\n", b"pass", kept):
            self.assertFalse(same(other, kept))

    def test_empty(self):
        """An empty proxy password would admit everybody, so it is no setting."""
        self.assertRaises(ConfigError, ProxyPassword, b"")


class OfferedTests(SynchronousTestCase):
    def test_headers(self):
        """Every way of saying a key, and none that says nothing."""
        basic = b64encode(b"any:p:w").decode()
        for authorization, key, secrets in (
            (None, None, []),
            ("", "", []),
            ("Bearer k", None, [b"k"]),
            ("bearer  k ", None, [b"k"]),
            ("ApiKey k", None, [b"k"]),
            (f"Basic {basic}", None, [b"p:w"]),
            ("Basic !", None, [b"!"]),
            ("Digest k", None, []),
            (None, "k", [b"k"]),
            ("Bearer a", "b", [b"b", b"a"]),
        ):
            self.assertEqual(list(offered(authorization, key)), secrets)


class GuardTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        keys = Keys({digest(b"reader key"): READER, digest(b"admin key"): ADMIN})
        self.guard = Locked([ProxyPassword(b"pw"), keys], Attempts(2, 60, self.clock))

    def visit(self, guard=None, permission="volume:write", **headers):
        caller = Caller(**headers)

        @(guard or self.guard).requires(permission)
        async def handler(request, word):
            return request.principal.name, word

        return Deferred.fromCoroutine(handler(caller, "x"))

    def refused(self, kind, **headers):
        return self.failureResultOf(self.visit(**headers), kind).value

    def test_lets_in(self):
        """The handler runs when the caller may, and finds who it is."""
        basic = b64encode(b"whoever:pw").decode()
        for headers, name in (
            ({"authorization": "Bearer pw"}, "proxy"),
            ({"x_api_key": "pw"}, "proxy"),
            ({"authorization": f"Basic {basic}"}, "proxy"),
            ({"authorization": "Bearer admin key"}, "root"),
        ):
            self.assertEqual(self.successResultOf(self.visit(**headers)), (name, "x"))

    def test_keeps_out(self):
        """No credential, a wrong one, and a good one that may not do this."""
        self.refused(Forbidden, authorization="Bearer reader key")
        self.refused(Denied)
        self.refused(Denied, authorization="Bearer PW")
        self.refused(Denied, authorization="Bearer ")

    def test_proxy_password_is_for_the_volume(self):
        """The proxy password opens nothing but the volume."""
        visit = self.visit(permission="keys:manage", authorization="Bearer pw")
        self.failureResultOf(visit, Forbidden)

    def test_guessing(self):
        """After the budget even the right secret must wait; then it forgives."""
        for _ in range(2):
            self.refused(Denied, x_api_key="guess")
        self.assertEqual(self.refused(TooMany, x_api_key="pw").retry_after, 60)
        self.clock.advance(60)
        self.successResultOf(self.visit(x_api_key="pw"))
        self.refused(Denied, x_api_key="guess")
        self.successResultOf(self.visit(x_api_key="pw"))

    def test_no_credential_is_no_guess(self):
        """Who brings nothing is told so as often as it asks, and shuts nobody out."""
        for _ in range(5):
            self.refused(Denied)
        self.successResultOf(self.visit(x_api_key="pw"))

    def test_open(self):
        """An open guard asks nothing, and the caller is called anyone."""
        self.assertEqual(self.successResultOf(self.visit(Open())), ("anyone", "x"))

    def test_says_no_secret(self):
        """Neither the error nor the repr of what we keep shows a secret."""
        error = self.refused(Denied, authorization="Bearer almost-pw")
        texts = [str(error), repr(error), repr(ProxyPassword(b"almost-pw")), repr(self.guard)]
        self.assertNotIn("almost-pw", " ".join(texts))
