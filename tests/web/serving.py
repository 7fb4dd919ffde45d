"""A real site on a real port, and clients for it: treq, and raw bytes."""

from prometheus_client import CollectorRegistry
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent

from stor.access.address import Trusted
from stor.access.principal import Principal
from stor.errors import Denied, Forbidden, TooMany
from stor.web.accesslog import AccessLog
from stor.web.gate import Gate
from stor.web.limits import Limits
from stor.web.service import WebService
from stor.web.site import build_site


class Raw(Protocol):
    """Keeps what it hears; `until` fires when enough was heard, `over` when the connection is."""

    def __init__(self):
        self._heard, self.over, self._awaited = bytearray(), Deferred(), []

    @property
    def heard(self):
        return bytes(self._heard)

    def send(self, data):
        self.transport.write(data)
        return self

    def until(self, words):
        heard = Deferred()
        self._awaited.append((words, heard))
        self.dataReceived(b"")
        return heard

    def dataReceived(self, data):
        self._heard += data
        for wish in list(self._awaited):
            if wish[0] in self._heard:
                self._awaited.remove(wish)
                wish[1].callback(self.heard)

    def connectionLost(self, reason):
        self.over.callback(self.heard)


class Keys:
    """A small guard: each key is a name, and what stands behind its colon is the one thing that it may do.

    The key "later" is looked up elsewhere: `asked` is the Deferred that its caller waits for.
    """

    def __init__(self):
        self.asked = None

    def admit(self, caller, permission):
        name, _, permitted = (caller.header("x-api-key") or "").partition("/")
        if not name:
            raise Denied("this needs a credential")
        if name == "later":
            self.asked = Deferred()
            return self.asked
        if permitted != permission:
            raise Forbidden(f"this needs the permission {permission}")
        return Principal(name, frozenset({permitted}))


class Most:
    """A gauge that lets each principal have one call under way."""

    def __init__(self):
        self.inside = []

    def enter(self, principal):
        if principal in self.inside:
            raise TooMany("one at a time", retry_after=3)
        self.inside.append(principal)

    def leave(self, principal):
        self.inside.remove(principal)


class Notes(list):
    """An audit that can be read."""

    def note(self, caller, status):
        self.append((caller.method, caller.path, caller.principal and caller.principal.name, status))


class Serving(TestCase):
    timeout = 20
    limits = Limits()
    trusted = Trusted([])
    drain_seconds = 10.0
    lame_duck_seconds = 0.0

    def parts(self):
        return []

    async def setUp(self):
        self.lines, self.registry = [], CollectorRegistry()
        self.keys, self.most, self.notes = Keys(), Most(), Notes()
        self.site = build_site(
            self.parts(),
            self.limits,
            AccessLog(self.lines.extend, reactor),
            self.registry,
            gate=Gate(self.keys, self.most, self.notes),
            trusted=self.trusted,
            reactor=reactor,
        )
        self.service = WebService(self.site, "127.0.0.1", 0, reactor, self.drain_seconds, self.lame_duck_seconds)
        await self.service.startService()
        self.addCleanup(self.stop)
        self.client = HTTPClient(Agent(reactor))

    async def stop(self):
        if self.service.running:
            for channel in list(self.site.channels):
                channel.abort()
            await self.service.stopService()

    @property
    def events(self):
        """What the access log has said."""
        self.site.log.flush()
        return [line.fields() for line in self.lines]

    def url(self, path):
        return f"http://127.0.0.1:{self.service.port}{path}"

    async def connect(self):
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.service.port)
        raw = await connectProtocol(endpoint, Raw())
        self.addCleanup(raw.transport.abortConnection)
        return raw

    async def exchange(self, data):
        """Send bytes, and give all that came until the server closed."""
        raw = await self.connect()
        return await raw.send(data).over

    def sample(self, name, **labels):
        return self.registry.get_sample_value(name, labels)
