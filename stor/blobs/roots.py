"""What all that works on one tree stands on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stor.blobs.files import Files
from stor.blobs.history import History
from stor.blobs.journal import Journal
from stor.blobs.locks import Locks
from stor.blobs.metrics import Metrics
from stor.blobs.replica import Replica
from stor.blobs.settling import Settler


@dataclass(frozen=True, slots=True)
class Roots:
    """One tree's objects, its index, and what keeps the two together; `most` is how many files it may have."""

    files: Files
    replica: Replica
    journal: Journal
    settler: Settler
    history: History
    locks: Locks
    metrics: Metrics
    most: int
    now: Callable[[], float]  # seconds since 1970
    reactor: Any

    async def settle(self, path: str) -> None:
        """Make the index show what the path's object says."""
        async with self.locks.hold(path):
            before = self.replica.get(path)
            await self.settler.settle(path)
            self.metrics.corrections.inc(self.replica.get(path) is not before)

    async def fresh(self) -> None:
        """Let the index show all that any process had acknowledged when this was called."""
        began = self.reactor.seconds()
        await self.journal.tail()
        self.metrics.tails.observe(self.reactor.seconds() - began)
