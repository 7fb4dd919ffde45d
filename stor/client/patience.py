"""How often and how long something is tried again."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from stor.errors import TooMany, Unavailable

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0  # seconds


class Patience:
    """Tries again what was Unavailable or TooMany, until `seconds` after the first failure.

    The pauses double, and are drawn at random so that many clients do not come back at once; what the
    other side asks for (`retry_after`) is kept to.
    """

    def __init__(self, seconds: float, clock: IReactorTime) -> None:
        self._seconds, self._clock = seconds, clock

    async def spend(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Give what a try gave; raises what the last one raised."""
        end, pause = 0.0, FIRST_PAUSE
        while True:
            try:
                return await attempt()
            except (TooMany, Unavailable) as why:
                now = self._clock.seconds()
                end = end or now + self._seconds
                wait = max(why.retry_after or 0.0, random.uniform(pause / 2, pause))  # noqa: S311 - no secret
                if now + wait > end:
                    raise
            pause = min(pause * 2, LONGEST_PAUSE)
            await deferLater(self._clock, wait)
