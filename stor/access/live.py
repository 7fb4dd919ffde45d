"""The live API keys of a database, all in memory, so that a request need not wait."""

from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import CLOCK_BOOTTIME, clock_gettime, time
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Gauge
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from stor.access import rows
from stor.access.key import Key, prefix_of
from stor.access.offers import Offer
from stor.access.principal import Principal
from stor.access.sharing import Rounds
from stor.database.promise import Database, Transaction
from stor.errors import Unavailable

log = Logger()

READ_EVERY = 2.0  # seconds
READ_SECONDS = 1.5  # a read may take
FRESH_SECONDS = 4.0  # what was read is believed; longer than the two above together, less than the 5 that we promise
TRUST_SECONDS = 60.0  # and for as long as this, while the database is away
WRITE_EVERY = 60.0  # seconds, the times of last use


class _Held(NamedTuple):
    principal: Principal
    expires: float
    id: str


def _boottime() -> float:
    """Seconds that nobody can set, and that go on while the machine sleeps."""
    return clock_gettime(CLOCK_BOOTTIME)


class LiveKeys(Service):
    """Finds keys at once, and notes when they were used.

    A change by any process is known here within 5 seconds, one by this process at once. While the database is away,
    what was read last is believed for a minute; then nobody can be let in by a key (Unavailable).
    """

    def __init__(
        self,
        database: Database,
        registry: CollectorRegistry,
        reactor: Any,
        *,
        wall: Callable[[], float] = time,
        steady: Callable[[], float] = _boottime,
    ) -> None:
        self._database, self._reactor, self._wall, self._steady = database, reactor, wall, steady
        self._held: dict[bytes, _Held] = {}
        self._used: dict[str, float] = {}
        self._revision: int | None = None
        self._changes = 0  # that we made ourselves
        self._read_at = self._believed_until = -inf
        self._rounds = Rounds(self._read)
        self._loops = [LoopingCall(self._tick), LoopingCall(self._write_used)]
        for loop in self._loops:
            loop.clock = reactor
        Gauge("stor_access_keys", "API keys that can be used now.", registry=registry).set_function(self.__len__)

    def __len__(self) -> int:
        return len(self._held)

    def startService(self) -> Deferred[None]:
        """Fire when all keys are in memory; Unavailable when they cannot be read."""
        super().startService()
        return Deferred.fromCoroutine(self._begin())

    def stopService(self) -> Deferred[None]:
        """Write down when keys were used last."""
        super().stopService()
        for loop in self._loops:
            if loop.running:
                loop.stop()
        return Deferred.fromCoroutine(self._end())

    # ---- Who comes with a key

    def find(self, digest: bytes, /) -> Principal | None:
        """Give the principal of this key; None too when we must `ask` first, because what we know is old."""
        held = self._held.get(digest)
        if held is None:
            return None
        now = self._wall()
        if now >= held.expires or self._steady() > self._believed_until:
            return None
        self._used[held.id] = now
        return held.principal

    def was_good(self, offer: Offer) -> bool:
        """Tell whether this was a key when we looked last, however long ago."""
        return offer.digest in self._held

    def concerns(self, offer: Offer) -> bool:
        """Tell whether this looks like one of our keys; if it is not in memory, it may have been made a moment ago."""
        return offer.scheme != "basic" and prefix_of(offer.text) is not None

    async def ask(self, offer: Offer) -> Principal | None:
        """Look into the database and find it then; Unavailable when it cannot be known."""
        try:
            await self._rounds.after()
        except Unavailable:
            if (found := self.find(offer.digest)) is not None:
                return found
            raise
        return self.find(offer.digest)

    # ---- What is done with a key here

    def changed(self, key: Key) -> None:
        """Know at once what this process has written."""
        self._changes += 1
        self._take(key)

    def last_use(self, key_id: str) -> float | None:
        """Give when the key with this id was used, where that has not been written yet (seconds since 1970)."""
        return self._used.get(key_id)

    # ---- What the database knows

    async def _begin(self) -> None:
        await self._rounds.after()
        for loop, seconds in zip(self._loops, (READ_EVERY, WRITE_EVERY), strict=True):
            loop.start(seconds, now=False)

    async def _end(self) -> None:
        if self._rounds.running:
            with suppress(Unavailable):
                await self._rounds.now()
        await self._write_used()

    async def _tick(self) -> None:
        try:
            await self._rounds.after()
        except Unavailable as why:
            log.warn("the API keys cannot be read: {why}", why=str(why))

    async def _read(self) -> None:
        """One round: all changes since the last one. Unavailable when that fails or takes too long."""
        try:
            await Deferred.fromCoroutine(self._catch_up()).addTimeout(READ_SECONDS, self._reactor)
        except Exception as why:  # whatever it was: what we know grows old, and that is taken care of
            self._believed_until = min(self._read_at + TRUST_SECONDS, self._steady() + FRESH_SECONDS)
            if not isinstance(why, Unavailable | TooLate):
                log.failure("the API keys cannot be read")
            raise Unavailable("API keys cannot be looked up now", retry_after=1) from why

    async def _catch_up(self) -> None:
        is_more = True
        while is_more:
            began, changes = self._steady(), self._changes
            found, reached, is_all = await self._database.read(self._news)
            if changes != self._changes:  # it may not show what we did meanwhile
                continue
            if is_all:
                self._held.clear()
            for key in found:
                self._take(key)
            self._revision = reached
            is_more = not is_all and len(found) == rows.BATCH
        self._read_at, self._believed_until = began, began + FRESH_SECONDS

    def _news(self, transaction: Transaction) -> tuple[list[Key], int, bool]:
        """What is new, up to which revision, and whether it is all there is; all when a backup was put back."""
        top, since = rows.revision(transaction), self._revision
        if since is None or top < since:
            return rows.live(transaction, self._now()), top, True
        return *rows.changed(transaction, since), False

    def _take(self, key: Key) -> None:
        digest = bytes.fromhex(key.digest)
        expires = inf if key.expires_at is None else key.expires_at / 1_000_000
        if key.revoked_at is not None or expires <= self._wall():
            self._held.pop(digest, None)
        else:
            self._held[digest] = _Held(key.principal, expires, key.id)

    async def _write_used(self) -> None:
        """Note the last uses, all in one transaction; and forget keys that have expired."""
        now = self._wall()
        for digest in [digest for digest, held in self._held.items() if held.expires <= now]:
            del self._held[digest]
        used, self._used = self._used, {}
        times = [(key_id, int(seconds * 1_000_000)) for key_id, seconds in used.items()]
        if not times:
            return
        try:
            await self._database.write(lambda transaction: rows.used(transaction, times))
        except Exception as why:  # noqa: BLE001 - whatever it was: the next round tries again, and must come
            self._used = used | self._used
            log.warn("the last uses of API keys cannot be written: {why}", why=str(why))

    def _now(self) -> int:
        return int(self._wall() * 1_000_000)
