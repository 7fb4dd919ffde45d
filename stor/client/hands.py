"""Many things at once, a few at a time: in threads what waits for a disk, as coroutines what waits for the network."""

from collections.abc import Awaitable, Callable, Iterable
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults
from twisted.internet.interfaces import IReactorFromThreads

from stor.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")


class Hands:
    """Threads for one sync. What a thread has begun it ends, even when nobody waits for it any more."""

    def __init__(self, size: int, reactor: IReactorFromThreads) -> None:
        self._threads, self._reactor = Threads("sync", size, reactor), reactor
        self._busy = 0
        self._idle: Deferred[None] | None = None
        self._threads.startService()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` in one of the threads; raises what it raises."""

        def job() -> T:
            self._reactor.callFromThread(self._count, 1)
            try:
                return work(*args, **kwargs)
            finally:
                self._reactor.callFromThread(self._count, -1)

        return await self._threads.run(job)

    def _count(self, more: int) -> None:
        self._busy += more
        if not self._busy and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)

    async def rest(self) -> None:
        """Begin nothing more, and wait for what was begun: files are not closed under a thread that uses them."""
        await self._threads.stopService()  # it gives up after some seconds
        if self._busy:
            self._idle = Deferred()
            await self._idle


async def each(jobs: Iterable[T], do: Callable[[T], Awaitable[None]], width: int) -> None:
    """Do all of them, `width` at a time. The first error ends the others, and is raised when they have ended."""
    queue = iter(jobs)

    async def worker() -> None:
        for job in queue:
            await do(job)

    workers = [Deferred.fromCoroutine(worker()) for _ in range(width)]
    try:
        await gatherResults(workers)
    except FirstError as first:
        first.subFailure.raiseException()
    finally:
        for one in workers:
            one.cancel()
        await DeferredList(workers, consumeErrors=True)
