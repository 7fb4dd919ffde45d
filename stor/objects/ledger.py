"""Transactions of the object store, each told when it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time
from typing import TypeVar

from stor.database.promise import Database, Transaction
from stor.errors import Conflict, PreconditionFailed, Unavailable
from stor.objects.commits import Moment
from stor.objects.records import StorageClass
from stor.objects.rules import MICROSECONDS

T = TypeVar("T")
TRIES = 8  # for what others change between two looks at it


class Ledger:
    """Where it is written down who refers to what; `lingers` of doomed copies are seconds, by class."""

    def __init__(self, database: Database, lingers: Mapping[StorageClass, float]) -> None:
        self.database = database
        self._lingers = {each: int(lingers.get(each, 0.0) * MICROSECONDS) for each in StorageClass}

    def now(self) -> int:
        """Give the time in microseconds since 1970."""
        return int(time() * MICROSECONDS)

    async def write(self, work: Callable[[Transaction, Moment], T]) -> T:
        """Run a work in a transaction of its own, durable when this returns; see `Database.write`."""
        at = Moment(self.database.kind, self.now(), self._lingers)
        return await self.database.write(lambda tx: work(tx, at))

    async def commit(self, work: Callable[[Transaction, Moment], T]) -> T:
        """Write; again when another process took the key between our look and our write."""
        for _ in range(TRIES):
            try:
                return await self.write(work)
            except Conflict as why:
                if why.code is not None or isinstance(why, PreconditionFailed):
                    raise
        raise Unavailable("too many write to this key at once", retry_after=0.1)
