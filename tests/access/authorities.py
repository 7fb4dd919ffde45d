"""A real HTTP server in the place of somebody whom stor asks: what it answers can be changed while it runs."""

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site


class AuthorityServer(Resource):
    """Answers with `status`, `body` and `headers`; hangs while `hangs`, in the middle of the body while `stalls`."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.status, self.body, self.headers = 200, b"{}", {}
        self.hangs = self.stalls = False
        self.requests, self.connections = [], set()
        self._held, self._awaited = [], []

    def start(self, case):
        site = Site(self)
        site.startFactory, site.stopFactory = lambda: None, lambda: None
        self.port = reactor.listenTCP(0, site, interface="127.0.0.1")
        case.addCleanup(self.port.stopListening)
        case.addCleanup(self.let_go)
        self.url = f"http://127.0.0.1:{self.port.getHost().port}"
        return self

    def came(self, count):
        """Fire when so many requests have come in all."""
        here = Deferred()
        self._awaited.append((count, here))
        self._tell()
        return here

    def _tell(self):
        for wish in [wish for wish in self._awaited if wish[0] <= len(self.requests)]:
            self._awaited.remove(wish)
            reactor.callLater(0, wish[1].callback, None)  # not in the middle of a request

    def render(self, request):
        request.notifyFinish().addErrback(lambda _: None)
        self.requests.append((request.method, request.uri, request.content.read(), request.requestHeaders))
        self.connections.add(request.transport.getPeer().port)
        self._tell()
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        if self.hangs:
            self._held.append(request)
            return NOT_DONE_YET
        if self.stalls:
            request.setHeader("content-length", str(len(self.body) + 1000))
            request.write(self.body)
            self._held.append(request)
            return NOT_DONE_YET
        return self.body

    def answer_now(self):
        """Answer all who were left hanging."""
        held, self._held = self._held, []
        for request in held:
            if request.channel is not None:
                request.write(self.body)
                request.finish()

    def let_go(self):
        """Close what still hangs, and what is kept open."""
        for request in self._held:
            if request.channel is not None:
                request.transport.abortConnection()
        self._held = []
