"""Locks by key that hold for all threads and all processes that share a folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

_COUNT = 1024  # keys that share a lock wait for each other, no more


class Locks:
    """1024 files in `folder`; each holder opens one anew, so flock(2) parts threads as it does processes."""

    def __init__(self, folder: bytes) -> None:
        self._folder = folder

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Wait for the lock of `key`; a process that dies lets go."""
        name = b"%s/%03x" % (self._folder, crc32(key.encode()) % _COUNT)
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child forked just now has the same open file until its exec
            os.close(fd)
