"""How long ago something was, also for a process that slept."""

import time
from collections.abc import Callable

Mark = tuple[float, ...]
Clock = Callable[[], Mark]
"""Gives what several clocks show, in seconds."""


def sleepless() -> Mark:
    """Read the clock that goes on in suspend, and the wall clock, which also notices a machine that was stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME), time.time()


def passed(before: Mark, now: Mark) -> float:
    """Give the seconds in between by the clock that says most."""
    return max(after - earlier for earlier, after in zip(before, now, strict=True))
