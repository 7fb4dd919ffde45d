"""Snapshots of the log: written now and then, found again, and the segments they cover deleted much later."""

from collections.abc import Sequence
from secrets import token_hex

from twisted.logger import Logger

from stor.blobs.journal import Follower
from stor.blobs.layout import Layout, number_of
from stor.blobs.packing import MOST_BYTES, Damaged, pack_snapshot, unpack_snapshot
from stor.blobs.records import State
from stor.blobs.waiting import Waiters, shielded, spread
from stor.errors import Failed, Missing, PreconditionFailed, StorError
from stor.storage.promise import ABSENT, Listed, Store
from stor.streams import whole
from stor.threads import Threads

log = Logger()

STEP = 256
LARGEST_STEP = 4096
OVERDUE = 4
"""Steps without a snapshot, after which it is anybody's to write."""
WIDTH = 8
"""Deletes at once."""


def step(entries: int) -> int:
    """Give the number of segments between two snapshots of an index with so many entries."""
    return min(STEP << (max(entries - 1, 0) // 10_000).bit_length(), LARGEST_STEP)


class Compactor:
    """Writes a snapshot when one is due, in the background, one at a time."""

    def __init__(self, store: Store, layout: Layout, threads: Threads, grace: float) -> None:
        self._store, self._layout, self._threads, self._grace = store, layout, threads, grace
        self._known = 0
        self._busy = False
        self._done: Waiters[None] = Waiters()

    def consider(self, number: int, follower: Follower) -> None:
        """After segment `number` was claimed by us and applied: begin a snapshot of it when that is ours to do."""
        size = step(len(follower))
        if not self._busy and (number % size == 0 or number - self._known >= OVERDUE * size):
            self._busy = True
            shielded(self._compact(follower.state()))

    async def idle(self) -> None:
        """Wait until no snapshot is being written."""
        if self._busy:
            await self._done.wait()

    async def newest(self) -> State:
        """Give the newest state from which the log goes on; with nothing to go on from, begin the log anew."""
        while True:
            snapshots = await self._snapshots()
            numbers = [*sorted(map(_number, snapshots), reverse=True), 0]
            for number in numbers:
                state = await self._read(number)
                if state is not None and await self._goes_on(state, top=numbers[0]):
                    self._known = number
                    return state
            if snapshots == await self._snapshots():
                return await self._begin_anew(numbers[0])

    async def write(self, state: State) -> None:
        """Put the snapshot, and delete what an old one has covered for long enough."""
        key = self._layout.snapshot(state.position)
        try:
            data = await self._threads.run(pack_snapshot, state)
            await self._store.put(key, data, when=ABSENT)
        except PreconditionFailed:
            log.debug("somebody else wrote the snapshot {key}", key=key)
        self._known = state.position
        await self._clean()

    async def _compact(self, state: State) -> None:
        try:
            await self.write(state)
        except StorError as why:
            log.warn("the index's snapshot {n} was not written: {why}", n=state.position, why=str(why))
        finally:
            self._busy = False
            self._done.tell(None)

    async def _clean(self) -> None:
        """Delete what is covered by a snapshot that is older than the newest one by the grace, by the store's clock."""
        snapshots = await self._snapshots()
        latest = max(each.modified for each in snapshots)
        old = max((_number(each) for each in snapshots if each.modified <= latest - self._grace), default=0)
        await self._delete([each.key for each in snapshots if _number(each) < old])
        async for page in self._store.list(self._layout.log):
            covered = [each.key for each in page if _number(each) <= old]
            await self._delete(covered)
            if len(covered) < len(page):
                return

    async def _delete(self, keys: Sequence[str]) -> None:
        await spread(self._store.delete, keys, WIDTH)

    async def _snapshots(self) -> list[Listed]:
        pages = [page async for page in self._store.list(self._layout.snapshots)]
        return [each for page in pages for each in page if _number(each) > 0]

    async def _read(self, number: int) -> State | None:
        """Read a snapshot; None when it has gone meanwhile, or is damaged."""
        if not number:
            return State()
        try:
            found = await self._store.get(self._layout.snapshot(number))
            return await self._threads.run(unpack_snapshot, await whole(found.body, MOST_BYTES))
        except Missing:
            return None
        except Damaged as why:
            log.warn("snapshot {n}: {why}", n=number, why=str(why))
            return None

    async def _goes_on(self, state: State, top: int) -> bool:
        """Tell whether the log continues the state without a gap, at least to where the newest snapshot was."""
        last = state.position
        async for page in self._store.list(self._layout.log, after=self._layout.segment(state.position)):
            for number in map(_number, page):
                if number != last + 1:
                    return False
                last = number
                if last >= top:
                    return True
        return last >= top

    async def _begin_anew(self, top: int) -> State:
        """Put a snapshot of nothing beyond all that is there."""
        async for page in self._store.list(self._layout.log):
            top = max([top, *map(_number, page)])
        log.critical("the index's log has a gap: it is begun anew at {n}, from the objects", n=top + 1)
        state = State(log=token_hex(8), position=top + 1)
        data = await self._threads.run(pack_snapshot, state)
        try:
            await self._store.put(self._layout.snapshot(top + 1), data, when=ABSENT)
        except PreconditionFailed:
            raise Failed("another process is beginning the index anew; start again when it has") from None
        self._known = state.position
        return state


def _number(listed: Listed) -> int:
    return number_of(listed.key)
