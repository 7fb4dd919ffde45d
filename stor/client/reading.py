"""Files as they are read: whole, and unchanged from the first byte to the last, or not at all."""

import os
import stat
from hashlib import md5
from threading import Event, Lock

from stor.client.tree import Stamp, Tree, stamp
from stor.errors import Conflict

PIECE = 1 << 18
_TRIES = 3


class Changed(Conflict):
    """A file is not the one that was meant: it was written, replaced or deleted meanwhile. Decide again."""


class Stopped(Exception):
    """The sync is being ended."""


class Reader:
    """A file on its way out. Its last piece is given only when all of it was what was expected.

    A request whose body lacks the last piece is cut off, so the remote keeps nothing of bytes that nobody wrote.
    """

    def __init__(self, tree: Tree, path: str, expected: str) -> None:
        try:
            self._fd = tree.open(path)
        except OSError as why:
            raise Changed(f"{path}: {why.strerror}") from None
        status = os.fstat(self._fd)
        self._path, self._expected = path, expected
        self._digest, self._size, self._next = md5(usedforsecurity=False), 0, b""
        self._lock = Lock()  # who stops waiting for a read may close the file before it has ended
        self.length = status.st_size
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise Changed(f"{path} is no file any more")

    def read(self) -> bytes:
        """Give the next piece, b"" at the end; Changed when the file is not what was expected."""
        with self._lock:
            if self._fd < 0:
                raise Stopped
            return self._read()

    def _read(self) -> bytes:
        if self._size == 0:
            self._next = self._ahead()
        piece, self._next = self._next, b""
        if piece:
            self._next = self._ahead()
        if not self._next:
            self._check()
        return piece

    def _ahead(self) -> bytes:
        piece = os.read(self._fd, PIECE)
        self._digest.update(piece)
        self._size += len(piece)
        if self._size > self.length:
            raise Changed(f"{self._path} grows while it is sent")
        return piece

    def _check(self) -> None:
        if self._digest.hexdigest() != self._expected or self._size < self.length:
            raise Changed(f"{self._path} changed while it was sent")

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


def digest(fd: int, stop: Event) -> tuple[Stamp, str] | None:
    """Read a file from its beginning; None when it does not keep still. Stopped when `stop` is set."""
    for _ in range(_TRIES):
        before = stamp(os.fstat(fd))
        found = _md5(fd, stop)
        if stamp(os.fstat(fd)) == before:
            return before, found
    return None


def _md5(fd: int, stop: Event) -> str:
    found, offset = md5(usedforsecurity=False), 0
    while piece := os.pread(fd, PIECE, offset):
        if stop.is_set():
            raise Stopped
        found.update(piece)
        offset += len(piece)
    return found.hexdigest()
