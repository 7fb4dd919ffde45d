"""One call for many callers."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Shared(Generic[K, T]):
    """Callers who ask for the same thing while it is under way get the same answer.

    A caller that is cancelled leaves the call to the others; the call itself is never cancelled.
    """

    def __init__(self) -> None:
        self._waiting: dict[K, list[Deferred[T]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: K) -> bool:
        return key in self._waiting

    def ask(self, key: K, call: Callable[[], Awaitable[T]]) -> Deferred[T]:
        """Join the call for `key`, or begin it; fires with what it gives, or fails with what it raises."""
        mine: Deferred[T] = Deferred()
        if (others := self._waiting.get(key)) is not None:
            others.append(mine)
        else:
            self._waiting[key] = [mine]
            Deferred.fromCoroutine(_awaited(call)).addBoth(self._answer, key)
        return mine

    def _answer(self, result: T | Failure, key: K) -> None:
        for waiting in self._waiting.pop(key):
            waiting.callback(result)


class Rounds:
    """Work that is done again and again, never twice at once."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._served: list[Deferred[None]] | None = None  # by the round that runs
        self._waiting: list[Deferred[None]] = []  # for the next one

    @property
    def running(self) -> bool:
        """Tell whether a round runs."""
        return self._served is not None

    def now(self) -> Deferred[None]:
        """Fire when the round that runs has ended, or a new one where none does; fails with what it raises."""
        if self._served is None:
            return self.after()
        mine: Deferred[None] = Deferred()
        self._served.append(mine)
        return mine

    def after(self) -> Deferred[None]:
        """Fire when a round has ended that began after this call; fails with what it raises."""
        mine: Deferred[None] = Deferred()
        self._waiting.append(mine)
        if self._served is None:
            self._begin()
        return mine

    def _begin(self) -> None:
        self._served, self._waiting = self._waiting, []
        Deferred.fromCoroutine(_awaited(self._work)).addBoth(self._end)

    def _end(self, result: Failure | None) -> None:
        served, self._served = self._served or [], None
        if self._waiting:
            self._begin()
        for waiting in served:
            waiting.callback(result)


async def _awaited(call: Callable[[], Awaitable[T]]) -> T:
    return await call()
