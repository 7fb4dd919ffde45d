"""Work that does not end with who waits for it, and one wait shared by many."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from stor.errors import StorError

log = Logger()
S = TypeVar("S")
T = TypeVar("T")


def shielded(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Run `work` to its end even when who awaits the result is cancelled."""
    outer: Deferred[T] = Deferred()

    def ended(result: T | Failure) -> None:
        if not outer.called:
            outer.callback(result)
        elif isinstance(result, Failure) and not result.check(StorError):
            log.failure("work that nobody waited for any more has failed", failure=result)

    Deferred.fromCoroutine(work).addBoth(ended)
    return outer


class Running:
    """Work that goes on when its caller is cancelled, counted so that a stop can wait for its end."""

    def __init__(self) -> None:
        self._count = 0
        self._idle: Waiters[None] = Waiters()

    def run(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Run it to its end."""
        self._count += 1
        return shielded(self._counted(work))

    async def ended(self) -> None:
        """Wait until nothing runs."""
        if self._count:
            await self._idle.wait()

    async def _counted(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        finally:
            self._count -= 1
            if not self._count:
                self._idle.tell(None)


class Waiters(Generic[T]):
    """Those who wait for the same thing; one of them leaving does not end it for the others."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[T]] = []

    def __len__(self) -> int:
        return sum(not each.called for each in self._waiting)

    def wait(self) -> Deferred[T]:
        """Fire with what is told, once."""
        waiter: Deferred[T] = Deferred()
        self._waiting = [each for each in self._waiting if not each.called]
        self._waiting.append(waiter)
        return waiter

    def tell(self, result: T | Failure) -> None:
        """Let all who wait now go on with the result, or fail."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:
                each.callback(result)


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all at once and give their results in order; when all have ended, raise the first error there was."""
    ended: list[tuple[bool, Any]] = await DeferredList(map(Deferred.fromCoroutine, works), consumeErrors=True)
    for fine, result in ended:
        if not fine:
            result.raiseException()
    return [result for _, result in ended]


async def spread(work: Callable[[S], Coroutine[Any, Any, None]], items: Iterable[S], width: int) -> None:
    """Do `work` for each item, at most `width` at once; after an error no more is begun, and it is raised."""
    waiting = iter(items)
    failed = False

    async def worker() -> None:
        nonlocal failed
        for item in waiting:
            try:
                await work(item)
            except BaseException:
                failed = True
                raise
            if failed:
                break

    await together(worker() for _ in range(width))
