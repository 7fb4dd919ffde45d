"""A logged-in session on two plain sockets: what a lane leaves over, ends, resets, and bytes held back.

Back-pressure is one bounded buffer a direction: while its bytes wait for the reader, nothing more is received
from the writer. Ends and resets are passed on as they came.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer
from twisted.logger import Logger
from zope.interface import implementer

from stor.redis import lane
from stor.redis.lane import BROKEN, ENDED, EPOLLIN, EPOLLOUT, LEFT, MOVED, Lane
from stor.redis.login import Refused, Rewriter
from stor.redis.relay import Relay
from stor.redis.session import LINGER


class _Way:
    """One direction of a session: its lane, what waits for the reader, and whether it is over."""

    __slots__ = ("dst", "ended", "lane", "over", "pending", "rewriter", "src")

    def __init__(self, src: int, dst: int, rewriter: Rewriter | None) -> None:
        self.src, self.dst, self.rewriter = src, dst, rewriter
        self.lane = Lane(src, dst, None if rewriter is None else rewriter.framer)
        self.pending = b""
        self.ended = False  # the source will send no more
        self.over = False  # the destination has been told so, or will take no more

    @property
    def reading(self) -> bool:
        return not (self.ended or self.pending)

    @property
    def fast(self) -> Lane | None:
        """The lane, while all that comes may go through it."""
        return None if self.rewriter is not None and self.rewriter.held else self.lane

    def receive(self) -> int:
        """Move what came; the outcome, with nothing left over but `pending`."""
        fast = self.fast
        if fast is None:
            return self._receive_slowly()
        outcome = fast.move()
        return self.settle() if outcome == LEFT else outcome

    def settle(self) -> int:
        """Deal with what the lane left."""
        rest, clean, error = self.lane.rest, self.lane.clean, self.lane.error
        self.lane.rest = b""
        if self.rewriter is not None and clean < len(rest):
            rest = rest[:clean] + self.rewriter.feed(rest[clean:])
        self.pending = rest
        if error:
            self._refused()
        else:
            self.flush()
        return MOVED

    def _receive_slowly(self) -> int:
        assert self.rewriter is not None  # noqa: S101 - only a framed way holds bytes back
        try:
            data = os.read(self.src, lane.BUFFER)
        except OSError as why:
            return MOVED if why.errno == errno.EAGAIN else BROKEN
        if not data:
            return ENDED
        self.lane.total += len(data)
        self.pending = self.rewriter.feed(data)
        self.flush()
        return MOVED

    def flush(self) -> None:
        """Send what is pending, as far as the reader takes it."""
        try:
            while self.pending:
                self.pending = self.pending[os.write(self.dst, self.pending) :]
        except OSError as why:
            if why.errno != errno.EAGAIN:
                self._refused()

    def _refused(self) -> None:
        """Read no more for a reader that has gone; what it said before it went still comes the other way."""
        self.pending = b""
        self.ended = self.over = True


class Spliced:
    """A session whose two plain sockets the relay serves."""

    def __init__(self, relay: Relay, client: Any, upstream: Any, rewriter: Rewriter, gone: Callable[[], None]) -> None:
        """`client` and `upstream` are protocols whose transports have nothing left to write."""
        self._relay, self._ends, self._gone = relay, [client, upstream], gone
        client_fd, upstream_fd = client.transport.fileno(), upstream.transport.fileno()
        self._request = _Way(client_fd, upstream_fd, rewriter)
        self._reply = _Way(upstream_fd, client_fd, None)
        self._rewriter = rewriter
        self._timer: Any = None
        self._ending = False
        for protocol, fd in ((client, client_fd), (upstream, upstream_fd)):
            protocol.transport.stopReading()
            relay.enter(fd, self)

    @classmethod
    def possible(cls, *transports: Any) -> bool:
        """Tell whether these are plain sockets that Twisted holds, with nothing above them."""
        return all(type(transport) in {tcp.Server, tcp.Client} and not transport.TLS for transport in transports)

    def begin(self, rest: bytes) -> None:
        """Pass on what the client had sent behind its login, and go."""
        if rest:
            self._request.lane.total += len(rest)
            try:
                self._request.pending = self._rewriter.feed(rest)
            except Refused as why:
                self._cut_off(why)
                return
            self._request.flush()
            self._asked()
        self._rewatch()

    def _cut_off(self, why: Refused) -> None:
        Logger().warn("a client is cut off: {why}", why=str(why))
        self.abort()

    def _asked(self) -> None:
        """Note that bytes which no lane moved have gone upstream after its last word."""
        self._request.lane.stamp = self._reply.lane.stamp + 1

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received from the client, and from upstream."""
        return self._request.lane.total, self._reply.lane.total

    @property
    def idle(self) -> bool:
        """Whether the stream stands between two requests and upstream spoke last."""
        ways = self._request, self._reply
        asked = self._request.lane.stamp > self._reply.lane.stamp
        return self._rewriter.between and not asked and not any(way.pending for way in ways)

    def happened(self, fd: int, events: int) -> None:
        """Look after what the turn did not: a lane's leftovers, an end, room to write, a socket in error."""
        inward = self._request if fd == self._request.src else self._reply
        outward = self._reply if inward is self._request else self._request
        try:
            outcome = self._inward(inward, events)
        except Refused as why:
            self._cut_off(why)
            return
        if outcome == BROKEN:
            self.abort()
            return
        if outcome == ENDED:
            inward.ended = True
        if events & ~EPOLLIN and outward.pending:
            outward.flush()
        self._pass_on_ends()

    def _inward(self, way: _Way, events: int) -> int:
        if events == EPOLLIN and way.fast is not None:  # the turn has moved it
            outcome = way.lane.outcome
            return way.settle() if outcome == LEFT else outcome
        if not way.reading or not events & ~EPOLLOUT:
            return MOVED
        if way.fast is None:
            self._asked()
        return way.receive()

    def _pass_on_ends(self) -> None:
        for way, reader in ((self._request, self._ends[1]), (self._reply, self._ends[0])):
            if way.ended and not way.pending and not way.over:
                way.over = True
                with suppress(OSError):  # Twisted's own half-close would write first, and lose what is still unread
                    reader.transport.getHandle().shutdown(socket.SHUT_WR)
        if self._request.over and self._reply.over:
            self.close()
            return
        if self._request.over or self._reply.over:
            self._linger()
        self._rewatch()

    def _rewatch(self) -> None:
        for inward, outward in ((self._request, self._reply), (self._reply, self._request)):
            mask = (EPOLLIN if inward.reading else 0) | (EPOLLOUT if outward.pending else 0)
            self._relay.watch(inward.src, mask, inward.fast if mask & EPOLLIN else None)

    def _linger(self) -> None:
        if self._timer is None:
            self._timer = self._relay.reactor.callLater(LINGER, self._expired)

    def _expired(self) -> None:
        self._timer = None
        self.abort()

    def upstream_said(self, data: bytes) -> None:
        """Never: Twisted does not read these sockets."""
        raise AssertionError(len(data))

    client_said = upstream_said

    def lost(self, protocol: Any) -> None:
        """One connection has gone: the other goes too; when both have, the session is over."""
        self._ends.remove(protocol)
        if self._ends:
            self.close()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._gone()

    def finish(self) -> None:
        """Take no more from the client, and let upstream answer what it has."""
        if not self._ending:
            self._request.ended = True
            self._pass_on_ends()

    def close(self) -> None:
        """End both connections in good order; one that cannot be, because its peer does not read, is aborted later."""
        self._end("loseConnection")
        if self._ends:
            self._linger()

    def abort(self) -> None:
        """End both connections with a reset."""
        self._end("abortConnection")

    def _end(self, how: str) -> None:
        if not self._ending:
            self._ending = True
            self._relay.leave(self._request.src)
            self._relay.leave(self._reply.src)
        for protocol in list(self._ends):
            getattr(protocol.transport, how)()


async def drained(transport: Any) -> None:
    """Wait until all that was written to a Twisted transport is in the hands of the kernel."""
    waiting = _Drained()
    transport.registerProducer(waiting, False)
    transport.startWriting()
    await waiting.empty
    transport.unregisterProducer()


@implementer(IPullProducer)
class _Drained:
    """A producer with nothing to produce: asked once when it is registered, and again when all is written."""

    def __init__(self) -> None:
        self.empty: Deferred[None] = Deferred()
        self._asked = False

    def resumeProducing(self) -> None:
        if self._asked and not self.empty.called:
            self.empty.callback(None)
        self._asked = True

    def stopProducing(self) -> None:
        """The connection has gone: whoever waits is cancelled by its protocol."""
