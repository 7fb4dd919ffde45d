"""The way out of a connection: sent at once where that is possible, held back while the reader is slow."""

from collections.abc import Callable
from socket import IPPROTO_TCP, TCP_INFO, socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.tcp import Server
from zope.interface import implementer

ESTABLISHED = 1  # the first byte of TCP_INFO
JOINED_BYTES = 1 << 14  # up to here a copy is cheaper than a second buffer in the system call


def _nothing() -> None:
    """What is called when nobody listens."""


@implementer(IPushProducer)
class Wire:
    """Writes to a transport; `full` while more is held back than should be, and `changed` is told of either.

    Twisted's own write() always waits for the next turn of the reactor: two epoll_ctl calls and one more wait for
    each small answer. Here the socket is tried first, while Twisted holds nothing of ours. That looks at names of
    twisted.internet.tcp.Server which are private (a test pins them); over TLS, and on any other transport, the
    ordinary way is taken.
    """

    __slots__ = ("_changed", "_eager", "_room", "_transport", "full")

    def __init__(self, transport: Any, changed: Callable[[], None]) -> None:
        self._transport, self._changed = transport, changed
        self._eager = isinstance(transport, Server) and not transport.TLS
        self._room: Deferred[None] | None = None
        self.full = False
        transport.registerProducer(self, True)

    def bare(self) -> socket | None:
        """Give the socket, when what is sent on it now comes right behind what was written before."""
        transport = self._transport
        if not self._eager or transport.dataBuffer or transport._tempDataBuffer:  # noqa: SLF001 - see above
            return None
        return None if transport.disconnecting or not transport.connected else transport.socket

    def write(self, head: bytes, body: bytes = b"") -> None:
        """Send one after the other."""
        if len(body) > JOINED_BYTES:
            self._write_both(head, body)
            return
        data = head + body if body else head
        sent = self._send(data)
        if sent < len(data):
            self._transport.write(data[sent:])

    def _write_both(self, head: bytes, body: bytes) -> None:
        sent = self._send(head, body)
        if sent < len(head):
            self._transport.write(head[sent:])
        if sent < len(head) + len(body):
            self._transport.write(body[max(sent - len(head), 0) :])

    def _send(self, *pieces: bytes) -> int:
        """Give how many bytes are gone; what went wrong is found out again by the ordinary way."""
        socket = self.bare()
        if socket is None:
            return 0
        try:
            return socket.send(pieces[0]) if len(pieces) == 1 else socket.sendmsg(pieces)
        except OSError:
            return 0

    async def room(self) -> None:
        """Wait until no more is held back than should be; ends by CancelledError alone when the client has left."""
        while self.full:
            self._room = self._room or Deferred()
            await self._room

    def release(self) -> None:
        """Leave the transport to itself, so that it can close when all is sent."""
        self._transport.unregisterProducer()

    def is_left(self) -> bool:
        """Tell whether the client has closed, without reading: that would come behind the bytes that wait."""
        socket = getattr(self._transport, "socket", None)
        return socket is not None and socket.getsockopt(IPPROTO_TCP, TCP_INFO, 1)[0] != ESTABLISHED

    def end(self) -> None:
        """Drop what was not sent, for the connection is gone; the transport itself would keep it."""
        self._changed = _nothing
        if self._eager:
            self._transport.dataBuffer, self._transport._tempDataBuffer = b"", []  # noqa: SLF001 - see above

    def pauseProducing(self) -> None:
        """Called by the transport, within a write."""
        self.full = True
        self._changed()

    def resumeProducing(self) -> None:
        """Called by the transport when all is sent."""
        self.full = False
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)
        self._changed()

    def stopProducing(self) -> None:
        """Called by the transport that is no more; the channel hears of it too."""
