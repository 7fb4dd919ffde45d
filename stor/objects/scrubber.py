"""The scrubber: hashes everything that is stored, slowly, so that damage is found before the bytes are needed."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from time import perf_counter
from typing import Any

from twisted.logger import Logger

from stor.database.promise import Transaction
from stor.errors import Full, Unavailable
from stor.objects.core import Objects
from stor.objects.every import Every
from stor.objects.outage import unless_away
from stor.objects.pace import REST
from stor.objects.records import Blob
from stor.objects.rounds import Round, Step
from stor.objects.rows import BLOB, blob_of
from stor.objects.rules import MICROSECONDS

LOOK_SECONDS = 60.0  # between two looks whether a round is due
DAY_SECONDS = 86400.0
_PAGE = 64  # blobs; with 64 KiB in each row it is 4 MiB
_NEXT = f"SELECT {BLOB}, object_blob.checked_at FROM object_blob WHERE id > ? ORDER BY id LIMIT ?"

log = Logger()


@dataclass(frozen=True, slots=True)
class ScrubSettings:
    """`rate` in bytes a second; `days` in which everything should have been hashed, if the rate allows it."""

    rate: float = 8 << 20
    days: float = 30.0


@dataclass(frozen=True, slots=True)
class Page:
    """The next blobs: the id of the last, how many bytes were hashed at once, and which are to be verified."""

    last: int
    size: int
    blobs: Sequence[Blob]


class Scrubber(Every):
    """Goes through all blobs by their ids; what is wrong is marked, put aside, counted and logged by `Objects`.

    A round begins twice in `days` at most, and passes over copies that were hashed since half of that: so each is
    hashed once in `days`, and none of those that are fresh or were read twice. Bytes in the database are hashed where
    they are read; that they were is not written down, which would write all of them again.
    """

    def __init__(self, objects: Objects, settings: ScrubSettings, reactor: Any) -> None:
        super().__init__(LOOK_SECONDS, self._look, reactor)
        self._objects, self._settings = objects, settings
        self._period = settings.days * DAY_SECONDS / 2
        self._round = Round("scrub", self._walk, self._period, objects.node, objects.database, objects.now, reactor)

    async def _look(self) -> None:
        await self._round.run()

    async def _walk(self, after: str) -> AsyncGenerator[Step, None]:
        last = int(after or 0)
        while True:
            fresh = self._objects.now() - int(self._period * MICROSECONDS)
            began = perf_counter()
            page = await self._objects.database.read(partial(next_page, after=last, fresh=fresh))
            if page is None:
                return
            for blob in page.blobs:
                await self._verify(blob)
                yield self._step(blob.id, 0 if blob.copy is None else blob.size, began)
                began = perf_counter()
            last = page.last
            yield self._step(last, page.size, began)

    async def _verify(self, blob: Blob) -> None:
        """Go past what cannot be read: the next round tries it again. Raises Unavailable when its store is away."""
        try:
            await self._objects.verify(blob)
        except (Unavailable, Full) as why:
            await unless_away(self._objects, blob.storage_class, why)
            self._objects.metrics.unreadable.inc()
            self._log(blob, str(why))

    def _log(self, blob: Blob, why: str) -> None:
        words = "the {kind} blob sha256:{digest} cannot be read: {why}"
        log.error(words, kind=blob.storage_class, digest=blob.digest, why=why)

    def _step(self, last: int, size: int, began: float) -> Step:
        took = perf_counter() - began
        return Step(str(last), max(size / self._settings.rate - took, took * REST[self._objects.kind]))


def next_page(tx: Transaction, after: int, fresh: int) -> Page | None:
    """Read the next blobs and hash those that are in the rows; copies that were hashed after `fresh` are left out."""
    rows = tx.execute(_NEXT, (after, _PAGE))
    if not rows:
        return None
    size, blobs = 0, []
    for *columns, checked_at in rows:
        blob = blob_of(tuple(columns))
        if blob.damage is not None:
            continue
        if blob.data is not None:
            size += blob.size
            if sha256(blob.data).hexdigest() != blob.digest:
                blobs.append(blob)
        elif checked_at <= fresh:
            blobs.append(blob)
    return Page(rows[-1][0], size, blobs)
