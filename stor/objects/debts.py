"""Uploads that are to be given up: as soon as the database lets us, for their keys wait."""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from stor.errors import StorError
from stor.objects.working import Working

SECONDS = 5.0  # between two tries
MOST = 10_000  # that we remember; the collector gives up the others when their time is over
log = Logger()


class Debts:
    """Ids of uploads, each given up at once, or tried again until it is."""

    def __init__(self, give_up: Callable[[str], Coroutine[Any, Any, None]], working: Working, reactor: Any) -> None:
        self._give_up, self._working, self._reactor = give_up, working, reactor
        self._owed: set[str] = set()
        self._timer: IDelayedCall | None = None

    def owe(self, object_id: str) -> None:
        """Have an upload given up."""
        self._working.begin(self._pay(object_id))

    def stop(self) -> None:
        """Try no more."""
        self._owed.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _pay(self, object_id: str) -> None:
        try:
            await self._give_up(object_id)
        except StorError as why:
            if len(self._owed) < MOST:
                self._owed.add(object_id)
            if self._timer is None:
                log.warn("uploads are given up later: {why}", why=why)
                self._timer = self._reactor.callLater(SECONDS, self._again)

    def _again(self) -> None:
        self._timer = None
        owed, self._owed = self._owed, set()
        for object_id in owed:
            self.owe(object_id)
