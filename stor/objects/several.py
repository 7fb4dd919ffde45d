"""Several works at once."""

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList

T = TypeVar("T")


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all at once and give their results in order; when all have ended, raise the first error there was.

    Who is cancelled cancels all of them.
    """
    ended: list[tuple[bool, Any]] = await DeferredList(map(Deferred.fromCoroutine, works), consumeErrors=True)
    for fine, result in ended:
        if not fine:
            result.raiseException()
    return [result for _, result in ended]
