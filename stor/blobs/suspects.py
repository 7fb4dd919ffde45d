"""Paths of which the index may not show what the object says; each is looked at again soon, until it is settled."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from stor.blobs.waiting import Waiters, spread
from stor.errors import StorError

log = Logger()

MOST = 10_000
"""Paths remembered; beyond them everything is compared."""
WIDTH = 8
SOON = (1.0, 30.0)
"""After a put that was not answered: it may have happened, or may happen yet while its connection lives."""
LATER = (2.0,)
"""After a look that found another object than the index shows: its writer is probably about to tell."""
AGAIN = 5.0


@dataclass(slots=True)
class _Suspect:
    due: float
    after: tuple[float, ...]
    doubtful: bool


class Suspects:
    """Calls `settle` for each suspect path when it is due; when there are too many, `everything` instead.

    When either fails, all wait a while: it is the store that is away, not the path that is odd.
    """

    def __init__(
        self, settle: Callable[[str], Awaitable[object]], everything: Callable[[], Awaitable[object]], reactor: Any
    ) -> None:
        self._settle, self._everything, self._reactor = settle, everything, reactor
        self._paths: dict[str, _Suspect] = {}
        self._overflow = self._working = self._stopped = False
        self._timer: IDelayedCall | None = None
        self._idle: Waiters[None] = Waiters()

    def __len__(self) -> int:
        return len(self._paths)

    def is_doubtful(self, path: str) -> bool:
        """Tell whether a write of this path was never answered: the index is not to be believed about it."""
        suspect = self._paths.get(path)
        return self._overflow or (suspect is not None and suspect.doubtful)

    def doubt(self, path: str) -> None:
        """A write of the path may have happened or not."""
        self._add(path, SOON, doubtful=True)

    def notice(self, path: str) -> None:
        """Something else was found there than the index shows."""
        if path not in self._paths:
            self._add(path, LATER, doubtful=False)

    async def stop(self) -> None:
        """Begin no more work, and wait for what is under way."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._working:
            await self._idle.wait()

    def _add(self, path: str, waits: tuple[float, ...], *, doubtful: bool) -> None:
        if path not in self._paths and len(self._paths) >= MOST:
            self._overflow = True
        else:
            self._paths[path] = _Suspect(self._reactor.seconds() + waits[0], waits[1:], doubtful)
        self._arm()

    def _arm(self) -> None:
        if self._stopped or self._working or self._timer is not None:
            return
        if self._overflow or self._paths:
            due = min((each.due for each in self._paths.values()), default=0.0)
            wait = AGAIN if self._overflow else max(due - self._reactor.seconds(), 0.0)
            self._timer = self._reactor.callLater(wait, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._working = True
        Deferred.fromCoroutine(self._work())

    async def _work(self) -> None:
        try:
            if self._overflow:
                await self._everything()
                self._overflow = False
                self._paths.clear()
            now = self._reactor.seconds()
            await spread(self._look_at, [path for path, each in self._paths.items() if each.due <= now], WIDTH)
        except StorError as why:
            log.info("suspect files wait: {why}", why=str(why))
            self._postpone()
        except Exception:  # noqa: BLE001 - it is logged with its traceback, and tried again
            log.failure("suspect files could not be settled")
            self._postpone()
        finally:
            self._working = False
            self._idle.tell(None)
            self._arm()

    async def _look_at(self, path: str) -> None:
        suspect = self._paths[path]
        await self._settle(path)
        if self._paths.get(path) is suspect:
            if suspect.after:
                suspect.due, suspect.after = self._reactor.seconds() + suspect.after[0], suspect.after[1:]
                suspect.doubtful = False
            else:
                del self._paths[path]

    def _postpone(self) -> None:
        for each in self._paths.values():
            each.due = max(each.due, self._reactor.seconds() + AGAIN)
