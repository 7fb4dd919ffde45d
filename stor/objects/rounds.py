"""Going through everything, page by page, again and again: how far it has come is kept, so that a restart goes on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from twisted.internet.task import LoopingCall, deferLater

from stor.database.promise import Database, Transaction
from stor.errors import StorError
from stor.objects.rows import FOR_UPDATE
from stor.objects.rules import MICROSECONDS

NOTE_SECONDS = 5.0
"""How often it is written down how far a round has come."""
LEASE_SECONDS = 120.0
"""A round of which so long nothing was heard is taken over by another process."""

_PLACE = "SELECT position, updated_at FROM object_round WHERE name = ?"
_FIRST = "INSERT INTO object_round (name, position, updated_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING name"
_MOVE = "UPDATE object_round SET position = ?, updated_at = ? WHERE name = ? AND position = ? RETURNING name"


class Place(msgspec.Struct, frozen=True):
    """Whose round it is, when it began (microseconds since 1970), and beyond what it goes on; None: it has ended."""

    node: str
    began: int
    after: str | None = ""

    def text(self) -> str:
        """Give it as it is kept."""
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True, slots=True)
class Step:
    """A page that is done: all up to `after`; and the seconds to rest before the next."""

    after: str
    rest: float = 0.0


Walk = Callable[[str], AsyncGenerator[Step, None]]


class Round:
    """One of those who go round: begins at most every `period` seconds, and is done by one process at a time.

    `walk(after)` does the work, from what comes beyond `after`. A page may be done twice, when a process dies.
    """

    def __init__(
        self, name: str, walk: Walk, period: float, node: str, database: Database, now: Callable[[], int], reactor: Any
    ) -> None:
        self._name, self._walk, self._period, self._node = name, walk, period, node
        self._database, self._now, self._reactor = database, now, reactor
        self._at = self._noted = Place(node, 0)
        self._is_lost = False  # another process goes on with it

    async def run(self) -> bool:
        """Go on with the round until it has ended; False when there is none to do, or another process does it."""
        place = await self._database.write(partial(self._take, now=self._now()))
        if place is None:
            return False
        self._at = self._noted = place
        self._is_lost = False
        notes = LoopingCall(self._note)
        notes.clock = self._reactor
        noting = notes.start(NOTE_SECONDS, now=False)
        try:
            await self._go()
        finally:
            notes.stop()
            await noting
        return not self._is_lost and await self._move(Place(self._node, place.began, None))

    async def _go(self) -> None:
        async with aclosing(self._walk(self._at.after or "")) as steps:
            async for step in steps:
                self._at = Place(self._node, self._at.began, step.after)
                await deferLater(self._reactor, step.rest)
                if self._is_lost:
                    return

    async def _note(self) -> None:
        """Also says, in a step that takes long, that we live."""
        with suppress(StorError):  # then it is said the next time
            self._is_lost = not await self._move(self._at)

    async def _move(self, place: Place) -> bool:
        """Write down how far we have come; False when another process has taken over."""
        moved = await self._database.write(
            partial(_move, name=self._name, old=self._noted.text(), new=place.text(), now=self._now())
        )
        self._noted = place
        return moved

    def _take(self, tx: Transaction, now: int) -> Place | None:
        """Find out from where it is ours to go on, and say that we do."""
        mine = Place(self._node, now)
        found = tx.execute(_PLACE + FOR_UPDATE[self._database.kind], (self._name,))
        if not found:
            return mine if tx.execute(_FIRST, (self._name, mine.text(), now)) else None
        ((text, heard),) = found
        place = msgspec.json.decode(text, type=Place)
        if place.after is None:
            if now < place.began + int(self._period * MICROSECONDS):
                return None
        elif place.node == self._node or now > heard + int(LEASE_SECONDS * MICROSECONDS):
            mine = Place(self._node, place.began, place.after)
        else:
            return None
        _move(tx, self._name, text, mine.text(), now)
        return mine


def _move(tx: Transaction, name: str, old: str, new: str, now: int) -> bool:
    return bool(tx.execute(_MOVE, (new, now, name, old)))
