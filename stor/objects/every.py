"""Work in the background: again and again, never twice at once, and cut off at the stop."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from stor.errors import StorError

log = Logger()


class Every(Service):
    """Calls `work` so many seconds after the start, and after each time it has ended.

    What it raises is logged, the same reason once in a row, and it is called again. A stop cuts it off wherever it is:
    `work` must be such that its process may die there.
    """

    def __init__(self, seconds: float, work: Callable[[], Awaitable[None]], reactor: Any) -> None:
        self._seconds, self._work, self._reactor = seconds, work, reactor
        self._timer: IDelayedCall | None = None
        self._running: Deferred[None] = succeed(None)
        self._why = ""

    def startService(self) -> Deferred[None]:
        """Begin to count the seconds."""
        super().startService()
        self._rest()
        return succeed(None)

    def stopService(self) -> Deferred[None]:
        """Fires when it has ended."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._running.cancel()
        return self._running

    def _rest(self) -> None:
        self._timer = self._reactor.callLater(self._seconds, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._running = Deferred.fromCoroutine(self._once())

    async def _once(self) -> None:
        try:
            await self._work()
            self._why = ""
        except CancelledError:
            pass  # it is our stop
        except StorError as why:
            self._note(str(why))
        except Exception:  # noqa: BLE001 - it is logged with its traceback, and tried again
            log.failure("{service} failed", service=self)
        if self.running:
            self._rest()

    def _note(self, why: str) -> None:
        if why != self._why:
            self._why = why
            log.warn("{service} goes on later: {why}", service=self, why=why)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
