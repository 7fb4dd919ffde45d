import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from stor.access.address import Trusted
from stor.web.limits import Limits
from stor.web.routes import Route
from stor.web.site import build_site

REQUESTS = b"".join(
    [
        b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\na\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 60\r\n\r\n" + b"x" * 60,
        b"GET /none HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n",
    ]
)
WORDS = [
    b"\r\n",
    b"\r\n\r\n",
    b"GET / HTTP/1.1",
    b"Host: h",
    b"Content-Length: 3",
    b"Transfer-Encoding: chunked",
    b"0",
]


class Transport(StringTransport):
    """Remembers only what was written, and that we are done writing."""

    def loseWriteConnection(self):
        self.write(b"<half-close>")

    def abortConnection(self):
        self.loseConnection()


class CutTests(SynchronousTestCase):
    def routes(self):
        return [Route("GET", "/echo", self.echo), Route("POST", "/echo", self.echo)]

    async def echo(self, request):
        return request.method + b" " + request.content.read()

    def answers(self, pieces):
        """Give what is answered to these pieces, without the words that differ each time."""
        clock, transport = Clock(), Transport()
        site = build_site(
            [self], Limits(body_bytes=50), Logger(), CollectorRegistry(), trusted=Trusted([]), reactor=clock
        )
        channel = site.buildProtocol(None)
        channel.makeConnection(transport)
        for piece in pieces:
            channel.dataReceived(piece)
        clock.pump([10] * 20)
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertTrue(transport.disconnecting)
        return re.sub(rb"[0-9a-f]{32}|Date: [^\r]*", b"", transport.value())

    @given(st.lists(st.integers(0, len(REQUESTS)), max_size=20))
    def test_anywhere(self, cuts):
        """However the network cuts the requests, the answers are the same."""
        places = [0, *sorted(cuts), len(REQUESTS)]
        pieces = [REQUESTS[begin:end] for begin, end in pairwise(places) if end > begin]
        whole = self.answers([REQUESTS])
        self.assertEqual(self.answers(pieces), whole)
        self.assertEqual(re.findall(rb"HTTP/1.1 (\d+)", whole), [b"200", b"200", b"200", b"413", b"404", b"400"])

    def test_bytes(self):
        """Byte by byte too."""
        self.assertEqual(self.answers([bytes([byte]) for byte in REQUESTS]), self.answers([REQUESTS]))

    @given(st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=30)), max_size=30))
    def test_noise(self, pieces):
        """Whatever comes, nothing is raised, and in the end the connection is closed and no timer is left."""
        self.answers(pieces)
