"""Doomed copies on their way out of a store: claimed, unlinked, and only then their rows removed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger

from stor.database.promise import Database, Transaction
from stor.errors import StorError
from stor.objects import copies
from stor.objects.records import StorageClass
from stor.objects.rows import SKIP_LOCKED
from stor.objects.rules import MICROSECONDS
from stor.objects.several import together
from stor.storage.promise import Store

WIDTH = 16  # unlinks at once
CHUNK = 64  # copies in a claim
REST = 2.0  # times as long as a claim took: the disk and the store's threads are for uploads, too
CLAIM_SECONDS = 300.0  # afterwards another process may try as well, which does no harm
AGAIN_SECONDS = 300.0  # until a copy is tried again that could not be unlinked
SHORTEST, LONGEST = 15.0, 900.0  # seconds that a store is left alone that has unlinked nothing
# One statement sees one state. Who puts a hold there, and then reads the rows, finds no blob with a copy that is
# claimed here: had it been doomed after the hold was there, this statement would have seen the hold.
_DUE = (
    "SELECT copy FROM object_doomed WHERE due <= ? AND claimed_until <= ? AND class = ?"
    " AND NOT EXISTS (SELECT 1 FROM object_hold WHERE until > ?) ORDER BY due LIMIT ?"
)
_CLAIM = "UPDATE object_doomed SET claimed_until = ? WHERE copy = ?"
_GONE = "DELETE FROM object_doomed WHERE copy = ?"
_FAILED = "UPDATE object_doomed SET claimed_until = 0, due = ? WHERE copy = ?"
_UNTRIED = "UPDATE object_doomed SET claimed_until = 0 WHERE copy = ?"

log = Logger()


@dataclass(frozen=True, slots=True)
class Claim:
    """Copies that are ours to unlink; `wanted` are those that are not, for something refers to them: a mistake."""

    copies: Sequence[str]
    wanted: Sequence[str]


@dataclass(slots=True)
class Chunk:
    """What becomes of a claim; `untried` is what nobody has begun with."""

    untried: Iterator[str]
    gone: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    why: str = ""

    @property
    def is_hopeless(self) -> bool:
        """Whether the store has refused some and done none."""
        return bool(self.failed) and not self.gone


def claim(tx: Transaction, kind: str, storage_class: StorageClass, until: int, now: int) -> Claim:
    """Take copies that were due then, that nobody has claimed and nobody holds."""
    due = tx.execute(_DUE + SKIP_LOCKED[kind], (until, now, storage_class.value, now, CHUNK))
    claimed_until = now + int(CLAIM_SECONDS * MICROSECONDS)
    tx.many(_CLAIM, [(claimed_until, copy) for (copy,) in due])
    claimed = [copy for (copy,) in due]
    wanted = copies.wanted(tx, claimed)
    return Claim([copy for copy in claimed if copy not in wanted], sorted(wanted))


def account(tx: Transaction, chunk: Chunk, now: int) -> None:
    """Remove the rows of copies that are gone; the others are tried again, those that failed some time later."""
    tx.many(_GONE, [(copy,) for copy in chunk.gone])
    tx.many(_FAILED, [(now + int(AGAIN_SECONDS * MICROSECONDS), copy) for copy in chunk.failed])
    tx.many(_UNTRIED, [(copy,) for copy in chunk.untried])


class Unlinker:
    """Empties one store of what is doomed. A store that is away is left alone for a while, which is logged once."""

    def __init__(
        self, database: Database, storage_class: StorageClass, store: Store, now: Callable[[], int], reactor: Any
    ) -> None:
        self._database, self._class, self._store = database, storage_class, store
        self._now, self._reactor = now, reactor
        self._rests_until, self._patience = 0.0, 0.0

    async def run(self) -> int:
        """Unlink what is due by now and what nobody else has claimed; give how many copies are gone."""
        until, done = self._now(), 0
        while self._reactor.seconds() >= self._rests_until:
            mine = await self._database.write(
                partial(claim, kind=self._database.kind, storage_class=self._class, until=until, now=self._now())
            )
            for copy in mine.wanted:
                log.critical("{copy} is doomed, and something refers to it: it stays", copy=copy)
            if not mine.copies:
                break
            began = self._reactor.seconds()
            chunk = await self._unlink(mine.copies)
            await self._database.write(partial(account, chunk=chunk, now=self._now()))
            self._judge(chunk)
            done += len(chunk.gone)
            await deferLater(self._reactor, (self._reactor.seconds() - began) * REST)
        return done

    async def _unlink(self, claimed: Sequence[str]) -> Chunk:
        chunk = Chunk(iter(claimed))
        await together(self._unlink_some(chunk) for _ in range(min(WIDTH, len(claimed))))
        return chunk

    async def _unlink_some(self, chunk: Chunk) -> None:
        for copy in chunk.untried:
            try:
                await self._store.delete(copy)
            except StorError as why:
                chunk.failed.append(copy)
                chunk.why = str(why)
                if chunk.is_hopeless:
                    return
            else:
                chunk.gone.append(copy)

    def _judge(self, chunk: Chunk) -> None:
        if chunk.is_hopeless:
            if not self._patience:
                log.warn("the {kind} store unlinks nothing now: {why}", kind=self._class.value, why=chunk.why)
            self._patience = min(max(SHORTEST, self._patience * 2), LONGEST)
            self._rests_until = self._reactor.seconds() + self._patience
        elif self._patience:
            log.info("the {kind} store unlinks again", kind=self._class.value)
            self._patience = 0.0
