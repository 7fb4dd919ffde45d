"""The trees that are open: a tenant's from its first use until nobody has used it for a while."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import quote

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from stor.blobs.tree import Tree
from stor.blobs.waiting import Waiters
from stor.errors import BadRequest, Unavailable
from stor.streams.spool import Spool

log = Logger()

BUSY_SECONDS = 2.0  # after which another try may find a place
SWEEPS = 4  # in each idle time
ROOT = ""
_KEPT = ".stor"
MOST_CHARACTERS = 200  # of a tenant's folder, which may be a file's name in a directory


def folder_of(tenant: str) -> str:
    """Give the one segment of a path that stands for a tenant, whatever its name; no two share one."""
    try:
        folder = quote(tenant, safe="")
    except UnicodeEncodeError:
        raise BadRequest("The tenant is not UTF-8") from None
    if folder.startswith("."):
        folder = "%2E" + folder[1:]
    if folder.endswith(_KEPT):  # where a tree keeps its journal, beside its files
        folder = folder.removesuffix(_KEPT) + "%2E" + _KEPT[1:]
    if not 0 < len(folder) <= MOST_CHARACTERS:
        raise BadRequest("The tenant's name is empty or too long")
    return folder


@dataclass(slots=True, eq=False)
class Place:
    """One tree, who uses it and who waits for it; `changing` while `work` opens or closes it."""

    tree: Tree
    changing: bool = True
    closing: bool = False
    users: int = 0
    used: float = 0.0
    waiters: Waiters[None] = field(default_factory=Waiters)
    work: Deferred[None] | None = None

    def change(self) -> Deferred[None]:
        """Wait until it is open or closed; fails with why it could not be opened."""
        return self.waiters.wait()

    def changed(self, error: Exception | None = None) -> None:
        """Let those who wait look again, or fail."""
        self.changing = False
        self.waiters.tell(None if error is None else Failure(error))


class Lease:
    """A tree that stays open within `async with`, or from `take` to `leave`."""

    def __init__(self, trees: "Trees", tenant: str) -> None:
        self._trees, self._tenant = trees, tenant
        self._place: Place | None = None

    async def take(self) -> Tree:
        """Open the tree, or join those who have it open; Unavailable when the store is away or all places are taken."""
        self._place = await self._trees.enter(self._tenant)
        return self._place.tree

    def leave(self) -> None:
        """Need it no more; any number of times."""
        if self._place is not None:
            self._trees.left(self._place)
            self._place = None

    async def __aenter__(self) -> Tree:
        return await self.take()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


class Trees(Service):
    """At most `most` tenants' trees beside the root one, which stays; idle ones are closed after `idle_seconds`.

    `make` gives the tree of a tenant's folder (see `folder_of`), not started, and for "" the root one. `spool` gives
    a place for a body on its way into any of them, since they share their store.
    """

    def __init__(
        self,
        make: Callable[[str], Tree],
        spool: Callable[[int], Spool],
        most: int,
        idle_seconds: float,
        reactor: Any,
    ) -> None:
        self.spool = spool
        self._make, self._most, self._idle_seconds, self._reactor = make, most, idle_seconds, reactor
        self._places: dict[str, Place] = {}
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = reactor

    @property
    def open(self) -> int:
        """How many trees are open, or about to be."""
        return len(self._places)

    def startService(self) -> Deferred[None]:
        """Fire when the root tree is open, or when its store is away: then whoever needs it first tries again."""
        super().startService()
        self._sweeping.start(self._idle_seconds / SWEEPS, now=False)
        return Deferred.fromCoroutine(self._begin())

    def stopService(self) -> Deferred[None]:
        """Close all; fires when the last is closed."""
        super().stopService()
        if self._sweeping.running:
            self._sweeping.stop()
        return Deferred.fromCoroutine(self._end())

    def lend(self, tenant: str | None) -> Lease:
        """Give the tenant's tree to somebody, the root one for None; BadRequest for what can be no tenant."""
        return Lease(self, ROOT if tenant is None else folder_of(tenant))

    async def enter(self, tenant: str) -> Place:
        """Count one more user of the tree; for `Lease`."""
        while (place := self._places.get(tenant)) is None or place.changing:
            if not self.running:
                raise _stopping()
            await (place or self._begun(tenant)).change()
        place.users += 1
        return place

    def left(self, place: Place) -> None:
        """Count one user less; for `Lease`."""
        place.users -= 1
        place.used = self._reactor.seconds()

    def _begun(self, tenant: str) -> Place:
        """Begin to open the tree, or where all places are taken to close the one that was idle longest."""
        tenants = {name: place for name, place in self._places.items() if name != ROOT}
        if tenant == ROOT or len(tenants) < self._most:
            return self._open(tenant)
        leaving = [place for place in tenants.values() if place.closing]
        idle = [name for name, place in tenants.items() if not place.users and not place.changing]
        if leaving or not idle:
            if not leaving:
                raise Unavailable("too many tenants at once", BUSY_SECONDS)
            return leaving[0]
        return self._close(min(idle, key=lambda name: tenants[name].used))

    async def _begin(self) -> None:
        try:
            async with self.lend(None):
                pass
        except Unavailable as why:
            log.warn("blobs: the store is away, and the tree not open yet: {why}", why=str(why))

    def _open(self, tenant: str) -> Place:
        place = self._places[tenant] = Place(self._make(tenant))
        place.work = Deferred.fromCoroutine(self._opened(tenant, place))
        return place

    async def _opened(self, tenant: str, place: Place) -> None:
        await deferLater(self._reactor, 0)  # whoever asked for it waits by now
        try:
            await maybeDeferred(place.tree.startService)
        except Exception as error:  # noqa: BLE001 - those who wait for the tree raise it
            await self._closed(tenant, place, _stopping() if isinstance(error, CancelledError) else error)
        else:
            place.used = self._reactor.seconds()
            place.changed()

    def _close(self, tenant: str) -> Place:
        place = self._places[tenant]
        place.changing = place.closing = True
        place.work = Deferred.fromCoroutine(self._closed(tenant, place))
        return place

    async def _closed(self, tenant: str, place: Place, error: Exception | None = None) -> None:
        await deferLater(self._reactor, 0)
        await _stop(place.tree)
        del self._places[tenant]
        place.changed(error)

    def _sweep(self) -> None:
        long_ago = self._reactor.seconds() - self._idle_seconds
        for tenant, place in list(self._places.items()):
            if tenant != ROOT and not place.changing and not place.users and place.used <= long_ago:
                self._close(tenant)

    async def _end(self) -> None:
        while self._places:
            tenant, place = next(iter(self._places.items()))
            if not place.changing:
                self._close(tenant)
            elif not place.closing and place.work is not None:
                place.work.cancel()
            with suppress(Exception):  # why it did not open is told to those who wanted it
                await place.change()


def _stopping() -> Unavailable:
    return Unavailable("the server is stopping", BUSY_SECONDS)


async def _stop(tree: Tree) -> None:
    """A tree that cannot stop must not keep its place for ever."""
    try:
        await maybeDeferred(tree.stopService)
    except Exception:  # noqa: BLE001 - whatever it was, it is logged with its traceback
        log.failure("a tree did not stop cleanly")
