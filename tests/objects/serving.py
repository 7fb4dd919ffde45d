"""A real site over real objects, several callers, and a client that sends targets exactly as they are written."""

from hashlib import sha256
from time import time

from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.trial.unittest import TestCase

from stor.access.address import Trusted
from stor.access.attempts import Attempts
from stor.access.guard import Credentials, Guard
from stor.access.known import Keys
from stor.access.presign import Presigner
from stor.access.principal import NOBODYS, Principal
from stor.objects.api.routes import ObjectsApi
from stor.web.accesslog import AccessLog
from stor.web.gate import Gate
from stor.web.limits import Limits
from stor.web.service import WebService
from stor.web.site import build_site
from tests.blobs.serving import Raw, heard, together
from tests.objects.rooms import QUICK, Room, places, started

__all__ = ["Serving", "etag_of", "hash_of", "together"]

ALL = frozenset({"objects:read", "objects:write", "objects:delete"})
NAMED = frozenset({"photos"})  # whose answers are counted by name
CALLERS = {  # name -> who it is; `key_of` gives the key
    "acme": Principal("acme", ALL, "acme"),
    "globex": Principal("globex", ALL, "globex"),
    "reader": Principal("reader", frozenset({"objects:read"}), "acme"),
    "writer": Principal("writer", frozenset({"objects:write"}), "acme"),
    "deleter": Principal("deleter", frozenset({"objects:delete"}), "acme"),
    "stranger": Principal("stranger", frozenset({"blobs:read", "blobs:write"}), "acme"),
    "everywhere": Principal("everywhere", ALL),
    "admin": Principal("admin", frozenset({"admin"})),
    "admin-acme": Principal("admin-acme", frozenset({"admin"}), "acme"),
    "nobodys": Principal("nobodys", frozenset({"admin"}), NOBODYS),
}


def key_of(caller):
    """Give the key by which a caller is known."""
    return f"{caller:-<40}"


def hash_of(data):
    """Give what X-Content-Hash says."""
    return f"sha256:{sha256(data).hexdigest()}"


def etag_of(data):
    """Give the ETag of bytes."""
    return f'"{hash_of(data)}"'


class Serving(TestCase):
    """Starts objects and a site over empty places; `ask` is the client.

    A subclass says on which `backend` (tests.objects.rooms.BACKENDS), with which `settings`, and which `parts` there
    are beside the API.
    """

    timeout = 60
    backend = "sqlite+folder"
    settings = QUICK
    caller = "acme"

    def parts(self):
        """Give the parts that the API takes with it."""
        return []

    async def setUp(self):
        self.later = 0  # seconds that have passed for who signs URLs
        self.registry, self.presigner = CollectorRegistry(), Presigner(b"s" * 32, wall=lambda: time() + self.later)
        self.places = places(self, self.backend)
        self.room = await started(self, Room(self.places, self.settings))
        self.objects = self.room.objects
        self.api = ObjectsApi(self.objects, self.presigner, self.registry, lambda: NAMED, self.parts())
        self.site = self._site()
        self.web = WebService(self.site, "127.0.0.1", 0, reactor)
        await self.web.startService()
        self.addCleanup(self.web.stopService)

    def _site(self):
        keys = Keys({key_of(name): principal for name, principal in CALLERS.items()})
        credentials = Credentials(keys=[keys], presigner=self.presigner)
        gate = Gate(Guard(credentials, Attempts(1000, 60, reactor), CollectorRegistry()))
        log, trusted = AccessLog(None, reactor), Trusted([])
        return build_site([self.api], Limits(), log, self.registry, gate=gate, trusted=trusted, reactor=reactor)

    async def ask(self, method, target, body=b"", /, *, caller="", **headers):
        """Send a request whose target is exactly this; `If_Match="x"` is the header If-Match, None leaves one out.

        `caller` is one of CALLERS, None for nobody. What is text in the target is sent as UTF-8.
        """
        lines = {"Host": "here", "Connection": "close", "Content-Length": str(len(body)) if body else None}
        if method in {"POST", "PUT", "PATCH"}:
            lines["Content-Length"] = str(len(body))
        if caller is not None:
            lines["X-API-Key"] = key_of(caller or self.caller)
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        said = [f"{name}: {value}" for name, value in lines.items() if value is not None]
        raw = await self.connect()
        raw.send("\r\n".join([f"{method} {target} HTTP/1.1", *said, "", ""]).encode() + body)
        await raw.over
        return heard(method, raw.heard)

    async def connect(self):
        """Give a connection of which every byte can be seen."""
        raw = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self.web.port), Raw())
        self.addCleanup(self._hang_up, raw)
        return raw

    async def _hang_up(self, raw):
        raw.transport.abortConnection()
        await raw.over

    async def post(self, body=b"hello", /, **headers):
        """Make an object in the namespace `photos`."""
        return await self.ask("POST", "/v1/objects", body, **{"X_Namespace": "photos"} | headers)

    async def put(self, key, body=b"hello", /, **headers):
        """Make an object under a key of `photos/acme`."""
        return await self.ask("PUT", self.at(key), body, **headers)

    async def get(self, target, /, **headers):
        """Read."""
        return await self.ask("GET", target, **headers)

    async def made(self, key=None, body=b"hello", /, **headers):
        """Make an object of acme and give its id; AssertionError when that fails."""
        said = {} if key is None else {"X_Key": key}
        answer = await self.post(body, **{"caller": "acme"} | said | headers)
        self.assertEqual(answer.code, 201, answer.body)
        return answer.json["id"]

    def at(self, key, tenant="acme", namespace="photos"):
        """Give the target of a key."""
        return f"/v1/objects/by-key/{namespace}/{tenant}/{key}"

    def assert_error(self, answer, status, code):
        """It is this error, in the one shape that errors have."""
        self.assertEqual(answer.code, status, answer.body)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(set(answer.json), {"error"})
        error = answer.json["error"]
        self.assertEqual(set(error), {"code", "message", "details"})
        self.assertEqual(error["code"], code, error)
        self.assertTrue(error["message"])
        self.assertEqual(error["details"]["request_id"], answer.headers["x-request-id"])
