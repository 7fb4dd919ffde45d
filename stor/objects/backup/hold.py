"""While a hold is in the database, no copy and no blob is removed; it ends by itself when its owner dies."""

import secrets
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from stor.database.promise import Database, Transaction
from stor.errors import StorError, Unavailable
from stor.objects.rules import MICROSECONDS

SECONDS = 600.0  # far more than clocks of machines may differ
_DAY = 86400 * MICROSECONDS

log = Logger()


class Hold:
    """A row that is renewed as long as this process lives."""

    def __init__(self, database: Database, now: Any, reactor: Any) -> None:
        self._database, self._now, self._reactor = database, now, reactor
        self._id = secrets.token_hex(10)
        self._good_until = 0.0
        self._renewal = LoopingCall(self._renew)
        self._renewal.clock = reactor

    async def take(self) -> None:
        """From when this returns, what transactions find from now on stays where it is."""
        began = self._reactor.seconds()
        await self._database.write(self._insert)
        self._good_until = began + SECONDS
        self._renewal.start(SECONDS / 10, now=False)

    def check(self) -> None:
        """Raise Unavailable when it was lost, so that something may have been removed meanwhile."""
        if self._reactor.seconds() > self._good_until:
            raise Unavailable("the database was away for so long that the hold on the store ended; begin again")

    async def let_go(self) -> None:
        """End it; should that fail, it ends by itself."""
        if self._renewal.running:
            self._renewal.stop()
        try:
            await self._database.write(self._delete)
        except StorError:
            log.warn("the hold on the store could not be let go, it ends within {seconds} s", seconds=SECONDS)

    def _renew(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._renew_once())

    async def _renew_once(self) -> None:
        began = self._reactor.seconds()
        try:
            held = await self._database.write(self._update)
        except StorError as why:
            log.warn("the hold on the store could not be renewed: {why}", why=why)
            return
        if held and began <= self._good_until:
            self._good_until = began + SECONDS

    def _until(self) -> int:
        return int(self._now() + SECONDS * MICROSECONDS)

    def _insert(self, tx: Transaction) -> None:
        tx.execute("DELETE FROM object_hold WHERE until < ?", (self._now() - _DAY,))
        tx.execute("INSERT INTO object_hold (id, until) VALUES (?, ?)", (self._id, self._until()))

    def _update(self, tx: Transaction) -> bool:
        return bool(tx.execute("UPDATE object_hold SET until = ? WHERE id = ? RETURNING id", (self._until(), self._id)))

    def _delete(self, tx: Transaction) -> None:
        tx.execute("DELETE FROM object_hold WHERE id = ?", (self._id,))
