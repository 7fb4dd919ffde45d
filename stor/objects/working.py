"""Works that go on when those who wait for them have left."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

T = TypeVar("T")
log = Logger()


class Working:
    """Knows all that is under way, so that a stop can wait for it."""

    def __init__(self) -> None:
        self._works: set[Deferred[Any]] = set()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Give what comes of a work; who is cancelled only stops waiting."""
        done = Deferred.fromCoroutine(work)
        self._works.add(done)
        heard: Deferred[Any] = Deferred()
        done.addBoth(self._ended, done, heard)
        return cast("T", await heard)

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        """Have a work done that nobody waits for; that it failed is logged."""
        done = Deferred.fromCoroutine(work)
        self._works.add(done)
        done.addErrback(lambda why: log.warn("an upload is given up later: {why}", why=why.getErrorMessage()))
        done.addBoth(lambda _: self._works.discard(done))

    async def settled(self) -> None:
        """Wait until all that is under way has ended, well or not."""
        await DeferredList(list(self._works))

    def _ended(self, outcome: Any, done: Deferred[Any], heard: Deferred[Any]) -> None:
        self._works.discard(done)
        heard.callback(outcome)
