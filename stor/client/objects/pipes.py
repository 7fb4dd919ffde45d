"""Standard input and output for threads, which are not held up when nobody is at the other end."""

import os
import select
import stat
from hashlib import sha256
from threading import Event, Lock

from stor.client.reading import PIECE, Stopped
from stor.errors import Failed

KEPT_BYTES = 1 << 20
_TICK = 200  # milliseconds between two looks whether it was closed
_SURE = 4096  # bytes that a pipe takes without waiting when it says it has room (PIPE_BUF)


class Pipe:
    """A descriptor that is not ours to close; `close` ends whoever waits for it."""

    def __init__(self, fd: int) -> None:
        self._fd, self._closed, self._lock = fd, Event(), Lock()

    def close(self) -> None:
        """Wait no more; afterwards nothing is read or written."""
        with self._lock:
            self._closed.set()

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._fd, event)
        while not self._closed.is_set():
            if poll.poll(_TICK):
                return
        raise Stopped


class Input(Pipe):
    """A pipe that an object is read from.

    Its beginning is `kept`, to be read again when it has to be sent again; so all of a pipe can be that `is_whole`.
    """

    def __init__(self, fd: int, kept: bytes = b"", *, is_whole: bool = False) -> None:
        super().__init__(fd)
        self.kept, self.is_whole, self.is_lost = kept, is_whole, False
        self._rest = kept

    @property
    def length(self) -> int | None:
        """In bytes, if that is known yet."""
        return len(self.kept) if self.is_whole else None

    def fill(self) -> None:
        """Read as much as is kept, or all there is."""
        kept = bytearray()
        while len(kept) < KEPT_BYTES and not self.is_whole:
            piece = self._next(KEPT_BYTES - len(kept))
            self.is_whole = not piece
            kept += piece
        self.kept = self._rest = bytes(kept)

    def read(self) -> bytes:
        """Give the next piece, b"" at the end; Stopped when it was closed."""
        piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
        if piece or self.is_whole:
            return piece
        piece = self._next(PIECE)
        self.is_lost = self.is_lost or bool(piece)
        return piece

    def _next(self, most: int) -> bytes:
        self._wait(select.POLLIN)
        with self._lock:
            if self._closed.is_set():
                raise Stopped
            return os.read(self._fd, most)


class Output(Pipe):
    """A pipe that an object is written to; what is out cannot be taken back."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._most = PIECE if stat.S_ISREG(os.fstat(fd).st_mode) else _SURE
        self._hash, self.size = sha256(), 0

    @property
    def digest(self) -> str:
        """The SHA-256 of what was written."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Have all of it taken, and hash it; Stopped when it was closed."""
        view = memoryview(data)
        while view:
            self._wait(select.POLLOUT)
            written = os.write(self._fd, view[: self._most])
            self._hash.update(view[:written])
            self.size += written
            view = view[written:]

    def restart(self) -> None:
        """It cannot be."""
        raise Failed("the object was replaced while it was read; what was written is the beginning of the former one")

    def discard(self) -> None:
        """There is nothing to be done."""
