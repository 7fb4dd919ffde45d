"""A lane of its own for what anybody may ask for much of: few works at once, and askers in turn."""

from collections import Counter, deque
from collections.abc import Callable
from math import inf
from typing import Any, Generic, ParamSpec, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from stor.database.promise import Asker
from stor.errors import TooMany, Unavailable
from stor.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = 2
MOST_OF_ONE, MOST_OF_TENANT, MOST = 32, 256, 1024  # that wait
_LATER = 1.0  # seconds after which who was refused may come again


class Lane(Service):
    """Runs at most two works at a time, each in a thread; see `Database.browse`.

    A work that takes longer than `seconds` fails. One whose asker has left does not begin; one that has begun keeps
    its thread until it ends, whoever has left.
    """

    def __init__(self, name: str, reactor: Any, seconds: float | None = None) -> None:
        self._threads = Threads(name, AT_ONCE, reactor, seconds=seconds)
        self._reactor = reactor
        self._free = AT_ONCE
        self._waiting: Turns[Deferred[None]] = Turns()

    def startService(self) -> None:
        """Take work."""
        super().startService()
        self._threads.startService()

    def stopService(self) -> Deferred[None]:
        """End when what has begun has ended; what waits is refused."""
        super().stopService()
        while (waiting := self._waiting.take()) is not None:
            waiting.errback(_closed())
        return self._threads.stopService()

    async def run(self, asker: Asker, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` when it is this asker's turn; raises what it raises, TooMany or Unavailable when it cannot be."""
        if not self.running:
            raise _closed()
        await self._turn(asker)
        ended: Deferred[T] = Deferred.fromCoroutine(self._threads.run(work, *args, **kwargs)).addBoth(self._pass_on)
        heard: Deferred[T] = Deferred()
        ended.addBoth(heard.callback)  # who stops waiting does not end it, or two more would begin beside it
        return await heard

    async def _turn(self, asker: Asker) -> None:
        if self._free:  # so nobody waits
            self._free -= 1
            return
        waiting: Deferred[None] = Deferred(lambda left: self._waiting.remove(asker, left))
        if asker.patience < inf:
            self._waiting.check_room(asker)
            waiting.addTimeout(asker.patience, self._reactor, _late)
        self._waiting.add(asker, waiting)
        await waiting

    def _pass_on(self, result: Any) -> Any:
        following = self._waiting.take()
        if following is None:
            self._free += 1
        else:
            following.callback(None)
        return result


class Turns(Generic[T]):
    """What waits, by tenant, and by name in each: taken one of each tenant in turn, and there one of each name."""

    def __init__(self) -> None:
        self._tenants: dict[str, dict[str, deque[T]]] = {}  # who comes next is first
        self._counts: Counter[tuple[str, ...]] = Counter()

    def check_room(self, asker: Asker) -> None:
        """Raise TooMany when too much of this asker waits, Unavailable when it is too much in all."""
        names = (asker.tenant, asker.name)
        if self._counts[names] >= MOST_OF_ONE or self._counts[names[:1]] >= MOST_OF_TENANT:
            raise TooMany("too many of your listings and searches wait", retry_after=_LATER)
        if self._counts[()] >= MOST:
            raise Unavailable("too many listings and searches wait", retry_after=_LATER)

    def add(self, asker: Asker, what: T) -> None:
        """Put it behind all else of this asker."""
        self._tenants.setdefault(asker.tenant, {}).setdefault(asker.name, deque()).append(what)
        self._count(asker.tenant, asker.name, 1)

    def take(self) -> T | None:
        """Take what comes next; None when nothing waits."""
        if not self._tenants:
            return None
        tenant, names = next(iter(self._tenants.items()))
        name, queue = next(iter(names.items()))
        what = queue.popleft()
        self._keep(tenant, name)
        self._count(tenant, name, -1)
        return what

    def remove(self, asker: Asker, what: T) -> None:
        """Take it out; it is there."""
        names = self._tenants[asker.tenant]
        names[asker.name].remove(what)
        if not names[asker.name]:
            del names[asker.name]
        if not names:
            del self._tenants[asker.tenant]
        self._count(asker.tenant, asker.name, -1)

    def _keep(self, tenant: str, name: str) -> None:
        """Put who had a turn behind the others, or forget who has nothing more that waits."""
        names = self._tenants.pop(tenant)
        queue = names.pop(name)
        if queue:
            names[name] = queue
        if names:
            self._tenants[tenant] = names

    def _count(self, tenant: str, name: str, by: int) -> None:
        for each in ((), (tenant,), (tenant, name)):
            self._counts[each] += by
            if not self._counts[each]:
                del self._counts[each]


def _closed() -> Unavailable:
    return Unavailable("the database is closed")


def _late(_: object, seconds: float) -> None:
    raise Unavailable(f"other listings and searches took {seconds:g} s", retry_after=_LATER)
