"""Group commit: one append on its way at a time, and what comes meanwhile rides together in the next."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from stor.blobs.records import Namespace, Record
from stor.blobs.waiting import Waiters
from stor.errors import Unavailable

Batch = Sequence[Sequence[Record]]
"""What each of those who append together wants in."""
Taken = list[list[bool]]
"""Of each of them, which records were taken."""


@dataclass(slots=True)
class _Appending:
    records: Sequence[Record]
    done: Deferred[list[bool]]


class Turns:
    """Calls `turn` again and again, one call at a time, for as long as somebody appends or asks.

    `turn` is given the records of all who came since the last one (at most `most` records, unless one alone brings
    more) and tells which were taken; when it returns, those who asked to be up to date before it began are. So a
    turn with an empty batch must look at the journal, and one with a batch must have, whatever comes of it.
    """

    def __init__(self, turn: Callable[[Batch], Awaitable[Taken]], most: int) -> None:
        self._turn, self._most = turn, most
        self._appending: list[_Appending] = []
        self._asking: Waiters[None] = Waiters()
        self._idle: Waiters[None] = Waiters()
        self._working = self._closed = False

    async def append(self, records: Sequence[Record]) -> list[bool]:
        """Wait for the turn that appends them."""
        appending = _Appending(records, Deferred())
        self._appending.append(appending)
        self._go_on()
        return await appending.done

    async def ask(self) -> None:
        """Wait for a turn that begins after this call."""
        asking = self._asking.wait()
        self._go_on()
        await asking

    async def close(self) -> None:
        """Let the turn that runs end; who waits for a later one, or comes later, gets Unavailable."""
        self._closed = True
        if self._working:
            await self._idle.wait()

    def _go_on(self) -> None:
        if not self._working:
            self._working = True
            Deferred.fromCoroutine(self._work())

    async def _work(self) -> None:
        while self._appending or len(self._asking):
            await self._one()
        self._working = False
        self._idle.tell(None)

    async def _one(self) -> None:
        batch, asking = self._take(), self._asking
        self._asking = Waiters()
        try:
            if self._closed:
                raise Unavailable("the index is closed", 1.0)  # noqa: TRY301 - told to all who wait, like any failure
            taken = await self._turn([each.records for each in batch])
        except Exception:  # noqa: BLE001 - whoever waits raises it
            failure = Failure()
            for each in batch:
                _tell(each.done, failure)
            asking.tell(failure)
        else:
            for each, outcome in zip(batch, taken, strict=True):
                _tell(each.done, outcome)
            asking.tell(None)

    def _take(self) -> list[_Appending]:
        size, batch = 0, list[_Appending]()
        for each in self._appending:
            size += len(each.records)
            if batch and size > self._most:
                break
            batch.append(each)
        del self._appending[: len(batch)]
        return batch


def choose(batch: Batch, fits: Callable[[Record], bool]) -> tuple[list[Record], Taken]:
    """Give the records of a batch that fit, of each path only the first one, and which those are."""
    chosen, paths = list[Record](), set[str]()

    def take(record: Record) -> bool:
        if not isinstance(record, Namespace):
            if record.path in paths or not fits(record):
                return False
            paths.add(record.path)
        chosen.append(record)
        return True

    return chosen, [[take(record) for record in records] for records in batch]


def _tell(waiter: Deferred[Any], result: Any) -> None:
    """Tell somebody who may have left."""
    if not waiter.called:
        waiter.callback(result)
