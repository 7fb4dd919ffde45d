"""The compiled framer and lane promise what the Python ones do: held against each other."""

import os
import select
import socket
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.redis import _lane, lane  # the tests want the compiled one built: `make venv` does it
from stor.redis.framer import Framer
from stor.redis.lane import BROKEN, ENDED, EPOLLIN, LEFT, MOVED, PureLane, pure_turn
from stor.redis.resp import encode

pieces = st.sampled_from(
    [
        b"*",
        b"$",
        b"\r",
        b"\n",
        b"\r\n",
        b"\x00",
        b"-",
        b"+",
        b"AUTH",
        b"hello",
        b"HELLO",
        b"PING",
        b"GET",
        b"*1\r\n",
        b"*3\r\n",
        b"$3\r\n",
        b"$4\r\n",
        b"$5\r\n",
        b"$0\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"$-1\r\n",
        b"xyz\r\n",
        b"auth\r\n",
        b"1",
        b"9" * 19,
        b"4611686018427387905",
        b"2147483648",
        b"x" * 70000,
        b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n",
    ]
)
streams = st.lists(pieces | st.binary(max_size=6), max_size=14).map(b"".join)
requests = st.lists(st.lists(st.binary(max_size=9), min_size=1, max_size=4).map(encode), max_size=6).map(b"".join)
cuts = st.lists(st.integers(0, 600), max_size=6)


def state(framer):
    return framer.args, framer.skip, bool(framer.opaque), framer.between


def feed(framer, wire, at):
    """Give `wire` in pieces as a session would; the places where it stopped, and the states it had."""
    held, seen = b"", []
    edges = [0, *sorted(min(cut, len(wire)) for cut in at), len(wire)]
    for start, stop in pairwise(edges):
        held += wire[start:stop]
        passed = framer.scan(held, 0, len(held))
        seen.append((passed, state(framer)))
        held = held[passed:]
    return seen


class FramerTests(SynchronousTestCase):
    @given(requests, cuts)
    def test_whatever_the_cuts_the_same_bytes_pass(self, wire, at):
        """Cuts change when bytes pass, never which: at the end the same is left over."""
        whole = Framer().scan(wire, 0, len(wire))
        self.assertEqual(sum(passed for passed, _ in feed(Framer(), wire, at)), whole)

    def test_stops_before_logins_only(self):
        """AUTH and HELLO in any case stop it; names that only look alike, and payloads, do not."""
        for words, stops in [
            ([b"AUTH", b"x"], True),
            ([b"auth"], True),
            ([b"Hello", b"3"], True),
            ([b"AUTHS", b"x"], False),
            ([b"HELL", b"x"], False),
            ([b"SET", b"k", encode([b"AUTH", b"x"])], False),
        ]:
            wire = encode(words)
            self.assertEqual(Framer().scan(wire, 0, len(wire)), 0 if stops else len(wire), words)

    def test_never_looks_again_after_what_redis_refuses(self):
        """Behind a frame that Redis refuses and closes after, an AUTH is only bytes."""
        for broken in (
            b"*+1\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n+OK\r\n",
            b"*3\0\r\n",
            b"*2147483648\r\n",
            b"$" * 9,
        ):
            framer, wire = Framer(), broken + encode([b"AUTH", b"x"])
            passed = framer.scan(wire, 0, len(wire))
            self.assertEqual((passed, framer.opaque), (len(wire), True) if broken[:1] == b"*" else (0, False), broken)


class TwinTests(SynchronousTestCase):
    @given(streams, cuts)
    def test_same_scan(self, wire, at):
        """Over any bytes in any pieces both framers stop at the same places in the same states."""
        self.assertEqual(feed(_lane.Framer(), wire, at), feed(Framer(), wire, at))

    @given(streams, cuts)
    def test_same_moves(self, wire, at):
        """Over real sockets both lanes pass, leave and report the same."""
        self.assertEqual(moves(_lane.Lane, _lane.Framer(), wire, at), moves(PureLane, Framer(), wire, at))

    def test_is_in_use(self):
        """Built and not turned off, the compiled one is what runs."""
        if not os.environ.get("STOR_PURE"):
            self.assertIs(lane.Lane, _lane.Lane)

    def test_arguments(self):
        """Wrong arguments are Python errors, not crashes."""
        self.assertRaises(TypeError, _lane.Lane, 0, 1, object())
        self.assertRaises(TypeError, _lane.Lane, 0, 1, framer=None)
        self.assertRaises(ValueError, _lane.Framer().scan, b"abc", 0, 4)
        self.assertRaises(ValueError, _lane.Framer().scan, b"abc", 3, 2)
        self.assertRaises(ValueError, _lane.Framer().scan, b"abc", -1, 2)
        self.assertRaises(TypeError, _lane.turn, 0, [])


def moves(kind, framer, wire, at):
    """Write `wire` in pieces into a lane between two socket pairs; each outcome and what came out."""
    (source, src), (dst, sink) = socket.socketpair(), socket.socketpair()
    try:
        for end in (src, dst, sink):
            end.setblocking(False)
        it = kind(src.fileno(), dst.fileno(), framer)
        seen = []
        edges = [0, *sorted(min(cut, len(wire)) for cut in at), len(wire)]
        for start, stop in pairwise(edges):
            if start < stop:
                source.sendall(wire[start:stop])
                seen.append((it.move(), it.outcome, it.error, it.total))
                if it.outcome == LEFT:
                    seen.append((it.rest, it.clean))
        try:
            seen.append(sink.recv(1 << 20))
        except BlockingIOError:
            seen.append(b"")
        return seen
    finally:
        for end in (source, src, dst, sink):
            end.close()


class LaneTests(SynchronousTestCase):
    kinds = ((PureLane, pure_turn), (_lane.Lane, _lane.turn))

    def pair(self):
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
            self.addCleanup(end.close)
        return ours, theirs

    def test_outcomes(self):
        """Nothing there, something there, a full reader, a reader gone, the end: each is told apart."""
        for kind, _ in self.kinds:
            (source, src), (dst, sink) = self.pair(), self.pair()
            it = kind(src.fileno(), dst.fileno(), None)
            self.assertEqual(it.move(), MOVED)  # nothing there
            source.send(b"abc")
            self.assertEqual((it.move(), sink.recv(9), it.total), (MOVED, b"abc", 3))
            while True:
                try:
                    dst.send(b"x" * 65536)
                except BlockingIOError:
                    break
            source.send(b"def")
            self.assertEqual((it.move(), it.rest, it.clean, it.error), (LEFT, b"def", 3, 0))
            sink.close()
            source.send(b"ghi")
            self.assertEqual((it.move(), it.rest), (LEFT, b"ghi"))
            self.assertNotEqual(it.error, 0)
            source.close()
            self.assertIn(it.move(), (ENDED, BROKEN))

    def test_turn_reports_only_what_wants_a_decision(self):
        """A plain move is not reported; an end, and a socket without a lane, are."""
        for kind, turn in self.kinds:
            (source, src), (dst, sink), (other, alone) = self.pair(), self.pair(), self.pair()
            poll = select.epoll()
            self.addCleanup(poll.close)
            for end in (src, alone):
                poll.register(end.fileno(), EPOLLIN)
            lanes = {src.fileno(): kind(src.fileno(), dst.fileno(), None)}
            source.send(b"abc")
            self.assertEqual((turn(poll, lanes), sink.recv(9)), ([], b"abc"))
            other.send(b"?")
            self.assertEqual(turn(poll, lanes), [(alone.fileno(), EPOLLIN)])
            alone.recv(9)
            source.shutdown(socket.SHUT_WR)
            self.assertEqual([fd for fd, _ in turn(poll, lanes)], [src.fileno()])

    def test_stamps_tell_who_spoke_last(self):
        """Of two lanes the one that received last has the larger stamp."""
        for kind, _ in self.kinds:
            (source, src), (dst, _sink) = self.pair(), self.pair()
            one, two = kind(src.fileno(), dst.fileno(), None), kind(src.fileno(), dst.fileno(), None)
            for it, other in ((one, two), (two, one), (one, two)):
                source.send(b"x")
                it.move()
                self.assertGreater(it.stamp, other.stamp)
