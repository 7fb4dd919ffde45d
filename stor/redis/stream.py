"""Logged-in sessions over Twisted's own transports: where TLS is on either side, or the system has no epoll.

The same promises as `relay`, with one less: TLS has no dependable half-close, so the end of one direction is
the end of the session, once what had come has been passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.logger import Logger

from stor.redis.login import Refused, Rewriter
from stor.redis.session import LINGER


class Streamed:
    """A session whose bytes come and go through Twisted."""

    def __init__(self, reactor: Any, client: Any, upstream: Any, rewriter: Rewriter, gone: Callable[[], None]) -> None:
        """`client` and `upstream` are protocols that pass on what they hear, and when they are lost."""
        self._reactor, self._client, self._upstream = reactor, client, upstream
        self._rewriter, self._gone = rewriter, gone
        self._ends = [client, upstream]
        self._received = [0, 0]
        self._asked = False
        self._timer: Any = None

    def begin(self, rest: bytes) -> None:
        """Pass on what the client had sent behind its login, and go."""
        client, upstream = self._client.transport, self._upstream.transport
        upstream.registerProducer(client, True)
        client.registerProducer(upstream, True)
        upstream.resumeProducing()
        client.resumeProducing()
        if rest:
            self.client_said(rest)

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received from the client, and from upstream."""
        return self._received[0], self._received[1]

    @property
    def idle(self) -> bool:
        """Whether the stream stands between two requests and upstream spoke last."""
        return self._rewriter.between and not self._asked

    def client_said(self, data: bytes) -> None:
        """Pass a piece of the request stream on."""
        self._received[0] += len(data)
        self._asked = True
        try:
            passed = self._rewriter.feed(data)
        except Refused as why:
            Logger().warn("a client is cut off: {why}", why=str(why))
            self.abort()
            return
        if passed:
            self._upstream.transport.write(passed)

    def upstream_said(self, data: bytes) -> None:
        """Pass a piece of the reply stream on, unread."""
        self._received[1] += len(data)
        self._asked = False
        self._client.transport.write(data)

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
        upstream = self._upstream.transport
        if len(self._ends) == 2:
            self._client.transport.pauseProducing()
            upstream.unregisterProducer()
            # TLS has a goodbye that leaves the other direction open, as far as the peer keeps to it.
            (upstream.loseWriteConnection if type(upstream) is tcp.Client else upstream.loseConnection)()
            self._linger()

    def close(self) -> None:
        """End both connections once what was passed on has been sent; a reader who does not read is cut off."""
        for protocol in self._ends:
            protocol.transport.unregisterProducer()
            protocol.transport.loseConnection()
        self._linger()

    def _linger(self) -> None:
        if self._timer is None:
            self._timer = self._reactor.callLater(LINGER, self._expired)

    def _expired(self) -> None:
        self._timer = None
        self.abort()

    def abort(self) -> None:
        """End both connections now."""
        for protocol in list(self._ends):
            protocol.transport.abortConnection()
