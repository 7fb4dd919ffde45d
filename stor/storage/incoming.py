"""The body of an answer that is too long to be given whole."""

from typing import Any

from twisted.internet.defer import Deferred

from stor.errors import StorError

_HIGH = 512 * 1024  # bytes that wait for their reader; then the server must


class Incoming:
    """A `Stream` from a connection: read at the pace of its reader; closed before its end it cuts the connection."""

    def __init__(self, transport: Any, length: int | None) -> None:
        self.length = length
        self.is_held = False  # the server may not send: who reads is slow
        self._transport = transport
        self._pieces: list[bytes] = []
        self.is_closed = self._is_over = False
        self._size = 0
        self._wrong: StorError | None = None
        self._more: Deferred[None] | None = None

    async def read(self) -> bytes:
        """Give what is here, up to some 600 KiB; b"" at the end; Unavailable when the connection broke before it."""
        while not self._pieces:
            if self._wrong is not None:
                raise self._wrong
            if self._is_over:
                return b""
            self._more = Deferred()
            await self._more
        piece = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        if self.is_held:
            self.is_held = False
            self._transport.resumeProducing()
        return piece

    def close(self) -> None:
        """Forget the rest; a connection that still has some of it is of no use any more."""
        self._pieces = []
        if not self._is_over and self._wrong is None:
            self.is_closed = self._is_over = True
            self._transport.abortConnection()

    def come(self, pieces: list[bytes]) -> None:
        """Take what the connection brought."""
        if self._is_over or not pieces:
            return
        self._pieces += pieces
        self._size += sum(map(len, pieces))
        if self._size > _HIGH and not self.is_held:
            self.is_held = True
            self._transport.pauseProducing()
        self._wake()

    def end(self) -> None:
        """That was all; the connection belongs to another now."""
        if self.is_held:
            self.is_held = False
            self._transport.resumeProducing()
        self._is_over = True
        self._wake()

    def fail(self, why: StorError) -> None:
        """There will be no more."""
        self._wrong = why
        self._wake()

    def _wake(self) -> None:
        more, self._more = self._more, None
        if more is not None:
            more.callback(None)
