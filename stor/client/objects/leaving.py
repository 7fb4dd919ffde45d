"""Bytes on their way out: a file that keeps still, a pipe, or an object that is passed on."""

import os
import stat
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Protocol

from stor.client.hands import Hands
from stor.client.reading import PIECE, Changed, Stopped
from stor.client.tree import stamp
from stor.errors import BadRequest, Failed


class Progress(Protocol):
    """Is told how it goes, in the reactor's thread."""

    def expected(self, size: int) -> None:
        """Hear that so many bytes are to go."""

    def moved(self, size: int) -> None:
        """Hear of bytes that went; of less than none when they are to go again."""


class Silence:
    """Tells nobody."""

    def expected(self, size: int) -> None:
        """Say nothing."""

    def moved(self, size: int) -> None:
        """Say nothing."""


class Source(Protocol):
    """A body that can be sent once; `length` None: nobody knows. `digest` is that of what was given so far."""

    @property
    def length(self) -> int | None:
        """In bytes."""

    @property
    def digest(self) -> str:
        """The SHA-256, in hex."""

    @property
    def is_lost(self) -> bool:
        """Whether what was given cannot be had again."""

    async def read(self) -> bytes:
        """Give the next piece, b"" at the end."""

    async def close(self) -> None:
        """Let go of what is behind it."""


class File:
    """A file for threads; its last piece is given only when all of it is as it was when it was opened.

    A request whose body lacks the last piece is cut off, so nothing is kept of bytes that nobody wrote.
    """

    is_lost = False

    def __init__(self, path: Path, folder: int | None = None) -> None:
        """Open it, in a folder by its descriptor when one is given."""
        self._path, self._lock, self._read = path, Lock(), 0
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not hold us up
        self._fd = os.open(path, flags, dir_fd=folder)
        status = os.fstat(self._fd)
        self._stamp, self._size = stamp(status), status.st_size
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise BadRequest(f"{path} is no file; what comes out of a pipe is put as -")

    @property
    def length(self) -> int | None:
        """In bytes."""
        return self._size

    def read(self) -> bytes:
        """Give the next piece; Changed when the file is being written."""
        with self._lock:
            if self._fd < 0:
                raise Stopped
            piece = os.read(self._fd, PIECE)
            self._read += len(piece)
            is_last = not piece or self._read >= self._size
            if is_last and (self._read != self._size or stamp(os.fstat(self._fd)) != self._stamp):
                raise Changed(f"{self._path} changed while it was read")
            return piece

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


class Inner(Protocol):
    """What a Leaving reads."""

    @property
    def length(self) -> int | None:
        """In bytes; None: nobody knows."""

    @property
    def is_lost(self) -> bool:
        """Whether what was given cannot be had again."""

    def read(self) -> bytes:
        """Give the next piece, b"" at the end; Stopped when it was closed."""

    def close(self) -> None:
        """Let go of it; somebody may be reading in another thread."""


class Leaving:
    """A source whose bytes a thread reads and hashes, and which are counted."""

    def __init__(self, inner: Inner, hands: Hands, progress: Progress) -> None:
        self._inner, self._hands, self._progress = inner, hands, progress
        self._hash, self._sent = sha256(), 0

    @property
    def length(self) -> int | None:
        """In bytes."""
        return self._inner.length

    @property
    def is_lost(self) -> bool:
        """Whether what was given cannot be had again."""
        return self._inner.is_lost

    @property
    def digest(self) -> str:
        """The SHA-256 of what was given."""
        return self._hash.hexdigest()

    async def read(self) -> bytes:
        """Give the next piece."""
        piece = await self._hands.run(self._next)
        self._sent += len(piece)
        self._progress.moved(len(piece))
        return piece

    def _next(self) -> bytes:
        piece = self._inner.read()
        self._hash.update(piece)
        return piece

    def uncount(self) -> None:
        """It goes again from the beginning."""
        self._progress.moved(-self._sent)

    async def close(self) -> None:
        """Let go of it."""
        await self._hands.run(self._inner.close)


def again(source: Callable[[], Awaitable[Leaving]]) -> Callable[[], Awaitable[Leaving]]:
    """Open a source for each try; what one counted that failed is taken back by the next. Failed when that is lost."""
    former: list[Leaving] = []

    async def opened() -> Leaving:
        while former:
            last = former.pop()
            last.uncount()
            if last.is_lost:
                raise Failed("it has to be sent again, and what was read cannot be read again")
        former.append(await source())
        return former[-1]

    return opened


def digest_of(path: Path, folder: int | None = None) -> str:
    """Hash a file in a thread; Changed when it is being written."""
    file, found = File(path, folder), sha256()
    try:
        while piece := file.read():
            found.update(piece)
        return found.hexdigest()
    finally:
        file.close()
