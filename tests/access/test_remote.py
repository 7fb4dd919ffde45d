import json
from base64 import b64decode

from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.access.key import new_key
from stor.access.offers import offered
from stor.access.principal import NOBODYS, Principal
from stor.access.remote import PERMISSIONS, Remote, name_in
from stor.errors import Unavailable
from tests.access.authorities import AuthorityServer


def offer(text, scheme="Bearer"):
    return offered(None, f"{scheme} {text}")[0]


class NameTests(SynchronousTestCase):
    def test_names(self):
        """The first place that says whose token it is, at the top or one level down; else none."""
        for said, name in (
            ({"user_id": "u1", "email": "a@b"}, "u1"),
            ({"email": "a@b"}, "a@b"),
            ({"user_id": 17}, "17"),
            ({"user": "bob"}, "bob"),
            ({"user": {"id": "u2"}}, "u2"),
            ({"valid": True, "data": {"sub": "u3"}}, "u3"),
            ({"user_id": True}, None),
            ({"user_id": ""}, None),
            ({"user_id": "a\nb"}, None),
            ({"user_id": "x" * 129}, None),
            ({"user_id": ["x"]}, None),
            ({"token": "swordfish", "api_key": "swordfish"}, None),
            ([], None),
            ("text", None),
        ):
            self.assertEqual(name_in(json.dumps(said).encode()), name, said)
        for body in (b"", b"OK", b"\xff", b"{"):
            self.assertIsNone(name_in(body))


class RemoteTests(TestCase):
    """An auth service on a real port."""

    timeout = 30

    def setUp(self):
        self.server = AuthorityServer().start(self)
        self.clock, self.registry = Clock(), CollectorRegistry()
        self.remote = self.make()

    def make(self, url=None, registry=None, **more):
        remote = Remote(
            (url or self.server.url) + "/",
            "app",
            registry or self.registry,
            reactor,
            steady=self.clock.seconds,
            **more,
        )
        remote.startService()
        self.addCleanup(remote.stopService)
        return remote

    def asked(self):
        return len(self.server.requests)

    async def test_the_call(self):
        """POST /verify with the token under its three names, as the contract has it."""
        await self.remote.ask(offer("t1"))
        ((method, uri, body, headers),) = self.server.requests
        self.assertEqual((method, uri), (b"POST", b"/verify"))
        self.assertEqual(json.loads(body), {"token": "t1", "app_id": "app", "api_key": "t1"})
        self.assertEqual(headers.getRawHeaders(b"content-type"), [b"application/json"])

    async def test_good(self):
        """200 lets in for blobs, for a minute without asking again, as whom the service says."""
        self.server.body = b'{"user_id": "u1"}'
        found = await self.remote.ask(offer("t1"))
        self.assertEqual(found, Principal("remote:u1", PERMISSIONS, NOBODYS))
        self.clock.advance(60)
        self.assertEqual(self.remote.find(offer("t1").digest), found)
        self.assertEqual(await self.remote.ask(offer("t1")), found)
        self.assertEqual(self.asked(), 1)
        self.clock.advance(0.1)
        self.assertIsNone(self.remote.find(offer("t1").digest))
        await self.remote.ask(offer("t1"))
        self.assertEqual(self.asked(), 2)

    async def test_nameless(self):
        """When the service says no name, the token's digest is one: the same each time, another for each token."""
        names = [(await self.remote.ask(offer(text))).name for text in ("t1", "t2", "t1")]
        self.assertEqual((names[0], len(set(names))), (f"remote:{offer('t1').digest.hex()[:12]}", 2))

    async def test_bad(self):
        """401 refuses, for five seconds without asking again."""
        self.server.status = 401
        self.assertIsNone(await self.remote.ask(offer("t1")))
        self.clock.advance(5)
        self.assertIsNone(await self.remote.ask(offer("t1")))
        self.assertEqual(self.asked(), 1)
        self.clock.advance(0.1)
        self.server.status = 200
        self.assertIsNotNone(await self.remote.ask(offer("t1")))
        self.assertIsNotNone(await self.remote.ask(offer("t1")))
        self.assertEqual(self.asked(), 2)

    async def test_times_can_be_set(self):
        """How long answers hold is a setting."""
        remote = self.make(registry=CollectorRegistry(), good=1, bad=100)
        await remote.ask(offer("t1"))
        self.clock.advance(1.1)
        self.server.status = 401
        await remote.ask(offer("t1"))
        self.assertEqual(self.asked(), 2)
        self.clock.advance(99)
        await remote.ask(offer("t1"))
        self.assertEqual(self.asked(), 2)

    async def test_was_good(self):
        """A token that was good is known as such for an hour, unless it has been refused since."""
        await self.remote.ask(offer("t1"))
        await self.remote.ask(offer("t2"))
        self.clock.advance(61)
        self.server.status = 401
        await self.remote.ask(offer("t2"))
        self.assertEqual([self.remote.was_good(offer(text)) for text in ("t1", "t2", "t3")], [True, False, False])
        self.clock.advance(3600)
        self.assertFalse(self.remote.was_good(offer("t1")))

    async def test_other_answers(self):
        """Anything but 200 and 401 says nothing of the token and is not remembered; redirects are not followed."""
        self.server.headers = {"location": self.server.url + "/elsewhere"}
        for status in (204, 302, 307, 400, 403, 404, 429, 500, 503):
            self.server.status, before = status, self.asked()
            with self.assertRaises(Unavailable) as caught:
                await self.remote.ask(offer("t1"))
            self.assertEqual((self.asked(), caught.exception.retry_after), (before + 1, 5.0))
        self.assertEqual({uri for _, uri, _, _ in self.server.requests}, {b"/verify"})
        self.server.status = 200
        self.assertIsNotNone(await self.remote.ask(offer("t1")))

    async def test_nobody_there(self):
        """No service is 503."""
        await self.server.port.stopListening()
        with self.assertRaises(Unavailable):
            await self.remote.ask(offer("t1"))

    async def test_hangs(self):
        """A service that hangs, before its answer or within, is given up at the deadline; the next call is new."""
        remote = self.make(registry=CollectorRegistry(), seconds=0.3)
        for name in ("hangs", "stalls"):
            setattr(self.server, name, True)
            began = reactor.seconds()
            with self.assertRaises(Unavailable):
                await remote.ask(offer("t1"))
            self.assertLess(reactor.seconds() - began, 3)
            setattr(self.server, name, False)
        self.assertIsNotNone(await remote.ask(offer("t1")))

    async def test_one_call(self):
        """A hundred requests with one token at the same time are one call, also when the first one leaves."""
        self.server.hangs = True
        asked = [Deferred.fromCoroutine(self.remote.ask(offer("t1"))) for _ in range(100)]
        other = Deferred.fromCoroutine(self.remote.ask(offer("t2")))
        await self.server.came(2)
        asked[0].cancel()
        await self.assertFailure(asked[0], CancelledError)
        self.server.answer_now()
        found = await gatherResults([*asked[1:], other])
        self.assertEqual((self.asked(), len({principal.name for principal in found})), (2, 2))

    async def test_connections(self):
        """Calls one after another use one connection."""
        for number in range(20):
            await self.remote.ask(offer(f"t{number}"))
        self.assertEqual(len(self.server.connections), 1)

    async def test_connection_closed(self):
        """A connection that the service has closed meanwhile costs nobody an answer."""
        await self.remote.ask(offer("t1"))
        for number in range(20):
            for reader in reactor.getReaders():
                host = getattr(reader, "getHost", lambda: None)()
                if getattr(host, "port", None) == self.server.port.getHost().port and hasattr(
                    reader, "abortConnection"
                ):
                    reader.abortConnection()  # the server's end; ours does not know yet
            self.assertIsNotNone(await self.remote.ask(offer(f"n{number}")))

    async def test_bounded(self):
        """Only so many tokens are remembered, and a flood of bad ones does not push out the good."""
        remote = self.make(registry=CollectorRegistry(), most=10)
        await remote.ask(offer("good"))
        self.server.status = 401
        for number in range(30):
            await remote.ask(offer(f"bad{number}"))
        self.assertIsNotNone(remote.find(offer("good").digest))
        self.assertEqual((len(remote._known), len(remote._refused), len(remote._shared)), (1, 10, 0))

    def test_concerns(self):
        """Bearer tokens are the service's business; keys of ours, passwords and other schemes are not."""
        self.assertTrue(self.remote.concerns(offer("anything")))
        self.assertTrue(self.remote.concerns(offer("a.b.c")))
        self.assertFalse(self.remote.concerns(offer(new_key().text)))
        self.assertFalse(self.remote.concerns(offer("anything", "ApiKey")))
        self.assertFalse(self.remote.concerns(offer("YTpi", "Basic")))
        self.assertFalse(self.remote.concerns(offer(b"\xff\xfe".decode("utf-8", "surrogateescape"))))
        self.assertEqual(b64decode("YTpi"), b"a:b")

    async def test_secrecy(self):
        """The token is in no repr, no error and no metric."""
        self.server.status = 500
        with self.assertRaises(Unavailable) as caught:
            await self.remote.ask(offer("swordfish"))
        self.assertNotIn("swordfish", f"{caught.exception!r} {vars(self.remote)!r}")
        self.assertEqual(self.registry.get_sample_value("stor_access_remote_seconds_count", {"answer": "other"}), 1)
        await deferLater(reactor, 0)
