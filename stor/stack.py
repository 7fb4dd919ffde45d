"""The service that starts its children in order, waits for each, and stops them the other way."""

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.logger import Logger

log = Logger()


class Stack(MultiService):
    """Children that lean on each other: what comes later may use what came before.

    `MultiService` starts its children without waiting for them and stops them all at once.
    A `Stack` waits. A stop while it still rises ends the rise and takes down what had begun.
    """

    def __init__(self) -> None:
        super().__init__()
        self._risen: Deferred[None] = succeed(None)

    def add(self, service: IService) -> None:
        """Put `service` on top; before the start only."""
        service.setServiceParent(self)

    def startService(self) -> Deferred[None]:
        """Start all; fires when the last is up, fails with what the first failing child said."""
        Service.startService(self)  # not MultiService's, which would start the children at once
        self._risen = Deferred.fromCoroutine(self._rise())
        return self._risen

    def stopService(self) -> Deferred[None]:
        """Stop, in reverse order, all that was started; fires when the last is down."""
        Service.stopService(self)
        self._risen.cancel()
        return Deferred.fromCoroutine(self._fall())

    async def _rise(self) -> None:
        for child in self:
            await maybeDeferred(child.startService)

    async def _fall(self) -> None:
        for child in reversed(self.services):
            if child.running:
                await self._stop(child)

    async def _stop(self, child: IService) -> None:
        """One child that cannot stop must not keep the others up."""
        try:
            await maybeDeferred(child.stopService)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - whatever it was, it is logged with its traceback
            log.failure("{child} did not stop cleanly", child=child)
