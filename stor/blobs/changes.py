"""Waiting for what changes after a cursor."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from stor.blobs.records import Record
from stor.blobs.replica import Replica
from stor.blobs.rules import Entry
from stor.blobs.view import Cursor
from stor.blobs.waiting import Waiters
from stor.errors import StorError

log = Logger()

POLL_SECONDS = 1.0
"""Between looks at the journal's tail, while somebody waits: other processes do not tell us of their writes."""

IDLE_SECONDS = 600.0
"""Between looks while nobody does: who looks seldomer than a journal's grace must read everything again."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed after a cursor, each path as it is now, in path order, paths relative to the namespace.

    `reset`: the cursor was too old or of another tree; `entries` is everything, and what is not in it is not there.
    """

    entries: list[Entry]
    cursor: str
    reset: bool


class Watch:
    """Lets callers wait for changes; looks for those of others often while somebody waits, else now and then."""

    def __init__(self, replica: Replica, fresh: Callable[[], Awaitable[None]], reactor: Any) -> None:
        self._replica, self._fresh = replica, fresh
        self._waiters: Waiters[None] = Waiters()
        self._reactor, self._looked = reactor, reactor.seconds()
        self._polls = LoopingCall(self._poll)
        self._polls.clock = reactor
        replica.listen(self._changed)

    def start(self) -> None:
        """Begin to look."""
        self._polls.start(POLL_SECONDS, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._polls.running:
            self._polls.stop()

    async def changes(self, since: str, namespace: str) -> Changes:
        """Give what changed after the cursor, waiting until there is something; BadRequest for what is no cursor."""
        cursor = Cursor.read(since)
        await self._fresh()
        while True:
            entries, reset = self._replica.changed(cursor, namespace)
            if entries or reset:
                return Changes(_relative(entries, namespace), str(self._replica.moment.now), reset)
            await self._waiters.wait()

    def _changed(self, records: Sequence[Record] | None) -> None:
        self._waiters.tell(None)

    async def _poll(self) -> None:
        if not len(self._waiters) and self._reactor.seconds() - self._looked < IDLE_SECONDS:
            return
        self._looked = self._reactor.seconds()
        try:
            await self._fresh()
        except StorError as why:
            log.debug("nobody can be told of changes now: {why}", why=str(why))


def _relative(entries: list[Entry], namespace: str) -> list[Entry]:
    if not namespace:
        return entries
    cut = len(namespace) + 1
    return [msgspec.structs.replace(entry, path=entry.path[cut:]) for entry in entries]
