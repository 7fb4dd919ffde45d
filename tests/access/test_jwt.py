import base64
import hashlib
import hmac
import json
import time

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.access.jwks import Jwks, read
from stor.access.jwt import Jwt, principal_of
from stor.access.offers import offered
from stor.access.principal import PERMISSIONS, Principal
from stor.errors import ConfigError, Denied, Unavailable
from tests.access.authorities import AuthorityServer
from tests.access.tokens import SECRET, ec_key, jwk, jwks, pem, rsa_key, token

ODD = st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.just({"admin": True}) | st.just(["admin"])
WORDS = st.sampled_from([*sorted(PERMISSIONS), "openid", "*"])


def offer(text, scheme="Bearer"):
    return offered(None, f"{scheme} {text}")[0]


def forged(header, payload, secret):
    """Give a token whose header says what we like, signed by HMAC."""
    words = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, payload))
    mark = base64.urlsafe_b64encode(hmac.digest(secret, words, hashlib.sha256)).rstrip(b"=")
    return (words + b"." + mark).decode()


class SecretTests(SynchronousTestCase):
    def setUp(self):
        self.now = time.time()
        self.jwt = Jwt(secret=SECRET.encode(), wall=lambda: self.now)

    def refused(self, text, jwt=None):
        self.assertRaises(Denied, (jwt or self.jwt).prove, offer(text))

    def test_good(self):
        """A token proves its subject, with the permissions that we know, in its tenant."""
        found = self.jwt.prove(
            offer(token(tenant_id="acme", permissions=["blobs:read", "fly"], scope="openid blobs:write"))
        )
        self.assertEqual(found, Principal("jwt:alice", frozenset({"blobs:read", "blobs:write"}), "acme"))
        self.assertEqual(self.jwt.prove(offer(token())).tenant, None)

    def test_remembered(self):
        """What was verified is found by its digest until it expires, and no longer."""
        text = token()
        self.assertIsNone(self.jwt.find(offer(text).digest))
        proven = self.jwt.prove(offer(text))
        self.assertIs(self.jwt.find(offer(text).digest), proven)
        self.now += 3600
        self.assertIsNone(self.jwt.find(offer(text).digest))

    def test_bounded(self):
        """Only so many tokens are remembered; the others are verified again."""
        jwt = Jwt(secret=SECRET.encode(), most=10)
        texts = [token(sub=f"u{number}") for number in range(30)]
        for text in texts:
            jwt.prove(offer(text))
        self.assertEqual(sum(jwt.find(offer(text).digest) is not None for text in texts), 10)
        self.assertIsNotNone(jwt.prove(offer(texts[0])))

    def test_not_genuine(self):
        """Another secret, a changed letter, what is no token: not ours, nothing more is said."""
        text = token()
        head, body, mark = text.split(".")
        for other in (
            token("t" * 32),
            f"{head}.{body}.{mark[:-2]}AA",
            f"{head}.{body}.",
            f"{head}.{body[:-4]}AAAA.{mark}",
            f"{head}..{mark}",
            "..",
            "a.b.c",
            "é.é.é",
            text + "." + text,
        ):
            self.assertIsNone(self.jwt.prove(offer(other)), other)
        self.assertIsNone(self.jwt.prove(offer(text, "ApiKey")))

    def test_alg_none(self):
        """`none`, in any letters and with any signature, is no signature."""
        for algorithm in ("none", "None", "NONE", "nOnE", "", None, ["HS256"], {"HS256": 1}, [], {}):
            payload = {"sub": "root", "exp": time.time() + 60, "permissions": ["admin"]}
            text = forged({"alg": algorithm, "typ": "JWT"}, payload, SECRET.encode())
            self.assertIsNone(self.jwt.prove(offer(text)), algorithm)
            self.assertIsNone(self.jwt.prove(offer(text.rpartition(".")[0] + ".")), algorithm)
            self.assertIsNone(Jwt(jwks=Jwks("http://127.0.0.1:1", Clock())).prove(offer(text)))

    def test_deep(self):
        """A header that is nested without end is no header."""
        deep = base64.urlsafe_b64encode(b"[" * 6000).decode()
        self.assertIsNone(self.jwt.prove(offer(f"{deep}.a.b")))

    def test_other_algorithms(self):
        """Only what the contract names: not HS512, though the secret is right."""
        self.assertIsNone(self.jwt.prove(offer(token("s" * 64, "HS512"))))
        self.assertIsNone(Jwt(secret=b"s" * 64).prove(offer(token("s" * 64, "HS512"))))
        self.assertIsNone(self.jwt.prove(offer(token(rsa_key("a"), "RS256", "a"))))

    def test_times(self):
        """Expired, not yet valid, from the future, or without an end: genuine, and refused as such; 30 s of leeway."""
        now = int(time.time())
        for bad in ({"exp": now - 40}, {"exp": None}, {"exp": 10**400}, {"nbf": now + 60}, {"iat": now + 60}):
            self.refused(token(**bad))
        for odd in ("soon", 1e400, [], {}):
            self.assertIsNone(self.jwt.prove(offer(token(exp=odd))), odd)
        for good in ({"exp": now - 10}, {"nbf": now + 10}, {"iat": now + 10}, {"nbf": now - 60, "iat": now - 60}):
            self.assertIsNotNone(self.jwt.prove(offer(token(**good))), good)

    def test_issuer_and_audience(self):
        """What is configured must be said; an audience that we are not is refused."""
        jwt = Jwt(secret=SECRET.encode(), issuer="https://login", audience="stor")
        good = {"iss": "https://login", "aud": "stor"}
        self.assertIsNotNone(jwt.prove(offer(token(**good))))
        self.assertIsNotNone(jwt.prove(offer(token(**good | {"aud": ["other", "stor"]}))))
        for bad in ({"iss": "https://evil"}, {"iss": None}, {"aud": "other"}, {"aud": None}, {"aud": []}):
            self.refused(token(**good | bad), jwt)
        self.refused(token(aud="other"))
        self.assertIsNotNone(self.jwt.prove(offer(token(iss="anybody"))))

    def test_subject_and_tenant(self):
        """Without a proper subject or tenant nobody is let in: no mistake of an issuer means all tenants."""
        for bad in ({"sub": None}, {"sub": ""}, {"sub": 5}, {"sub": "a\nb"}, {"sub": "x" * 257}):
            self.refused(token(**bad))
        for tenant in ("", 0, False, [], "a\0", "x" * 129):
            self.refused(token(tenant_id=tenant))
        self.assertRaises(Denied, principal_of, {"sub": "a", "tenant_id": None})

    @given(
        st.dictionaries(
            st.sampled_from(["permissions", "scope"]),
            ODD | st.lists(ODD | WORDS, max_size=4) | st.lists(WORDS).map(" ".join),
        )
    )
    def test_odd_permissions(self, said):
        """Whatever an issuer writes there, it gives only words of the contract, and breaks nothing."""
        found = principal_of({"sub": "a"} | said)
        words = [
            word
            for claim in said.values()
            for word in (claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else [])
        ]
        self.assertEqual(found.permissions, PERMISSIONS & {word for word in words if isinstance(word, str)})

    @given(
        st.text(max_size=60)
        | st.builds(".".join, st.lists(st.text("abcXYZ012_-=", max_size=20), min_size=3, max_size=3))
    )
    def test_noise(self, text):
        """Noise is no token."""
        for found in offered(None, f"Bearer {text}"):
            self.assertIsNone(self.jwt.prove(found))

    def test_long(self):
        """What is longer than 8 KiB is not even read."""
        self.assertIsNotNone(self.jwt.prove(offer(token(x="x" * 4000))))
        self.assertIsNone(self.jwt.prove(offer(token(x="x" * 8000))))

    def test_secrets(self):
        """A short secret works (and is warned of), a public key is none, and nothing shows it."""
        short = Jwt(secret=b"short")
        self.assertIsNotNone(
            short.prove(offer(forged({"alg": "HS256"}, {"sub": "a", "exp": time.time() + 9}, b"short")))
        )
        self.assertIsNone(short.prove(offer(token())))
        self.assertRaises(ConfigError, Jwt, secret=pem(rsa_key("a")))
        self.assertNotIn(SECRET, repr(self.jwt) + repr(vars(self.jwt)))


class ReadTests(SynchronousTestCase):
    def test_fitting(self):
        """Of a JWKS only public keys for verifying with RS256 or ES256 are taken, each for its algorithm."""
        rsa, curve = rsa_key("a"), ec_key("a")
        private = json.loads(RSAAlgorithm.to_jwk(rsa_key("a")))
        words = [
            jwk(rsa, "r"),
            jwk(rsa, "r2", alg="RS256", use="sig", key_ops=["verify"]),
            jwk(curve, "e"),
            jwk(rsa, "enc", use="enc"),
            jwk(rsa, "ps", alg="PS256"),
            private | {"kid": "d", "key_ops": ["verify"]},
            jwk(rsa, "wrap", key_ops=["wrapKey"]),
            jwk(rsa, "odd", key_ops="verify"),
            jwk(ec_key("b", ec.SECP384R1), "p384"),
            jwk(rsa_key("weak", 1024), "weak"),
            {"kty": "oct", "kid": "o", "k": "c2VjcmV0"},
            {"kty": "RSA", "kid": "n", "n": "!", "e": "AQAB"},
            {"kty": "RSA", "kid": "m"},
            {"kty": "EC", "kid": "c", "crv": "P-256", "x": "AA", "y": "AA"},
            jwk(rsa, 5),
            "text",
            None,
        ]
        self.assertEqual(set(read(jwks(*words))), {("r", "RS256"), ("r2", "RS256"), ("e", "ES256")})

    def test_none(self):
        """What is no JWKS is no answer."""
        for body in (b"", b"<html>", b"[]", b"{}", b'{"keys": 5}', b'{"keys": {}}', b"\xff"):
            self.assertRaises(Unavailable, read, body)
        self.assertEqual(read(b'{"keys": []}'), {})


class IssuerTests(TestCase):
    """An issuer on a real port."""

    timeout = 30

    def setUp(self):
        self.server = AuthorityServer().start(self)
        self.publish(("one", rsa_key("one")))
        self.now = Clock()

    def publish(self, *named):
        self.server.body = jwks(*(jwk(key, kid) for kid, key in named))

    async def start(self, url=None, **more):
        jwks = Jwks(url or self.server.url + "/jwks", reactor)
        self.clock(jwks)
        jwks.startService()
        self.addCleanup(jwks.stopService)
        await self.fetched(jwks)
        return Jwt(jwks=jwks, **more)

    def clock(self, jwks):
        """Turn the time between fetches ourselves; deadlines stay real."""
        self.now.rightNow = 1_000_000.0
        jwks._clock = jwks._loop.clock = self.now

    async def fetched(self, jwks):
        while jwks._rounds.running:
            await jwks._rounds.now().addErrback(lambda failure: failure.trap(Unavailable))

    async def ask(self, jwt, text):
        self.assertTrue(jwt.concerns(offer(text)))
        return await jwt.ask(offer(text))

    async def test_both_algorithms(self):
        """RS256 and ES256, each by its kid."""
        self.publish(("one", rsa_key("one")), ("two", ec_key("two")))
        jwt = await self.start()
        for text in (token(rsa_key("one"), "RS256", "one"), token(ec_key("two"), "ES256", "two")):
            self.assertEqual(jwt.prove(offer(text)).name, "jwt:alice")
            self.assertIsNotNone(jwt.find(offer(text).digest))
        self.assertEqual(len(self.server.requests), 1)

    async def test_without_kid(self):
        """Without a kid the one key that fits is meant; with two there is none."""
        text = token(rsa_key("one"), "RS256")
        self.assertIsNotNone((await self.start()).prove(offer(text)))
        self.publish(("one", rsa_key("one")), ("two", rsa_key("two")))
        self.assertIsNone((await self.start()).prove(offer(text)))

    async def test_confusion(self):
        """The issuer's public key is no secret: a token signed with it as one is refused, in each of its forms."""
        jwt = await self.start(secret=SECRET.encode())
        public = pem(rsa_key("one"))
        payload = {"sub": "root", "exp": time.time() + 60, "permissions": ["admin"]}
        for secret in (public, public.strip(), json.dumps(jwk(rsa_key("one"), "one")).encode(), b""):
            for algorithm in ("HS256", "RS256", "ES256"):
                text = forged({"alg": algorithm, "kid": "one"}, payload, secret)
                self.assertIsNone(jwt.prove(offer(text)))
        for key, kid, algorithm in ((ec_key("two"), "one", "ES256"), (rsa_key("two"), "one", "RS256")):
            self.assertIsNone(jwt.prove(offer(token(key, algorithm, kid))))
        self.assertIsNotNone(jwt.prove(offer(token())))

    async def test_rotation(self):
        """A key that is new at the issuer is fetched when the first token names it, for all who wait."""
        jwt = await self.start()
        self.publish(("one", rsa_key("one")), ("two", rsa_key("two")))
        texts = [token(rsa_key("two"), "RS256", "two", sub=f"u{number}") for number in range(20)]
        self.now.advance(31)
        found = await gatherResults([Deferred.fromCoroutine(self.ask(jwt, text)) for text in texts])
        self.assertEqual([principal.name for principal in found], [f"jwt:u{number}" for number in range(20)])
        self.assertEqual(len(self.server.requests), 2)

    async def test_unknown_kids(self):
        """Invented kids make one fetch in 30 seconds."""
        jwt = await self.start()
        for number in range(50):
            self.assertIsNone(await self.ask(jwt, token(rsa_key("two"), "RS256", f"k{number}")))
        self.assertEqual(len(self.server.requests), 1)
        self.now.advance(30)
        for number in range(50):
            self.assertIsNone(await self.ask(jwt, token(rsa_key("two"), "RS256", f"k{number}")))
        self.assertEqual(len(self.server.requests), 2)

    async def test_withdrawn(self):
        """A key that has left the JWKS opens nothing once that is noticed, though its token was verified before."""
        jwt = await self.start()
        text = token(rsa_key("one"), "RS256", "one")
        jwt.prove(offer(text))
        self.publish(("two", rsa_key("two")))
        self.now.advance(301)
        await self.fetched(jwt._jwks)
        self.assertIsNone(jwt.find(offer(text).digest))
        self.assertIsNone(jwt.prove(offer(text)))
        self.assertIsNone(await self.ask(jwt, text))

    async def test_same_again(self):
        """A fetch that brings nothing new forgets nothing."""
        jwt = await self.start()
        text = token(rsa_key("one"), "RS256", "one")
        jwt.prove(offer(text))
        self.now.advance(301)
        await self.fetched(jwt._jwks)
        self.assertEqual(len(self.server.requests), 2)
        self.assertIsNotNone(jwt.find(offer(text).digest))

    async def test_away(self):
        """While the issuer answers nonsense the old keys stay, and who needs a new one is told 503, not 401."""
        jwt = await self.start()
        for status, body in ((500, b""), (200, b"<html>"), (302, b"")):
            self.server.status, self.server.body = status, body
            self.server.headers = {"location": self.server.url + "/elsewhere"}
            self.now.advance(31)
            with self.assertRaises(Unavailable):
                await self.ask(jwt, token(rsa_key("two"), "RS256", "two"))
            with self.assertRaises(Unavailable):  # and is not asked again at once
                await self.ask(jwt, token(rsa_key("two"), "RS256", "two"))
        self.assertEqual([uri for _, uri, _, _ in self.server.requests], [b"/jwks"] * 4)
        self.assertIsNotNone(jwt.prove(offer(token(rsa_key("one"), "RS256", "one"))))

    async def test_nobody_there(self):
        """An issuer that is away keeps nobody from starting, and is found when it comes."""
        await self.server.port.stopListening()
        jwt = await self.start()
        text = token(rsa_key("one"), "RS256", "one")
        with self.assertRaises(Unavailable):
            await self.ask(jwt, text)

    async def test_hangs(self):
        """An issuer that hangs, before or within its answer, is given up at the deadline."""
        jwt = await self.start()
        jwt._jwks._seconds = 0.2
        for name in ("hangs", "stalls"):
            setattr(self.server, name, True)
            self.now.advance(31)
            with self.assertRaises(Unavailable):
                await self.ask(jwt, token(rsa_key("two"), "RS256", "two"))
            setattr(self.server, name, False)

    async def test_too_long(self):
        """A JWKS without an end is given up at 256 KiB, not at the deadline."""
        jwt = await self.start()
        self.server.body, self.server.stalls = jwks(jwk(rsa_key("two"), "two")) + b" " * (1 << 18), True
        self.now.advance(31)
        began = reactor.seconds()
        with self.assertRaises(Unavailable):
            await self.ask(jwt, token(rsa_key("two"), "RS256", "two"))
        self.assertLess(reactor.seconds() - began, 3)

    async def test_not_concerned(self):
        """What the issuer's keys have nothing to do with does not make us fetch."""
        jwt = await self.start(secret=SECRET.encode())
        for text in (token("t" * 32), token(rsa_key("two"), "RS256", "one"), "a.b.c", "words"):
            self.assertFalse(jwt.concerns(offer(text)))
        self.assertFalse(Jwt(secret=SECRET.encode()).concerns(offer(token(rsa_key("two"), "RS256", "two"))))
