"""The journal that needs nothing but a store: numbered segments, each claimed by whoever puts it first."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from secrets import token_hex

from stor.blobs.clocks import Clock, passed, sleepless
from stor.blobs.compactor import Compactor
from stor.blobs.journal import Follower
from stor.blobs.layout import Layout
from stor.blobs.packing import pack_segment, unpack_segment
from stor.blobs.records import Record, Segment
from stor.blobs.turns import Batch, Taken, Turns, choose
from stor.blobs.waiting import together
from stor.errors import Failed, Missing, PreconditionFailed, Unavailable
from stor.storage.promise import ABSENT, Store
from stor.streams import whole
from stor.threads import Threads

GRACE_SECONDS = 3600.0
MOST_RECORDS = 1000
"""In one segment."""
MOST_BYTES = 64 << 20
"""Of a segment; ours stay below 3 MB."""
WINDOW = 16
"""Segments that are read at once by who is far behind."""
ATTEMPTS = 2
"""Puts of a claim that is not answered."""
LOST = 100
"""Claims that may be lost one after the other; each was won by somebody else."""
RELOADS = 3


@dataclass(frozen=True, slots=True)
class _Claim:
    """A segment on its way; what became of it must be known before another one may have its number."""

    number: int
    segment: Segment
    data: bytes


class StoreJournal:
    """The promise of `Journal`, kept by segments and snapshots in a store."""

    def __init__(
        self,
        store: Store,
        layout: Layout,
        threads: Threads,
        *,
        grace: float = GRACE_SECONDS,
        clock: Clock = sleepless,
    ) -> None:
        self._store, self._layout = store, layout
        self._grace, self._clock = grace, clock
        self._compactor = Compactor(store, layout, threads, grace)
        self._turns = Turns(self._turn, MOST_RECORDS)
        self._me, self._claims = token_hex(8), count(1)
        self._log, self._position = "", 0
        self._looked = clock()
        self._owed: _Claim | None = None
        self._follower: Follower

    async def open(self, follower: Follower) -> None:
        """Read everything; see `Journal`."""
        self._follower = follower
        await self._reload()

    async def append(self, records: Sequence[Record]) -> list[bool]:
        """Append what fits; see `Journal`."""
        return await self._turns.append(records)

    async def tail(self) -> None:
        """Read what there is; see `Journal`."""
        await self._turns.ask()

    async def close(self) -> None:
        """Take no more; see `Journal`."""
        await self._turns.close()
        await self._compactor.idle()

    async def _turn(self, batch: Batch) -> Taken:
        """Claim a segment for what fits, or only look at the tail when there is nothing to claim.

        After a sleep nothing is believed; and before a claim it is settled what became of one that was never answered.
        """
        if self._slept():
            await self._reload()
        if batch:
            await self._settle_owed()
        looked = False
        for _ in range(LOST):
            chosen, taken = choose(batch, self._follower.fits)
            if chosen and (looked or all(map(all, taken))):
                if await self._claim(chosen):
                    return taken
            elif looked:
                return taken
            await self._catch_up()
            looked = True
        raise Unavailable("too many writers of the index at once", 1.0)

    def _slept(self) -> bool:
        """Tell whether a segment that we do not know may have been deleted already: its number looks free then."""
        return passed(self._looked, self._clock()) > self._grace / 2

    async def _claim(self, records: Sequence[Record]) -> bool:
        segment = Segment(self._log or token_hex(8), f"{self._me}-{next(self._claims)}", records)
        self._owed = _Claim(self._position + 1, segment, pack_segment(segment))
        return await self._place(self._owed)

    async def _place(self, claim: _Claim) -> bool:
        """Put the segment; when somebody else was first, take in theirs and tell that ours is not there."""
        began = self._clock()
        try:
            await self._put(claim)
        except PreconditionFailed:  # by somebody else; or by us, in an attempt that was never answered
            return await self._lost(claim)
        if self._slept():
            await self._reload()
            return False
        self._looked = began
        self._take_in(claim.number, claim.segment)
        self._compactor.consider(claim.number, self._follower)
        return True

    async def _put(self, claim: _Claim) -> None:
        key = self._layout.segment(claim.number)
        for left in reversed(range(ATTEMPTS)):
            try:
                await self._store.put(key, claim.data, content_type="application/json", when=ABSENT)
            except Unavailable:
                if not left:
                    raise
            else:
                return

    async def _lost(self, claim: _Claim) -> bool:
        there = await self._segment(claim.number)
        if there is None or self._log not in {"", there.log}:
            await self._reload()
            return False
        self._take_in(claim.number, there)
        return there.writer == claim.segment.writer

    async def _reload(self) -> None:
        """Begin with the newest snapshot, and read on from there."""
        await self._restart()
        await self._catch_up()

    async def _catch_up(self) -> None:
        """Read segments until there is none; begin again when they are of another log."""
        for _ in range(RELOADS):
            if await self._read_on():
                return
            await self._restart()
        raise Failed("the index has two logs: stop all processes but one, and start that one again")

    async def _restart(self) -> None:
        began = self._clock()
        state = await self._compactor.newest()
        self._looked = began
        self._log, self._position = state.log, state.position
        self._forget_owed()
        self._follower.reset(state)

    async def _read_on(self) -> bool:
        window = 1
        while True:
            began, first = self._clock(), self._position + 1
            found = await together(self._segment(number) for number in range(first, first + window))
            for number, segment in enumerate(found, first):
                if segment is None:
                    self._looked = began
                    return True
                if self._log not in {"", segment.log}:
                    return False
                self._take_in(number, segment)
            window = min(2 * window, WINDOW)

    def _take_in(self, number: int, segment: Segment) -> None:
        self._log, self._position = segment.log, number
        self._forget_owed()
        self._follower.apply(segment.log, number, segment.records)

    async def _settle_owed(self) -> None:
        owed = self._owed
        if owed is not None and (owed.number, owed.segment.log) == (self._position + 1, self._log or owed.segment.log):
            await self._place(owed)
        else:
            self._owed = None

    def _forget_owed(self) -> None:
        """A claim whose number somebody has, we or another, is owed no more."""
        if self._owed is not None and self._owed.number <= self._position:
            self._owed = None

    async def _segment(self, number: int) -> Segment | None:
        with suppress(Missing):
            found = await self._store.get(self._layout.segment(number))
            return unpack_segment(await whole(found.body, MOST_BYTES))
        return None
