"""A part of an open file as a stream."""

import os

from stor.errors import Damaged
from stor.streams.disk import Descriptor, disk
from stor.threads import Threads

_PIECE = 256 * 1024  # measured: smaller is slower, larger is no faster


class FilePart:
    """Bytes `start` to `stop` (exclusive) of a file that it owns; a `FileStream`, read in `threads`.

    Who sends `fd` from another thread than the reactor's must do it inside `with part.file:`.
    """

    def __init__(self, file: Descriptor, start: int, stop: int, threads: Threads) -> None:
        self.file, self.start, self.stop = file, start, stop
        self.length: int | None = stop - start
        self._at, self._threads, self._closed = start, threads, False

    @property
    def fd(self) -> int:
        """The descriptor; read it by pread or sendfile with an offset, for its position means nothing."""
        return self.file.fd

    async def read(self) -> bytes:
        """Give the next 256 KiB; raises Damaged when the file has become shorter."""
        if self._at == self.stop:
            return b""
        piece = await self._threads.run(_pread, self.file, min(_PIECE, self.stop - self._at), self._at)
        if not piece:
            raise Damaged("a file ended before its bytes did")
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """Let go of the file, in a thread: the last who closes a deleted file waits until it is erased."""
        if not self._closed:
            self._closed = True
            self._threads.afterwards(self.file.close)


def _pread(file: Descriptor, size: int, offset: int) -> bytes:
    with disk(), file as fd:
        return os.pread(fd, size, offset)
