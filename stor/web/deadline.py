"""A deadline that moves often and costs little: one delayed call, which looks where the deadline is by then."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


def _nothing() -> None:
    """What is called when nobody waits."""


class Deadline:
    """Calls `late` when the time that was set last has passed."""

    __slots__ = ("_call", "_clock", "_due", "_late", "_when")

    def __init__(self, clock: IReactorTime, late: Callable[[], None]) -> None:
        self._clock, self._late = clock, late
        self._call: IDelayedCall | None = None
        self._when: float | None = None
        self._due = 0.0  # when the delayed call comes

    def set(self, seconds: float) -> None:
        """Expect something within `seconds` from now, instead of what was expected before."""
        self._when = when = self._clock.seconds() + seconds
        if self._call is None:
            self._call, self._due = self._clock.callLater(seconds, self._look), when
        elif self._due > when:
            self._call.reset(seconds)
            self._due = when

    def clear(self) -> None:
        """Expect nothing. The delayed call stays, for the next deadline."""
        self._when = None

    def end(self) -> None:
        """Leave nothing behind, and let go of who was to be called."""
        self._when, self._late = None, _nothing
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._call = None
        if self._when is None:
            return
        left = self._when - self._clock.seconds()
        if left > 0:
            self._call, self._due = self._clock.callLater(left, self._look), self._when
        else:
            self._when = None
            self._late()
