"""A real site that offers API keys, over a real database, behind the real guard."""

import json

from prometheus_client import CollectorRegistry
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.logger import Logger
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent

from stor.access.address import Trusted
from stor.access.attempts import Attempts
from stor.access.audit import Audit
from stor.access.credentials import Credentials
from stor.access.guard import Guard
from stor.access.jwt import Jwt
from stor.access.keys import ApiKeys
from stor.access.known import listed
from stor.access.live import LiveKeys
from stor.access.rates import Gauge, Rates
from stor.database.sqlite import Sqlite
from stor.keyring.api import KeysApi
from stor.stack import Stack
from stor.web.accesslog import AccessLog
from stor.web.gate import Gate
from stor.web.limits import Limits
from stor.web.service import WebService
from stor.web.site import build_site
from tests.places import folder

ADMIN_KEY = "the admin key of this house, which is long"
JWT_SECRET = "a secret of at least thirty-two bytes"


class KeyHouse(TestCase):
    timeout = 60

    async def setUp(self):
        self.audited, registry = [], CollectorRegistry()
        self.database = Sqlite(folder(self) / "stor.db", reactor)
        self.live = LiveKeys(self.database, registry, reactor)
        strong, _ = listed([ADMIN_KEY])
        known = Credentials(keys=[strong], live=self.live, jwt=Jwt(secret=JWT_SECRET.encode()))
        audit = Audit(Logger("audit", observer=self.audited.append), registry, reactor)
        gate = Gate(
            Guard(known, Attempts(10, 60, reactor), registry), Gauge(Rates(in_flight=100), registry, reactor), audit
        )
        site = build_site(
            [KeysApi(ApiKeys(self.database, self.live))],
            Limits(),
            AccessLog(None, reactor),
            registry,
            gate=gate,
            trusted=Trusted([]),
            reactor=reactor,
        )
        self.service = WebService(site, "127.0.0.1", 0, reactor)
        house = Stack()
        for service in (self.database, self.live, audit, self.service):
            house.add(service)
        await house.startService()
        self.addCleanup(house.stopService)
        self.url = f"http://127.0.0.1:{self.service.port}"

    async def call(self, method, path="", body=None, key=ADMIN_KEY, data=None):
        """Give status, headers and JSON of one call."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        data = json.dumps(body).encode() if body is not None else data
        client = HTTPClient(Agent(reactor))
        response = await client.request(method, f"{self.url}/v1/api-keys{path}", headers=headers, data=data)
        content = await response.content()
        return response.code, response.headers, json.loads(content) if content else None

    async def make(self, key=ADMIN_KEY, **wish):
        """Make a key by HTTP, and give what was answered."""
        code, _, said = await self.call("POST", body={"name": "ci", "permissions": ["blobs:read"]} | wish, key=key)
        self.assertEqual(code, 201, said)
        return said
