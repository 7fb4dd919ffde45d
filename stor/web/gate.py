"""What every call passes, whichever way it was routed: who may, how often, and what is remembered of it."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from stor.access.principal import Principal
from stor.errors import Denied
from stor.web.call import Call


class Guard(Protocol):
    """Knows callers."""

    def admit(self, caller: Call, permission: str) -> Principal | Awaitable[Principal]:
        """Give who calls, when they may do this; Denied, Forbidden, TooMany or Unavailable otherwise."""


class Gauge(Protocol):
    """Counts what each principal has under way, and how often it comes."""

    def enter(self, principal: Principal) -> None:
        """Begin a call; TooMany beyond the limits, and then `leave` is not called."""

    def leave(self, principal: Principal) -> None:
        """End a call."""


class Audit(Protocol):
    """Remembers who did what."""

    def note(self, caller: Call, status: int) -> None:
        """Take note of an answered call, when it was refused or may have changed something."""


class Closed:
    """A guard that lets nobody in."""

    def admit(self, caller: Call, permission: str) -> Principal:
        """Refuse."""
        raise Denied("nobody is let in here")


@dataclass(frozen=True, slots=True)
class Gate:
    """All three; without a gauge or an audit nothing is counted or remembered."""

    guard: Guard
    gauge: Gauge | None = None
    audit: Audit | None = None
