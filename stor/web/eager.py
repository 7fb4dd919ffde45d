"""Run a coroutine at once, as far as it goes without waiting."""

from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


def eagerly(coroutine: Coroutine[Any, Any, T]) -> T | Deferred[T]:
    """Give what the coroutine returns, or raise what it raises, or else a Deferred of either.

    Most handlers never wait; a Deferred, its callbacks and a copy of the context would cost them as much again.
    """
    try:
        waited = coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    return Deferred.fromCoroutine(_rest(coroutine, waited))


def _rest(coroutine: Coroutine[Any, Any, T], waited: Any) -> Generator[Any, Any, T]:
    """Stand in for a coroutine that has begun."""
    while True:
        try:
            try:
                value = yield waited
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the coroutine
                waited = coroutine.throw(error)
            else:
                waited = coroutine.send(value)
        except StopIteration as end:
            result: T = end.value
            return result
