"""One writer of a path at a time, within this process; between processes the store decides."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import DeferredLock

from stor.errors import Unavailable

MOST = 100
"""Writers of one path that may wait."""


class Locks:
    """A lock for each path that somebody holds or waits for."""

    def __init__(self) -> None:
        self._locks: dict[str, DeferredLock] = {}

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def hold(self, path: str) -> AsyncIterator[None]:
        """Wait for all who came before; Unavailable when there are too many."""
        lock = self._locks.setdefault(path, DeferredLock())
        if len(lock.waiting) >= MOST:
            raise Unavailable("too many writers of this file at once", 1.0)
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()
            if not lock.locked:
                self._locks.pop(path, None)
