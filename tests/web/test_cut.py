import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from stor.access.address import Trusted
from stor.web.accesslog import AccessLog
from stor.web.answer import Answer
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
        b"\r\nPOST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3c\r\n" + b"\r\n\r\n" * 15,
        b"\r\n0\r\n\r\n",
        b"POST /hot HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /hot HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\n",
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
    b"Connection: Upgrade\r\nUpgrade: x",
    b"0",
    b"3",
    b"abc",
    b"POST /hot HTTP/1.1\r\nHost: h\r\n",
    b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\n",
    b" ",
]


class Transport(StringTransport):
    """Remembers only what was written, and that we are done writing."""

    def loseWriteConnection(self):
        self.write(b"<half-close>")

    def abortConnection(self):
        self.loseConnection()


class CutTests(SynchronousTestCase):
    def routes(self):
        yield Route("GET", "/echo", self.echo)
        yield Route("POST", "/echo", self.echo, sink=50)
        yield Route("POST", "/hot", self.echo, hot=True, sink=20)

    async def echo(self, call):
        return Answer(body=call.method.encode() + b" " + call.content)

    def answers(self, pieces):
        """Give what is answered to these pieces, without the words that differ each time."""
        clock, transport = Clock(), Transport()
        site = build_site(
            [self],
            Limits(body_bytes=50),
            AccessLog(None, clock),
            CollectorRegistry(),
            trusted=Trusted([]),
            reactor=clock,
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
        expected = "200 200 200 413 413 200 200 200 404 400"
        self.assertEqual(re.findall(rb"HTTP/1.1 (\d+)", whole), expected.encode().split())

    def test_bytes(self):
        """Byte by byte too."""
        self.assertEqual(self.answers([bytes([byte]) for byte in REQUESTS]), self.answers([REQUESTS]))

    @given(st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=30)), max_size=30), st.randoms())
    def test_noise(self, pieces, random):
        """Whatever comes, however cut: nothing is raised, the connection is closed, no timer is left."""
        noise = b"".join(pieces)
        cuts = sorted(random.randrange(len(noise) + 1) for _ in range(random.randrange(5)))
        others = [noise[begin:end] for begin, end in pairwise([0, *cuts, len(noise)]) if end > begin]
        answers = self.answers(pieces)
        self.assertEqual(self.answers(others), answers)
        self.assertEqual(self.answers([noise]), answers)
