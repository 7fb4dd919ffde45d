"""The index as the older software reads it, written a little behind the truth, and never back."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from stor.blobs.records import Namespace, Record
from stor.blobs.roots import Roots
from stor.blobs.view import Cursor, View
from stor.blobs.waiting import Waiters, spread
from stor.errors import BadRequest, Missing, PreconditionFailed, StorError
from stor.storage.promise import ABSENT, Info

log = Logger()

OWN_SECONDS = 1.0
"""After a change of ours."""
OTHER_SECONDS = 5.0
"""After somebody else's, who will have written it; but may have died before."""
LONGEST = 10.0
SHARE = 20
"""A write that took a second is followed by so many of rest, but no more than LONGEST."""
WIDTH = 4
TRIES = 3
_COVERS = "index-position"


@dataclass(slots=True)
class _Index:
    """When one index is to be written again, how long it must rest, and what we know to be there, of which view."""

    due: float | None = None
    rests_until: float = 0.0
    etag: str | None = None
    shows: str = ""


class Behind:
    """Writes `.sync-index.json` of the tree, and of the namespaces that have one, after changes."""

    def __init__(self, roots: Roots) -> None:
        self._store, self._layout = roots.files.store, roots.files.layout
        self._replica, self._journal = roots.replica, roots.journal
        self._metrics, self._reactor = roots.metrics, roots.reactor
        self._indexes: dict[str, _Index] = {}
        self._timer: IDelayedCall | None = None
        self._idle: Waiters[None] = Waiters()
        self._working = False
        self._running = False
        self._stops = 0.0

    def start(self) -> None:
        """Follow the replica, and begin with all indexes: the last process may have died before it wrote them."""
        self._running = True
        self._replica.listen(self._changed)
        self._changed(None)

    async def stop(self) -> None:
        """Write what is due, and no more; one that fails stops no other, unless the store is away for long."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._working:
            await self._idle.wait()
        self._stops = self._reactor.seconds()
        due = [name for name, each in self._indexes.items() if each.due is not None]
        with suppress(StorError):
            await spread(self._write_last, due, WIDTH)

    def hurry(self, path: str) -> None:
        """A write of ours has changed this path: its indexes are due soon."""
        for name in self._over(path):
            self._due(name, OWN_SECONDS)

    def _changed(self, records: Sequence[Record] | None) -> None:
        if not self._running:
            return
        if records is None:
            for name in ("", *self._replica.namespaces):
                self._due(name, OWN_SECONDS)
            return
        for record in records:
            if isinstance(record, Namespace):
                self._due(record.name, OTHER_SECONDS)
            else:
                for name in self._over(record.path):
                    self._due(name, OTHER_SECONDS)

    def _over(self, path: str) -> list[str]:
        """Give the namespaces that have an index and this path below them; the whole tree is one."""
        found, end = [""], path.find("/")
        while end >= 0:
            if path[:end] in self._replica.namespaces:
                found.append(path[:end])
            end = path.find("/", end + 1)
        return found

    def _due(self, name: str, seconds: float) -> None:
        index = self._indexes.setdefault(name, _Index())
        due = max(self._reactor.seconds() + seconds, index.rests_until)
        if index.due is None or due < index.due:
            index.due = due
            self._arm(due)

    def _arm(self, due: float) -> None:
        if self._working or not self._running:
            return
        wait = max(due - self._reactor.seconds(), 0.0)
        if self._timer is None:
            self._timer = self._reactor.callLater(wait, self._begin)
        elif due < self._timer.getTime():
            self._timer.reset(wait)

    def _begin(self) -> None:
        self._timer = None
        self._working = True
        Deferred.fromCoroutine(self._work())

    async def _work(self) -> None:
        now = self._reactor.seconds()
        due = [name for name, each in self._indexes.items() if each.due is not None and each.due <= now]
        try:
            await spread(self._write_rested, due, WIDTH)
        except Exception:  # noqa: BLE001 - it is logged with its traceback, and tried again after a rest
            log.failure("the older index could not be written")
        finally:
            self._working = False
            self._idle.tell(None)
            dues = [each.due for each in self._indexes.values() if each.due is not None]
            if dues:
                self._arm(min(dues))

    async def _write_rested(self, name: str) -> None:
        index, began = self._indexes[name], self._reactor.seconds()
        index.due = None
        try:
            await self._write(name)
        except StorError as why:
            log.info("the older index of {name} waits: {why}", name=name or "the tree", why=str(why))
            self._due(name, LONGEST)
        took = self._reactor.seconds() - began
        index.rests_until = self._reactor.seconds() + min(took * SHARE, LONGEST)

    async def _write_last(self, name: str) -> None:
        try:
            await self._write(name)
        except StorError as why:
            log.info("the older index of {name} stays behind: {why}", name=name or "the tree", why=str(why))
            if self._reactor.seconds() - self._stops > LONGEST:
                raise

    async def _write(self, name: str) -> None:
        """Put it where the one that we know is, or the one that is there and behind us."""
        index = self._indexes[name]
        index.due = None
        await self._journal.tail()
        view = self._replica.view(name)
        for _ in range(TRIES):
            if index.etag is None:
                there = await self._there(name)
                index.etag = "" if there is None else there.etag
                if not view.entries if there is None else covers(there, view.cursor):
                    return
            elif index.shows == view.etag:
                return
            try:
                index.etag = (await self._put(name, view, index.etag)).etag
            except PreconditionFailed:
                index.etag = None
            else:
                index.shows = view.etag
                self._metrics.written_behind.inc()
                return

    async def _there(self, name: str) -> Info | None:
        try:
            return await self._store.head(self._layout.index(name))
        except Missing:
            return None

    async def _put(self, name: str, view: View, etag: str) -> Info:
        return await self._store.put(
            self._layout.index(name),
            await view.made(),
            content_type="application/json",
            metadata={_COVERS: view.cursor},
            when=etag or ABSENT,
        )


def covers(there: Info, cursor: str) -> bool:
    """Tell whether the index that is there is of the same log, and not behind ours."""
    said = there.metadata.get(_COVERS, "")
    try:
        theirs, ours = Cursor.read(said), Cursor.read(cursor)
    except BadRequest:
        return False
    return theirs.log == ours.log and theirs.position >= ours.position
