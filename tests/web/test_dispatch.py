"""From a path to a route: hot or not, the answer is the same."""

import re

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from stor.access.address import Trusted
from stor.errors import Conflict, Missing
from stor.web.accesslog import AccessLog
from stor.web.answer import Answer
from stor.web.dispatch import Routes
from stor.web.gate import Gate
from stor.web.limits import Limits
from stor.web.routes import Route
from stor.web.site import build_site
from tests.web.serving import Keys, Most, Notes
from tests.web.test_cut import Transport

words = st.sampled_from(["blob", "blobs", "a", "", "b%20c", "%2f", "%C3%A4", ".", "%ff", "é"])
targets = st.lists(words, max_size=5).map("/".join)
methods = st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS"])
keys = st.sampled_from(["", "X-Api-Key: ann/use\r\n", "X-Api-Key: bob/see\r\n"])


class Part:
    def __init__(self, *, hot):
        self.hot = hot

    def routes(self):
        yield Route("GET", "/blob/<path:path>", self.get, "use", hot=self.hot)
        yield Route("PUT", "/blob/<path:path>", self.put, hot=self.hot, sink=3)
        yield Route("GET", "/blobs", self.list, hot=self.hot)

    async def get(self, call, path):
        if path == "a":
            raise Missing("no a")
        return Answer(headers=((b"etag", b'"x"'),), body=f"{call.method} {path}".encode())

    async def put(self, call, path):
        if path == "a":
            raise Conflict("a is there")
        return Answer(201, body=call.content)

    async def list(self, call):
        return Answer(body=b"a b")


class House:
    """One site without a network, and all that it tells of its answers."""

    def __init__(self, *, hot):
        self.clock, self.registry, self.lines, self.notes = Clock(), CollectorRegistry(), [], Notes()
        log = AccessLog(self.lines.extend, self.clock)
        gate = Gate(Keys(), Most(), self.notes)
        parts, trusted = [Part(hot=hot)], Trusted([])
        self.site = build_site(parts, Limits(), log, self.registry, gate=gate, trusted=trusted, reactor=self.clock)

    def ask(self, data):
        transport = Transport()
        channel = self.site.buildProtocol(None)
        channel.makeConnection(transport)
        channel.dataReceived(data)
        self.clock.pump([10] * 20)
        return re.sub(rb"[0-9a-f]{32}|Date: [^\r]*", b"", transport.value())

    def told(self):
        """Log, audit, and what was counted."""
        lines = [(line.method, line.path, line.status, line.bytes, line.principal) for line in self.lines]
        counts = [
            (sample.labels, sample.value)
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name.endswith(("_count", "_in_flight", "_total"))
        ]
        return lines, list(self.notes), counts


class SameTests(SynchronousTestCase):
    @given(st.lists(st.tuples(methods, targets, keys, st.binary(max_size=5)), min_size=1, max_size=4))
    def test_hot_or_not(self, calls):
        """Any calls get the same answers, and leave the same in log, audit and metrics, by either way."""
        requests = b"".join(
            f"{method} /{target} HTTP/1.1\r\nHost: h\r\n{key}Content-Length: {len(body)}\r\n\r\n".encode() + body
            for method, target, key, body in calls
        )
        hot, cold = House(hot=True), House(hot=False)
        self.assertEqual(hot.ask(requests), cold.ask(requests))
        self.assertEqual(hot.told(), cold.told())

    def test_found(self):
        """And they are found: a decoded tail with its slashes, HEAD, and by which methods else."""
        for hot in (True, False):
            house = House(hot=hot)
            head = b"HEAD /blob/x HTTP/1.1\r\nHost: h\r\nX-Api-Key: ann/use\r\n\r\n"
            heard = house.ask(head.replace(b"HEAD", b"GET").replace(b"/x", b"//b%2Fc//%20d/"))
            self.assertTrue(heard.endswith(b"GET /b/c// d/<half-close>") or b"GET /b/c// d/" in heard, heard)
            self.assertIn(b"Content-Length: 6\r\n", house.ask(head))
            heard = house.ask(b"DELETE /blob/x HTTP/1.1\r\nHost: h\r\n\r\n")
            self.assertIn(b" 405 ", heard)
            self.assertIn(b"allow: GET, HEAD, PUT\r\n", heard)

    def test_bad_path(self):
        """A path that is no text is refused in the shape of the part to which its beginning belongs."""
        for hot in (True, False):
            house = House(hot=hot)
            heard = house.ask(b"POST /blob/%ff HTTP/1.1\r\nHost: h\r\n\r\n")
            self.assertIn(b'{"error":"BadRequest","detail":"the path is not UTF-8","request_id":', heard)
            self.assertIn(b'{"detail":"Bad Request"}', house.ask(b"GET /blobs/%ff HTTP/1.1\r\nHost: h\r\n\r\n"))


class Below(Part):
    """Cold routes below the beginning of a hot one, by other methods; all of it claimed, and counted."""

    def __init__(self):
        super().__init__(hot=True)
        self.counted = []

    def routes(self):
        for method, rule, hot in (
            ("GET", "/a", True),
            ("GET", "/a/<path:path>", True),
            ("POST", "/a/search", False),
            ("POST", "/a/<path>/sign", False),
        ):
            yield Route(method, rule, self.tell, errors=self.shape, claims=True, figures=self, hot=hot)
        yield Route("GET", "/b", self.tell, errors=self.shape)

    async def tell(self, call, path="-"):
        call.topic = path
        return Answer(body=f"{call.route} {path}".encode())

    def shape(self, status, error, request_id):
        return {"ours": status}

    def note(self, call, status, seconds):
        self.counted.append((call.method, call.topic, status, seconds))


class BelowTests(SynchronousTestCase):
    def setUp(self):
        self.part, clock = Below(), Clock()
        log = AccessLog(None, clock)
        self.site = build_site([self.part], Limits(), log, CollectorRegistry(), trusted=Trusted([]), reactor=clock)

    def ask(self, method, target):
        transport = Transport()
        channel = self.site.buildProtocol(None)
        channel.makeConnection(transport)
        channel.dataReceived(f"{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        head, _, body = transport.value().partition(b"\r\n\r\n")
        return int(head.split()[1]), body.removesuffix(b"<half-close>").decode()

    def test_methods(self):
        """A hot beginning hides nothing from other methods."""
        for method, target, said in (
            ("GET", "/a/search", "/a/<path:path> search"),
            ("GET", "/a/b/sign", "/a/<path:path> b/sign"),
            ("POST", "/a/search", "/a/search -"),
            ("POST", "/a/b/sign", "/a/<path>/sign b"),
        ):
            self.assertEqual(self.ask(method, target), (200, said))

    def test_claims(self):
        """What begins as a claimed rule is told in its shape, whatever the method; what does not is nobody's."""
        ours = {("PUT", "/a"): 405, ("PUT", "/a/b"): 405, ("POST", "/a/b/c/d"): 405, ("PUT", "/a/"): 404}
        for (method, target), status in ours.items():
            self.assertEqual(self.ask(method, target), (status, f'{{"ours":{status}}}'), target)
        for method, target, status in (
            ("PUT", "/b", 405),
            ("GET", "/ab", 404),
            ("GET", "//a/b", 404),
            ("GET", "/", 404),
        ):
            code, body = self.ask(method, target)
            self.assertEqual((code, body.startswith('{"detail":')), (status, True), target)

    def test_figures(self):
        """A route's own figures hear of each of its answers, with what its handler made of the call."""
        self.ask("GET", "/a/x")
        self.ask("HEAD", "/a")
        self.ask("GET", "/b")
        self.ask("PUT", "/a")
        self.assertEqual(self.part.counted, [("GET", "x", 200, 0.0), ("HEAD", "-", 200, 0.0)])


class TableTests(SynchronousTestCase):
    def test_contradictions(self):
        """Rules that cannot all be meant are refused when the house is built."""

        def route(method, rule, *, hot=False):
            return Route(method, rule, Part(hot=hot).list, hot=hot)

        for routes in (
            [route("GET", "/a"), route("GET", "/a")],
            [route("GET", "/a"), route("GET", "/a", hot=True)],
            [route("HEAD", "/a")],
            [route("GET", "/<a>", hot=True)],
            [route("GET", "/a/<path:b>/c", hot=True)],
            [route("GET", "/a/<b>", hot=True)],
            [route("GET", "/a/<path:b>", hot=True), route("PUT", "/a/<path:c>", hot=True)],
            [route("GET", "/a/<path:b>", hot=True), route("GET", "/a/special")],
            [route("GET", "/a/special"), route("PUT", "/a/<path:b>", hot=True), route("GET", "/a/<path:b>", hot=True)],
        ):
            self.assertRaises(ValueError, Routes, routes)
        Routes([route("GET", "/a", hot=True), route("PUT", "/a"), route("GET", "/a/<b>")])

    def test_unguarded(self):
        """So is a route that asks for a permission where nobody is there to look."""
        guarded = Part(hot=False)
        clock, trusted = Clock(), Trusted([])
        with self.assertRaises(ValueError):
            build_site([guarded], Limits(), AccessLog(None, clock), CollectorRegistry(), trusted=trusted, reactor=clock)

    def test_longest(self):
        """Of two hot rules the longer one is meant."""
        seen = []

        class Exchange:
            def __init__(self, path):
                self.call = self
                self.method, self.path = "GET", path

            def read_path(self):
                pass

            def follow(self, route, segments):
                seen.append((route.rule, segments))

        handler = Part(hot=True).list
        routes = Routes(
            [
                Route("GET", "/a/<path:p>", handler, hot=True),
                Route("GET", "/a/b/<path:p>", handler, hot=True),
                Route("GET", "/a/b/c", handler, hot=True),
            ]
        )
        for path in ("/a/x", "/a/b/x", "/a/b/c"):
            routes.dispatch(Exchange(path))
        self.assertEqual(seen, [("/a/<path:p>", {"p": "x"}), ("/a/b/<path:p>", {"p": "x"}), ("/a/b/c", {})])
