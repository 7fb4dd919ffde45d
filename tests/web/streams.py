"""Bodies that tests send and receive."""

import os

from twisted.internet.defer import Deferred

from stor.errors import Full
from tests.places import folder


class Pieces:
    """A stream of these pieces; an exception among them is raised."""

    def __init__(self, *pieces, length=None):
        self.pieces, self.length, self.closed = list(pieces), length, 0

    async def read(self):
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if isinstance(piece, Deferred):
            piece = await piece
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self):
        self.closed += 1


class File:
    """A part of a file, as a FileStream that must not be read piece by piece."""

    def __init__(self, path, start, stop):
        self.fd = os.open(path, os.O_RDONLY)
        self.start, self.stop, self.length, self.closed = start, stop, stop - start, 0

    async def read(self):
        raise AssertionError("a file is sent, not read")

    def close(self):
        self.closed += 1
        os.close(self.fd)


class Slow:
    """A sink that takes one piece and then waits until it is told to go on."""

    def __init__(self, error=None):
        self.size, self.pieces, self.ready, self.discarded = 0, [], None, 0
        self.error, self.over = error, False

    def write(self, data):
        assert self.ready is None, "written to while it waits"
        self.size += len(data)
        self.pieces.append(data)
        self.ready = Deferred()
        return self.ready

    def go_on(self):
        ready, self.ready = self.ready, None
        ready.callback(None)

    async def finish(self):
        if self.error is not None:
            raise self.error

    def discard(self):
        self.discarded += 1


class Heap:
    """A sink that counts, and is full after `most` bytes."""

    def __init__(self, most):
        self.size, self.discarded, self._most = 0, 0, most

    @property
    def over(self):
        return self.size > self._most

    def write(self, data):
        self.size += len(data)

    async def finish(self):
        if self.over:
            raise Full("no room left")

    def discard(self):
        self.discarded += 1


def file_of(case, size):
    """Make a file of that many random bytes; give its path and its content."""
    path, content = folder(case) / "file", os.urandom(size)
    path.write_bytes(content)
    return path, content
