"""One connection's promises, before a server that does what none should have to expect."""

import socket

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from stor.storage.connection import Request
from stor.storage.http import Client, Server

REFUSAL = b"HTTP/1.1 412 No\r\nContent-Length: 0\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SECOND = Request("GET", b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n")
HEAD = b"PUT /first HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"


class EarlyAnswerTests(TestCase):
    """The server answers before it has the body, keeps the connection, and then reads on."""

    timeout = 30

    def setUp(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.listener.settimeout(5)
        self.client = Client(Server("127.0.0.1", self.listener.getsockname()[1]), reactor)
        self.client.startService()
        self.addCleanup(self.client.stopService)

    async def accept(self):
        server, _ = await deferToThread(self.listener.accept)
        self.addCleanup(server.close)
        server.settimeout(5)
        return server

    async def kept_apart(self, request):
        """What is asked after an early answer is not in the body before it, but comes over a new connection."""
        answered = Deferred.fromCoroutine(self.client.ask(request))
        first = await self.accept()
        if request.next_piece is not None:
            await self.stuck
        first.sendall(REFUSAL)
        self.assertEqual((await answered).status, 412)
        came = first.recv(1 << 22)  # the kernel has room again, and the reactor has not heard of it
        answered = Deferred.fromCoroutine(self.client.ask(SECOND))
        second = await self.accept()
        self.assertEqual(await deferToThread(second.recv, 1 << 16), SECOND.head)
        second.sendall(FINE)
        self.assertEqual((await answered).status, 200)
        self.assertNotIn(b"/second", came + await deferToThread(_rest, first))

    async def test_bytes(self):
        """A body that was given whole."""
        await self.kept_apart(Request("PUT", HEAD + bytes(20_000_000)))

    async def test_pieces(self):
        """A body in pieces, of which the last has been given and waits."""
        self.stuck = Deferred()

        async def next_piece():
            await deferLater(reactor, 0)
            (connection,) = self.client._all
            if not connection.transport.dataBuffer and not connection.transport._tempDataBuffer:
                return bytes(40_000)
            self.stuck.callback(None)
            return b""

        await self.kept_apart(Request("PUT", HEAD, next_piece, 60.0))

    async def test_pieces_to_come(self):
        """A body in pieces, of which some have not been given yet."""
        self.stuck = Deferred()

        async def next_piece():
            self.stuck.callback(None)
            await Deferred()

        await self.kept_apart(Request("PUT", HEAD, next_piece, 60.0))

    async def test_kept(self):
        """A connection whose request has left is used again."""
        answered = Deferred.fromCoroutine(self.client.ask(SECOND))
        server = await self.accept()
        for _ in range(3):
            self.assertEqual(await deferToThread(server.recv, 1 << 16), SECOND.head)
            server.sendall(FINE)
            self.assertEqual((await answered).status, 200)
            answered = Deferred.fromCoroutine(self.client.ask(SECOND))
        self.assertEqual(await deferToThread(server.recv, 1 << 16), SECOND.head)
        server.sendall(FINE)
        await answered


def _rest(end):
    """Read to the end, or to the reset."""
    came = b""
    try:
        while data := end.recv(1 << 20):
            came += data
    except ConnectionResetError:
        pass
    return came
