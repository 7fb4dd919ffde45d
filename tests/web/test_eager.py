"""What is done at once: sends past Twisted's buffer, coroutines without a Deferred."""

import socket

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.tcp import Server
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.web.deadline import Deadline
from stor.web.eager import eagerly
from stor.web.wire import Wire


class Kept(Protocol):
    def connectionMade(self):
        self.factory.made.callback(self)


class WireTests(TestCase):
    timeout = 20

    async def setUp(self):
        factory = Factory.forProtocol(Kept)
        factory.noisy, factory.made = False, Deferred()
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.peer = socket.create_connection(("127.0.0.1", port.getHost().port))
        self.addCleanup(self.peer.close)
        self.transport = (await factory.made).transport
        self.addCleanup(self.transport.abortConnection)
        self.changes = []
        self.wire = Wire(self.transport, lambda: self.changes.append(self.wire.full))

    def hear(self, size):
        heard = b""
        while len(heard) < size:
            heard += self.peer.recv(size - len(heard))
        return heard

    def test_private_names(self):
        """These names of Twisted's are not promised to anybody; when one changes, this must be looked at again."""
        for name in ("dataBuffer", "_tempDataBuffer", "disconnecting", "connected", "socket", "TLS"):
            self.assertTrue(hasattr(self.transport, name), name)
        self.assertIsInstance(self.transport, Server)
        self.assertEqual((self.transport.dataBuffer, self.transport._tempDataBuffer), (b"", []))
        self.transport.write(b"later")
        self.assertEqual(self.transport._tempDataBuffer, [b"later"])

    def test_at_once(self):
        """What the socket takes is sent before `write` returns, in one piece or two."""
        self.wire.write(b"head ", b"body")
        self.assertEqual(self.hear(9), b"head body")
        self.wire.write(b"head ", b"x" * 100_000)
        self.assertEqual(self.hear(100_005), b"head " + b"x" * 100_000)

    async def test_order(self):
        """What was written the ordinary way goes first."""
        self.transport.write(b"one ")
        self.assertIsNone(self.wire.bare())
        self.wire.write(b"two ", b"three")
        await deferLater(reactor, 0.05)
        self.assertEqual(self.hear(13), b"one two three")

    async def test_full(self):
        """What the socket does not take is held back, and said; `room` waits until it is sent."""
        body = b"x" * 20_000_000
        self.wire.write(b"head", body)
        self.assertTrue(self.wire.full)
        waited = Deferred.fromCoroutine(self.wire.room())
        self.wire.write(b"tail")
        heard = await deferToThread(self.hear, len(body) + 8)
        await waited
        self.assertEqual((heard[:4], heard[-4:], len(heard)), (b"head", b"tail", len(body) + 8))
        self.assertEqual(self.changes[-1], False)

    async def test_after_the_end(self):
        """To a connection that is gone nothing is sent, and nothing is raised."""
        self.wire.release()
        self.transport.abortConnection()
        await deferLater(reactor, 0.05)
        self.assertIsNone(self.wire.bare())
        self.wire.write(b"too late", b"x" * 100_000)
        self.assertRaises(ConnectionResetError, self.peer.recv, 100)

    def test_other_transports(self):
        """Whatever is no plain TCP connection, TLS above all, is written to the ordinary way."""
        other = StringTransport()
        other.socket = None
        wire = Wire(other, lambda: None)
        wire.write(b"head ", b"body")
        self.assertIsNone(wire.bare())
        self.assertEqual(other.value(), b"head body")


class EagerlyTests(SynchronousTestCase):
    def test_at_once(self):
        """What never waits gives its result, or raises, without a Deferred."""

        async def add(one, other):
            return await succeed(one) + other

        async def fail():
            await succeed(None)
            raise KeyError

        self.assertEqual(eagerly(add(1, 2)), 3)
        self.assertRaises(KeyError, eagerly, fail())

    def test_later(self):
        """What waits is a Deferred of the rest, through any number of waits, results and failures."""
        first, second, third = Deferred(), Deferred(), Deferred()

        async def rest():
            got = [await first]
            try:
                await second
            except KeyError as error:
                got.append(error.args[0])
            return [*got, await third]

        done = eagerly(rest())
        first.callback("a")
        self.assertNoResult(done)
        second.errback(KeyError("b"))
        third.callback("c")
        self.assertEqual(self.successResultOf(done), ["a", "b", "c"])

    def test_cancelled(self):
        """To cancel it is to cancel what it waits for."""
        waited, seen = Deferred(), []

        async def rest():
            try:
                await waited
            finally:
                seen.append("cleaned up")

        done = eagerly(rest())
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(seen, ["cleaned up"])


class DeadlineTests(SynchronousTestCase):
    def setUp(self):
        self.clock, self.late = Clock(), []
        self.deadline = Deadline(self.clock, lambda: self.late.append(self.clock.seconds()))

    def test_moves(self):
        """Only the time that was set last counts, later or sooner; one delayed call is enough."""
        self.deadline.set(10)
        self.clock.advance(5)
        self.deadline.set(10)
        self.clock.advance(9)
        self.assertEqual((self.late, len(self.clock.getDelayedCalls())), ([], 1))
        self.deadline.set(0.5)
        self.clock.advance(0.5)
        self.assertEqual((self.late, self.clock.getDelayedCalls()), ([14.5], []))

    def test_clear(self):
        """What is no longer expected is not late; and may be expected again."""
        self.deadline.set(10)
        self.deadline.clear()
        self.clock.advance(11)
        self.assertEqual((self.late, self.clock.getDelayedCalls()), ([], []))
        self.deadline.set(1)
        self.clock.advance(1)
        self.assertEqual(self.late, [12])

    def test_end(self):
        """In the end nothing is left."""
        self.deadline.set(10)
        self.deadline.end()
        self.deadline.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
