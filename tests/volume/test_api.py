import json
from dataclasses import replace

from prometheus_client import CollectorRegistry
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.web.client import Agent

from stor.access.address import Trusted
from stor.access.attempts import Attempts
from stor.access.credentials import Credentials
from stor.access.guard import Guard
from stor.access.known import ProxyPassword
from stor.errors import Unavailable
from stor.volume.api import BootstrapApi
from stor.volume.bootstrap import Bootstrap
from stor.volume.juicefs import BucketSettings
from stor.web.accesslog import AccessLog
from stor.web.gate import Gate
from stor.web.limits import Limits
from stor.web.service import WebService
from stor.web.site import build_site
from tests.volume.volumes import Volume


class ApiTests(Volume):
    """Over HTTP, as the contract shows it."""

    async def serve(self, bootstrap=None, *, is_open=False):
        registry = CollectorRegistry()
        credentials = Credentials(passwords=[ProxyPassword(b"proxy-pw")])
        site = build_site(
            [BootstrapApi(bootstrap or self.bootstrap(), is_open=is_open)],
            Limits(),
            AccessLog(None, reactor),
            registry,
            gate=Gate(Guard(credentials, Attempts(3, 60, Clock()), registry)),
            trusted=Trusted([]),
            reactor=reactor,
        )
        service = WebService(site, "127.0.0.1", 0, reactor)
        await service.startService()
        self.addCleanup(service.stopService)
        self.url = f"http://127.0.0.1:{service.port}/bootstrap"

    async def post(self, body=b"", key="proxy-pw"):
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        response = await HTTPClient(Agent(reactor)).post(self.url, headers=headers, data=body)
        return response, json.loads(await response.content())

    async def test_success(self):
        """200 with juicefs' output; the second time it says that it was done already."""
        await self.serve()
        response, said = await self.post()
        self.assertEqual((response.code, set(said), said["success"]), (200, {"success", "output"}, True))
        response, said = await self.post(b'{"name": "first"}')
        self.assertEqual((response.code, said["already_formatted"]), (200, True))

    async def test_conflict(self):
        """409 for another volume, and nothing changed."""
        await self.serve()
        await self.post()
        before = self.stored()
        response, said = await self.post(b'{"name": "second"}')
        self.assertEqual((response.code, said["success"]), (409, False))
        self.assertEqual(self.stored(), before)

    async def test_missing(self):
        """400 with the names of what is not set, as operators know them, in the contract's words."""
        nothing = BucketSettings("s3", "")
        await self.serve(Bootstrap(None, nothing, self.probe, reactor))
        names = "REDIS_URL, STORJ_ACCESS_KEY, STORJ_SECRET_KEY, STORJ_BUCKET_URL"
        response, said = await self.post()
        self.assertEqual(response.code, 400)
        self.assertEqual(said, {"success": False, "error": f"Missing required environment variables: {names}"})
        self.assertEqual(self.probed, 0)

    async def test_missing_some(self):
        """Only those that are missing; a folder needs no keys."""
        await self.serve(Bootstrap(self.meta, BucketSettings("s3", "", "a"), self.probe, reactor))
        _, said = await self.post()
        self.assertTrue(said["error"].endswith(": STORJ_SECRET_KEY, STORJ_BUCKET_URL"))

    async def test_bad_body(self):
        """400 for a body that is not the one we know, and for a name that juicefs would not take."""
        await self.serve()
        for body in (
            b"{",
            b"[]",
            b'{"name": 1}',
            b'{"nam": "first"}',
            b'{"name": "--help"}',
            b'{"name": ""}',
            b"\xff",
        ):
            response, said = await self.post(body)
            self.assertEqual((response.code, said["success"]), (400, False), body)
        self.assertIsNone(self.stored())

    async def test_failed(self):
        """500 with juicefs' own words, 503 with a time to wait when Redis is away."""
        await self.serve(self.bootstrap(replace(self.meta, password="wrong-one")))
        response, said = await self.post()
        self.assertEqual((response.code, said["success"]), (500, False))
        self.assertIn("WRONGPASS", said["error"])
        self.assertNotIn("wrong-one", said["error"])

    async def test_unavailable(self):
        """503, and when to come again."""

        async def probe():
            raise Unavailable("redis is away", 2.0)

        await self.serve(Bootstrap(self.meta, self.settings, probe, reactor))
        response, said = await self.post()
        self.assertEqual((response.code, said), (503, {"success": False, "error": "redis is away"}))
        self.assertEqual(response.headers.getRawHeaders("retry-after"), ["2"])

    async def test_locked(self):
        """Without the credential nothing is formatted; guessing ends in 429."""
        await self.serve()
        self.assertEqual((await self.post(key=None))[0].code, 401)
        codes = [(await self.post(key="guess"))[0].code for _ in range(4)]
        self.assertEqual(codes, [401, 401, 401, 429])
        self.assertEqual((await self.post())[0].code, 429)
        self.assertIsNone(self.stored())
        self.assertEqual(self.probed, 0)

    async def test_open(self):
        """Where the operator opened it, no credential is asked for."""
        await self.serve(is_open=True)
        self.assertEqual((await self.post(key=None))[0].code, 200)
