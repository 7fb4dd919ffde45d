"""One listener's way along the changes of a tree, whatever carries them to it."""

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as Late

from stor.blobs.api.shapes import File, file
from stor.blobs.tenants import Lease
from stor.blobs.tree import Changes, Tree
from stor.errors import StorError

HEARTBEAT_SECONDS = 15.0
STALL_SECONDS = 60.0  # in which a reader must take something
MOST_SECONDS = 3600.0  # then it shows its credential again
PIECE = 500  # files in one event

Ended = str  # why a stream ends: time, slow, shutdown, error, or left


class Cursor(Struct, frozen=True, tag="cursor", tag_field="event"):
    """Where a listener without a cursor of its own begins."""

    cursor: str


class Some(Struct, frozen=True, tag="changes", tag_field="event"):
    """A part of what changed: files as they are now; more of the same follows."""

    files: dict[str, File]
    reset: bool


class Last(Struct, frozen=True, tag="changes", tag_field="event"):
    """The last part of what changed: now the cursor may be kept."""

    files: dict[str, File]
    cursor: str
    reset: bool


class End(Struct, frozen=True, tag="end", tag_field="event"):
    """The end, and why."""

    reason: Ended


Event = Cursor | Some | Last | End


class Listener:
    """Gives events one by one, at the reader's pace; holds a place and a tree until it is over.

    Between two events nothing is kept but a cursor, so a slow reader costs no memory: it hears of the latest state.
    """

    def __init__(self, lease: Lease, namespace: str, left: Callable[[], None], reactor: Any) -> None:
        self._lease, self._namespace, self._left, self._reactor = lease, namespace, left, reactor
        self._tree: Tree | None = None
        self._cursor = ""
        self._pending: Iterator[Event] = iter(())
        self._asked: Deferred[Changes] | None = None
        self._stall: Any = None
        self._until: Any = None
        self.ended: Ended | None = None
        self.told: Callable[[], None] = _nothing  # called once it has ended

    async def begin(self, since: str | None) -> None:
        """Begin behind the cursor `since`, or now; raises what keeps it from that, and is over then."""
        try:
            self._tree = tree = await self._lease.take()
            if since is None:
                since = (await tree.view(self._namespace)).cursor
                self._pending = iter([Cursor(since)])
        except BaseException:
            self.end("error")
            raise
        self._cursor = since
        self._until = self._reactor.callLater(MOST_SECONDS, self.end, "time")
        self._waits()

    async def next(self) -> Event | None:
        """Give the next event; None when there is none for a heartbeat. After an End comes nothing."""
        self._moves()
        event = next(self._pending, None)
        if event is None and self.ended is None:
            event = await self._news()
        if self.ended is not None:
            event = End(self.ended)
        self._waits()
        return event

    async def _news(self) -> Event | None:
        """Ask anew after each heartbeat: the cursor says all, so nothing is lost between two questions."""
        if self._tree is None:
            raise RuntimeError("a listener that has not begun")
        self._asked = Deferred.fromCoroutine(self._tree.changes(self._cursor, self._namespace))
        self._asked.addTimeout(HEARTBEAT_SECONDS, self._reactor)
        try:
            changes = await self._asked
        except Late:
            return None
        except CancelledError:
            if self.ended is None:
                raise
            return None
        except StorError:
            self.end("error")
            return None
        finally:
            self._asked = None
        self._cursor = changes.cursor
        self._pending = pieces(changes)
        return next(self._pending)

    def end(self, reason: Ended) -> None:
        """Be over, with this reason unless there was one before; what was held is given back at once."""
        if self.ended is not None:
            return
        self.ended = reason
        self._moves()
        if self._until is not None and self._until.active():
            self._until.cancel()
        self._lease.leave()
        self._left()
        if self._asked is not None:
            self._asked.cancel()
        self.told()

    def _waits(self) -> None:
        if self.ended is None:
            self._stall = self._reactor.callLater(STALL_SECONDS, self.end, "slow")

    def _moves(self) -> None:
        if self._stall is not None and self._stall.active():
            self._stall.cancel()
        self._stall = None


def _nothing() -> None:
    """Nobody wants to know."""


def pieces(changes: Changes) -> Iterator[Event]:
    """Cut changes into events; only the last has the cursor, so nobody resumes from the middle."""
    entries = changes.entries
    firsts = range(0, max(len(entries), 1), PIECE)
    for first in firsts:
        files = {entry.path: file(entry) for entry in entries[first : first + PIECE]}
        reset = changes.reset and first == 0
        yield Last(files, changes.cursor, reset) if first == firsts[-1] else Some(files, reset)
