"""Long lists worked off by several at once, a batch at a time."""

from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredList, DeferredLock, FirstError, gatherResults

from stor.objects.backup.lists import batch
from stor.threads import Threads

T = TypeVar("T")


async def each_batch(
    items: Iterator[T], most: int, do: Callable[[list[T]], Awaitable[None]], width: int, threads: Threads
) -> None:
    """Do all batches of `most` items, `width` at a time; items are taken in a thread, in order.

    The first error ends the others, and is raised when they have ended.
    """
    taking = DeferredLock()

    async def worker() -> None:
        while True:
            await taking.acquire()
            try:
                taken = await threads.run(batch, items, most)
            finally:
                taking.release()
            if not taken:
                return
            await do(taken)

    workers = [Deferred.fromCoroutine(worker()) for _ in range(width)]
    try:
        await gatherResults(workers)
    except FirstError as first:
        first.subFailure.raiseException()
    finally:
        for one in workers:
            one.cancel()
        await DeferredList(workers, consumeErrors=True)
