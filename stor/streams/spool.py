"""A body on its way in: in memory while it is small, then in a file, hashed as it comes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from stor.errors import StorError, TooLarge
from stor.streams.disk import disk
from stor.streams.temporary import Temporary
from stor.threads import Threads

SMALL = 64 * 1024  # bytes that stay in memory
_CHUNK = 256 * 1024  # bytes that are worth a thread
_MOST = 2 * 1024 * 1024  # bytes in memory; beyond them the sender waits
_PIECE = 1024 * 1024


class Spool:
    """A `Sink` for up to `limit` bytes; `digests` are names that hashlib knows.

    What is larger than 64 KiB is hashed and written in `threads`, into a file in `folder` (which is ours alone);
    what is smaller never sees one. After `finish`: `data` holds the bytes if they are in memory, else `file` does.
    """

    def __init__(self, folder: Path, limit: int, threads: Threads, digests: Sequence[str] = ("md5",)) -> None:
        self.size = 0
        self.digests: Mapping[str, str] = {}  # name -> lower-case hex, once it is finished
        self.data: bytes | None = None
        self.file: Temporary | None = None
        self._folder, self._limit, self._threads = folder, limit, threads
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in digests}
        self._buffer = bytearray()
        self._job: Deferred[Temporary] | None = None  # what a thread does for us now
        self._busy = 0  # bytes that it has
        self._written = 0  # bytes in the file
        self._wrong: BaseException | None = None
        self._room: Deferred[None] | None = None
        self._quiet: Deferred[None] | None = None

    @property
    def over(self) -> bool:
        """Whether `finish` will raise, so that nothing more need come."""
        return self._wrong is not None

    def write(self, data: bytes) -> Deferred[None] | None:
        """Take a piece; a Deferred means: no more before it fires."""
        self.size += len(data)
        if self._wrong is not None:
            return None  # the rest is drained, and `finish` says why
        if self.size > self._limit:
            self._drop(TooLarge(f"more than {self._limit} bytes"))
            return None
        self._buffer += data
        if len(self._buffer) >= _CHUNK and self._job is None:
            self._send()
        if self._busy + len(self._buffer) <= _MOST:
            return None
        self._room = self._room or Deferred()
        return self._room

    async def finish(self) -> None:
        """All has come; raises TooLarge, Full or Unavailable when it could not be kept. Then nothing is left of it."""
        if self.size > SMALL:
            while self._job is not None or (self._buffer and self._wrong is None):
                if self._job is None:
                    self._send()
                else:
                    self._quiet = Deferred()
                    await self._quiet
        if self._wrong is not None:
            raise self._wrong
        if self.size <= SMALL:
            self._hash(self._buffer)
            self.data, self._buffer = bytes(self._buffer), bytearray()
        self.digests = {name: digest.hexdigest() for name, digest in self._hashes.items()}

    def discard(self) -> None:
        """Forget it, at any time and any number of times; never waits."""
        self._drop(StorError("this body was discarded"))
        self.data = None

    def read_chunks(self, start: int = 0) -> Iterator[bytes]:
        """Give the bytes from `start`, 1 MiB at a time; for threads, since it waits for the disk."""
        if self.file is None:
            yield (self.data or b"")[start:]
            return
        while start < self.size:
            with disk(), self.file as fd:
                piece = os.pread(fd, min(_PIECE, self.size - start), start)
            start += len(piece)
            yield piece

    def _send(self) -> None:
        """Hand what has come to a thread; there is one at a time, for hashing has an order."""
        chunk, self._buffer = self._buffer, bytearray()
        self._busy = len(chunk)
        job = Deferred.fromCoroutine(self._threads.run(self._keep, self.file, chunk, self._written))
        self._job = job
        job.addCallbacks(self._sent, self._unsent)

    def _keep(self, file: Temporary | None, chunk: bytearray, offset: int) -> Temporary:
        """In a thread. The file is returned, not set: when nobody waits for it any more, it is closed."""
        self._hash(chunk)
        with disk():
            if file is not None:
                return file.write(chunk, offset)
            file = Temporary(self._folder)
            try:
                return file.write(chunk, offset)
            except BaseException:
                file.close()
                raise

    def _hash(self, data: bytearray) -> None:
        for digest in self._hashes.values():
            digest.update(data)

    def _sent(self, file: Temporary) -> None:
        self.file = file
        self._written += self._busy
        self._job, self._busy = None, 0
        if len(self._buffer) >= _CHUNK:
            self._send()
        self._wake()

    def _unsent(self, failure: Failure) -> None:
        self._job, self._busy = None, 0
        assert failure.value is not None  # noqa: S101 - a failure has a reason
        self._drop(failure.value)

    def _drop(self, why: BaseException) -> None:
        """Let go of everything, remember the first reason, and let nobody wait."""
        self._wrong = self._wrong or why
        self._buffer = bytearray()
        job, self._job = self._job, None
        if job is not None:
            job.cancel()  # a file that its thread makes yet is closed by `Threads`
        file, self.file = self.file, None
        if file is not None:
            self._threads.afterwards(file.close)
        self._wake()

    def _wake(self) -> None:
        room, quiet = self._room, self._quiet
        if room is not None and self._busy + len(self._buffer) <= _MOST // 2:
            self._room = None
            room.callback(None)
        if quiet is not None and self._job is None:
            self._quiet = None
            quiet.callback(None)
