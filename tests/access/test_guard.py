import time
from base64 import b64encode

from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.access.attempts import Attempts
from stor.access.credentials import Credentials
from stor.access.guard import Guard
from stor.access.jwt import Jwt
from stor.access.key import new_key
from stor.access.keys import ApiKeys
from stor.access.known import Keys, ProxyPassword, listed
from stor.access.live import LiveKeys
from stor.access.presign import Presigner
from stor.access.principal import PERMISSIONS, Principal
from stor.access.remote import Remote
from stor.database.sqlite import Sqlite
from stor.errors import Denied, Forbidden, TooMany, Unavailable
from stor.web.call import Call
from tests.access.authorities import AuthorityServer
from tests.access.tokens import SECRET, token
from tests.places import folder

ADMIN = Principal("admin", frozenset({"admin"}))
LONG = "l" * 40


def visit(target="/blob/a", method="GET", remote="192.0.2.1", **headers):
    words = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    call = Call(method, target.encode(), words, peer=remote)
    call.read_path()
    return call


def basic(password):
    return "Basic " + b64encode(f"any:{password}".encode()).decode()


class GuardCase:
    def guard(self, **credentials):
        self.registry, self.clock = CollectorRegistry(), Clock()
        self.attempts = Attempts(3, 60, self.clock)
        return Guard(Credentials(**credentials), self.attempts, self.registry)

    def refused(self, kind, guard, permission="blobs:read", **visited):
        call = visit(**visited)
        error = self.assertRaises(kind, guard.admit, call, permission)
        self.assertNotIn("guess", str(error))
        return error

    def sample(self, reason):
        return self.registry.get_sample_value("stor_access_refused_total", {"reason": reason})


class AtOnceTests(GuardCase, SynchronousTestCase):
    """What is known here is answered at once."""

    def known(self):
        strong, weak = listed([LONG, "weak"])
        reader = Principal("reader", frozenset({"blobs:read"}), "acme")
        return self.guard(
            keys=[strong, Keys({"k" * 40: reader})],
            passwords=[weak, ProxyPassword(b"pw")],
            jwt=Jwt(secret=SECRET.encode()),
            presigner=Presigner(b"p" * 32),
        )

    def test_every_way(self):
        """Each credential, in each header that may bring it, is who it is."""
        guard, signed = self.known(), token()
        for headers, permission, name in (
            ({"x_api_key": LONG}, "keys:manage", "listed:1"),
            ({"authorization": f"ApiKey {LONG}"}, "keys:manage", "listed:1"),
            ({"authorization": f"bearer {LONG}"}, "keys:manage", "listed:1"),
            ({"x_api_key": "weak"}, "keys:manage", "listed:2"),
            ({"x_api_key": "k" * 40}, "blobs:read", "reader"),
            ({"authorization": f"Bearer {signed}"}, "blobs:read", "jwt:alice"),
            ({"authorization": f"Bearer {signed}"}, "blobs:read", "jwt:alice"),
            ({"authorization": basic("pw")}, "volume:format", "proxy"),
            ({"authorization": "Bearer pw"}, "volume:format", "proxy"),
            ({"x_api_key": "pw"}, "volume:format", "proxy"),
            ({"x_api_key": "guess", "authorization": f"Bearer {LONG}"}, "admin", "listed:1"),
        ):
            call = visit(**headers)
            principal = guard.admit(call, permission)
            self.assertEqual((principal.name, call.principal), (name, principal), headers)

    def test_keeps_out(self):
        """No credential, a wrong one, one said in the wrong way."""
        guard = self.known()
        guard.admit(visit(authorization=f"Bearer {token(sub='known')}"), "blobs:read")
        for headers in (
            {},
            {"authorization": "Digest x"},
            {"x_api_key": ""},
            {"x_api_key": "guess"},
            {"authorization": basic(LONG)},
            {"authorization": f"ApiKey {token(sub='known')}"},
        ):
            self.attempts.succeeded("192.0.2.1")
            self.refused(Denied, guard, **headers)
        self.assertEqual(self.sample("denied"), 6)

    def test_nobody_is_known(self):
        """Without any credential configured nobody is let in."""
        guard = self.guard()
        for headers in ({}, {"x_api_key": "x"}, {"authorization": f"Bearer {token()}"}):
            self.refused(Denied, guard, **headers)
        self.refused(Denied, guard, target="/x?stor-signature=")

    def test_permissions(self):
        """Every principal against every permission: exactly what it holds; and the caller is known all the same."""
        guard = self.known()
        holders = {LONG: PERMISSIONS, "k" * 40: {"blobs:read"}, "pw": {"volume:format"}}
        for key, held in holders.items():
            for permission in PERMISSIONS:
                call = visit(x_api_key=key)
                if permission in held:
                    self.assertEqual(guard.admit(call, permission), call.principal)
                else:
                    self.assertRaises(Forbidden, guard.admit, call, permission)
                    self.assertIsNotNone(call.principal)

    def test_presigned(self):
        """A signed URL opens what was signed; a header, when there is one, decides instead."""
        guard, giver = self.known(), Principal("reader", frozenset({"blobs:read"}), "acme")
        url = Presigner(b"p" * 32).sign(giver, "blobs:read", "GET", "/blob/ä b", 60)
        found = guard.admit(visit(url), "blobs:read")
        self.assertEqual(found, Principal("presigned:reader", frozenset({"blobs:read"}), "acme"))
        self.refused(Forbidden, guard, "blobs:write", target=url)
        self.refused(Denied, guard, target=url, method="PUT")
        self.refused(Denied, guard, target=url, x_api_key="guess")
        self.refused(Denied, guard, target="/blob/a?stor-signature=00")
        self.refused(TooMany, guard, target="/blob/a?stor-signature=00")
        self.assertIsNotNone(guard.admit(visit(url), "blobs:read"))

    def test_no_credential_is_no_guess(self):
        """Who brings nothing is told so as often as it asks, and shuts nobody out."""
        guard = self.known()
        for _ in range(20):
            self.refused(Denied, guard)
        guard.admit(visit(x_api_key="pw"), "volume:format")

    def test_guessing(self):
        """After the budget each wrong credential waits, and so does a right password: else it could be guessed."""
        guard = self.known()
        for _ in range(3):
            self.refused(Denied, guard, x_api_key="guess")
        for headers in (
            {"x_api_key": "guess"},
            {"x_api_key": "pw"},
            {"authorization": basic("pw")},
            {"x_api_key": "weak"},
        ):
            self.assertEqual(self.refused(TooMany, guard, "volume:format", **headers).retry_after, 60)
        guard.admit(visit(x_api_key="pw", remote="192.0.2.2"), "volume:format")
        self.clock.advance(60)
        guard.admit(visit(x_api_key="pw"), "volume:format")
        self.assertEqual(self.sample("too_many"), 4)

    def test_a_good_key_forgives_nothing(self):
        """Who has some key cannot use it to guess a password without end."""
        guard = self.known()
        for _ in range(3):
            self.refused(Denied, guard, x_api_key="guess")
            guard.admit(visit(x_api_key="k" * 40), "blobs:read")
        self.refused(TooMany, guard, x_api_key="guess")

    def test_neighbours(self):
        """Behind one address, who guesses shuts out neither keys nor tokens that are good."""
        guard = self.known()
        for _ in range(50):
            self.assertRaises((Denied, TooMany), guard.admit, visit(x_api_key="guess"), "blobs:read")
        for headers in ({"x_api_key": LONG}, {"authorization": f"Bearer {token()}"}):
            self.assertIsNotNone(guard.admit(visit(**headers), "blobs:read"))

    def test_genuine_but_expired(self):
        """A genuine token or URL that has expired is refused, and no guess."""
        guard = self.known()
        old = token(exp=int(time.time()) - 100)
        late = Presigner(b"p" * 32, wall=lambda: 1000.0).sign(ADMIN, "blobs:read", "GET", "/blob/a", 60)
        for _ in range(20):
            self.assertEqual(
                str(self.refused(Denied, guard, authorization=f"Bearer {old}")), "Invalid or expired token"
            )
            self.refused(Denied, guard, target=late)
        guard.admit(visit(x_api_key="pw"), "volume:format")

    def test_expired_beside_another(self):
        """A genuine token that has expired stands in nobody's way, and hides no guess."""
        guard = self.known()
        old = f"Bearer {token(exp=int(time.time()) - 100)}"
        self.assertEqual(guard.admit(visit(authorization=old, x_api_key="weak"), "admin").name, "listed:2")
        for _ in range(3):
            self.refused(Denied, guard, authorization=old, x_api_key="guess")
        self.refused(TooMany, guard, authorization=old, x_api_key="guess")

    def test_empty(self):
        """A scheme with nothing behind it is no credential: it is told so, and not counted."""
        guard, signed = self.known(), Presigner(b"p" * 32).sign(ADMIN, "blobs:read", "GET", "/blob/a", 60)
        for words in ("Bearer ", "Bearer", "ApiKey  ", "Basic "):
            for _ in range(4):
                self.assertIn("needs a credential", str(self.refused(Denied, guard, authorization=words)))
        self.assertIsNotNone(guard.admit(visit(signed, authorization="Bearer "), "blobs:read"))

    def test_per_prefix(self):
        """One key's prefix can be guessed at only so often, from however many addresses."""
        guard, text = self.known(), new_key().text
        for number in range(3):
            self.refused(Denied, guard, remote=f"192.0.2.{number}", x_api_key=text[:-1] + str(number))
        self.refused(TooMany, guard, remote="192.0.2.9", x_api_key=text)
        self.refused(Denied, guard, remote="192.0.2.9", x_api_key=new_key().text)

    def test_trust(self):
        """Other credentials hold from the moment that they are set."""
        guard = self.known()
        guard.trust(Credentials(keys=[Keys({"n" * 40: ADMIN})]))
        guard.admit(visit(x_api_key="n" * 40), "admin")
        self.refused(Denied, guard, x_api_key=LONG)

    def test_says_no_secret(self):
        """No repr shows a secret."""
        guard = self.known()
        shown = f"{guard!r} {vars(guard)!r} {self.attempts!r} {vars(self.attempts)!r}"
        for secret in (LONG, "k" * 40, SECRET, "p" * 32, "weak"):
            self.assertNotIn(secret, shown)

    def test_a_million_guesses(self):
        """A hundred thousand invented keys from as many addresses take no more room than the bound."""
        guard = self.guard(keys=[Keys({LONG: ADMIN})])
        self.attempts._most = 1000
        call = visit()
        for number in range(100_000):
            call._remote = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            call.headers[b"x-api-key"] = b"guess %d" % number
            try:
                guard.admit(call, "blobs:read")
            except Denied:
                continue
            self.fail("let in")
        self.assertEqual(len(self.attempts), 1000)


class ElsewhereTests(GuardCase, TestCase):
    """Where somebody must be asked."""

    timeout = 30

    async def setUp(self):
        self.server = AuthorityServer().start(self)
        registry = CollectorRegistry()
        self.time = Clock()
        self.remote = Remote(self.server.url, "app", registry, reactor, steady=self.time.seconds)
        self.remote.startService()
        self.addCleanup(self.remote.stopService)
        database = Sqlite(folder(self) / "stor.db", reactor)
        await database.startService()
        self.addCleanup(database.stopService)
        self.live = LiveKeys(database, registry, reactor)
        await self.live.startService()
        self.addCleanup(self.live.stopService)
        self.keys = ApiKeys(database, self.live)
        self.all = self.guard(
            live=self.live, remote=self.remote, jwt=Jwt(secret=SECRET.encode()), passwords=[ProxyPassword(b"pw")]
        )

    async def admit(self, permission="blobs:read", **visited):
        call = visit(**visited)
        found = self.all.admit(call, permission)
        return found if isinstance(found, Principal) else await found

    async def test_remote(self):
        """The first request with a token waits for the service, the next ones wait for nobody."""
        found = await self.admit(authorization="Bearer t1")
        self.assertEqual(found.permissions, {"blobs:read", "blobs:write"})
        self.assertIs(self.all.admit(visit(authorization="Bearer t1"), "blobs:read"), found)
        with self.assertRaises(Forbidden):
            await self.admit("keys:manage", authorization="Bearer t2")

    async def test_only_its_business(self):
        """Keys, passwords and good tokens of ours are never sent to the service."""
        _, text = await self.keys.create(ADMIN, "ci", frozenset({"blobs:read"}), None)
        await self.admit(x_api_key=text)
        await self.admit(authorization=f"Bearer {token()}")
        await self.admit("volume:format", authorization="Bearer pw")
        for headers in ({"authorization": f"Bearer {new_key().text}"}, {"x_api_key": "guess"}):
            with self.assertRaises(Denied):
                await self.admit(**headers)
        self.assertEqual(self.server.requests, [])

    async def test_refused(self):
        """A refused token is 401 in the contract's words; so many of them, and the address must wait."""
        self.server.status = 401
        for number in range(3):
            with self.assertRaises(Denied) as caught:
                await self.admit(authorization=f"Bearer t{number}")
            self.assertEqual(str(caught.exception), "Invalid or expired token")
        with self.assertRaises(TooMany):
            await self.admit(authorization="Bearer t9")
        self.assertEqual(len(self.server.requests), 3)

    async def test_neighbours(self):
        """A token that was good an hour ago is asked about again, though the address must wait."""
        await self.admit(authorization="Bearer t1")
        self.server.status = 401
        for number in range(3):
            with self.assertRaises(Denied):
                await self.admit(authorization=f"Bearer bad{number}")
        self.time.advance(61)
        self.server.status = 200
        await self.admit(authorization="Bearer t1")
        with self.assertRaises(TooMany):
            await self.admit(authorization="Bearer bad9")

    async def test_no_text(self):
        """Bytes that are no text are a wrong token, about which nobody is asked."""
        call = visit()
        call.headers[b"authorization"] = b"Bearer \xff\xfe"
        self.assertRaises(Denied, self.all.admit, call, "blobs:read")
        self.assertEqual(self.server.requests, [])

    async def test_expired_beside_another(self):
        """Beside a genuine token that has expired, another credential is asked about all the same."""
        _, text = await self.keys.create(ADMIN, "ci", frozenset({"blobs:read"}), None)
        old = f"Bearer {token(exp=int(time.time()) - 100)}"
        self.assertIn(":ci", (await self.admit(authorization=old, x_api_key=text)).name)
        self.assertEqual(self.server.requests, [])

    async def test_unavailable(self):
        """While the service is away nobody is refused, and nothing counts as a guess."""
        self.server.status = 500
        for _ in range(20):
            with self.assertRaises(Unavailable) as caught:
                await self.admit(authorization="Bearer t1")
        self.assertEqual(caught.exception.retry_after, 5)
        self.assertEqual(self.sample("unavailable"), 20)
        self.server.status = 200
        await self.admit(authorization="Bearer t1")

    async def test_asked_at_once(self):
        """One address cannot make us ask without end at the same time; the others are not concerned."""
        self.server.hangs = True
        asked = [Deferred.fromCoroutine(self.admit(authorization=f"Bearer t{number}")) for number in range(64)]
        await self.server.came(1)
        with self.assertRaises(TooMany):
            await self.admit(authorization="Bearer one-more")
        other = Deferred.fromCoroutine(self.admit(authorization="Bearer other", remote="192.0.2.2"))
        await self.server.came(65)
        self.server.hangs = False
        self.server.answer_now()
        for each in (*asked, other):
            await each
        await self.admit(authorization="Bearer one-more")
        self.assertEqual(self.all._asking.total(), 0)

    async def test_left(self):
        """Who leaves while we ask makes room."""
        self.server.hangs = True
        asked = Deferred.fromCoroutine(self.admit(authorization="Bearer t1"))
        await self.server.came(1)
        asked.cancel()
        asked.addErrback(lambda _: None)
        self.assertEqual(self.all._asking.total(), 0)

    async def test_new_key(self):
        """A key that this process has not heard of yet is looked for, then refused as a guess."""
        text = new_key().text
        for _ in range(3):
            with self.assertRaises(Denied):
                await self.admit(x_api_key=text)
        with self.assertRaises(TooMany):
            await self.admit(x_api_key=text)
