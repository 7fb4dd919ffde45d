"""Work that goes on when those who wait for it have left."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from stor.errors import StorError

log = Logger()


class Background:
    """Work under names: of one name there is one at a time, whose outcome all hear who ask for it."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Deferred[Any]]] = {}
        self._works: dict[str, Deferred[Any]] = {}

    def run(self, name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> Deferred[Any]:
        """Begin the work, unless it is under way, and give its outcome; who cancels only stops waiting."""
        heard: Deferred[Any] = Deferred()
        if name in self._waiting:
            self._waiting[name].append(heard)
            return heard
        self._waiting[name] = [heard]
        done = Deferred.fromCoroutine(work())
        self._works[name] = done
        done.addBoth(self._tell, name)
        return heard

    def start(self, name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Begin the work, unless it is under way; an error of ours is only logged."""
        self.run(name, work).addErrback(_note, name)

    async def settled(self, begins: str = "") -> None:
        """Wait for all work under way whose name begins so, however it ends."""
        for name in [name for name in self._waiting if name.startswith(begins)]:
            if name in self._waiting:
                heard: Deferred[Any] = Deferred()
                self._waiting[name].append(heard)
                await heard.addErrback(lambda _: None)

    def cancel(self, begins: str) -> None:
        """Cancel all work whose name begins so."""
        for name, done in list(self._works.items()):
            if name.startswith(begins):
                done.cancel()

    def _tell(self, outcome: Any, name: str) -> None:
        self._works.pop(name, None)
        waiting = [heard for heard in self._waiting.pop(name) if not heard.called]
        for heard in waiting:
            heard.callback(outcome)
        if not waiting and isinstance(outcome, Failure):
            _note(outcome, name)


def _note(failure: Failure, name: str) -> None:
    if failure.check(StorError, CancelledError):
        log.info("{name} ended early: {why}", name=name, why=failure.getErrorMessage())
    else:
        log.failure("{name} failed", failure, name=name)
