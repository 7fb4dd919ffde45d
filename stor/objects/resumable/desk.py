"""What all who work on uploads share: objects, settings, and transactions at a moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from stor.database.promise import Transaction
from stor.objects.commits import Moment
from stor.objects.core import Objects
from stor.objects.ledger import Ledger
from stor.objects.receiving import Receiving
from stor.objects.records import Draft
from stor.objects.resumable.records import Upload
from stor.objects.resumable.rules import Checksum
from stor.objects.rules import MICROSECONDS
from stor.storage.promise import Store
from stor.streams.spool import Spool

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds, sizes in bytes.

    An upload expires `seconds` after its last piece began or ended; a tenant has at most `most` that are not finished.
    What comes in one piece of at most `direct_bytes` becomes an object without being kept as a part. Who asks for a
    finished upload waits up to `patience` for its object. It is damaged when a part was not as it was put for
    `damage_seconds`, at each try.
    """

    seconds: float = 86_400.0
    most: int = 100
    most_parts: int = 10_000
    direct_bytes: int = 16 << 20
    patience: float = 10.0
    damage_seconds: float = 600.0


class Desk:
    """Writes uploads down."""

    def __init__(self, objects: Objects, settings: Settings, reactor: Any) -> None:
        self.objects, self.settings, self.reactor = objects, settings, reactor
        self._ledger = Ledger(objects.database, objects.settings.lingers)

    @property
    def bounds(self) -> tuple[int, int]:
        """The most bytes that an upload may have, and the most parts."""
        return self.objects.settings.most_bytes, self.settings.most_parts

    def at(self, seconds: float = 0.0) -> int:
        """Give a time so many seconds from now, in microseconds since 1970."""
        return self.objects.now() + int(seconds * MICROSECONDS)

    def expires(self) -> int:
        """Give the time when an upload that is heard of now expires."""
        return self.at(self.settings.seconds)

    async def write(self, work: Callable[[Transaction, Moment], T]) -> T:
        """Run it in a transaction of its own, and tell it when that is."""
        return await self._ledger.write(work)

    async def commit(self, work: Callable[[Transaction, Moment], T]) -> T:
        """Run it like `write`; again when a key got another owner between its look and its write."""
        return await self._ledger.commit(work)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run it on one state."""
        return await self.objects.database.read(work)

    def store(self, draft: Draft) -> Store:
        """Give the store of a draft's class."""
        return self.objects.stores[draft.storage_class]

    def receive(self, upload: Upload, size: int) -> Receiving:
        """Give a place for the bytes of an upload that is there, on their way to its object."""
        return self.objects.receive(replace(upload.draft, upload=upload.id), size)

    def spool(self, draft: Draft, limit: int, checksum: Checksum | None) -> Spool:
        """Give a place for a piece of at most `limit` bytes."""
        names = ("sha256",) if checksum is None else ("sha256", checksum.algorithm)
        return self.store(draft).spool(limit, tuple(dict.fromkeys(names)))
