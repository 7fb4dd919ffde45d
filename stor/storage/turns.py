"""One after another, for each key: where the store itself cannot compare, at least we do not race ourselves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import DeferredLock


class Turns:
    """Locks by key, which exist while somebody wants them."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[DeferredLock, int]] = {}

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Wait for the turn of `key`."""
        lock, wanted = self._locks.get(key, (DeferredLock(), 0))
        self._locks[key] = lock, wanted + 1
        try:
            await lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            lock, wanted = self._locks[key]
            if wanted == 1:
                del self._locks[key]
            else:
                self._locks[key] = lock, wanted - 1
