"""The Stack of a process: ready when all of it is up, and able to take a changed configuration."""

from collections.abc import Callable

from twisted.application.service import Service

from stor.config import Config
from stor.stack import Stack
from stor.web.health import Health


class House(Stack):
    """The Stack of a process, and how it takes a changed configuration."""

    def __init__(self, again: Callable[[], Config]) -> None:
        super().__init__()
        self._again = again
        self._takers: list[Callable[[Config], Callable[[], None]]] = []

    def reload(self) -> None:
        """Read the configuration again; ConfigError, and all as before, when it cannot be used."""
        config = self._again()
        for apply in [prepare(config) for prepare in self._takers]:  # all agree before the first one acts
            apply()

    def reloads(self, prepare: Callable[[Config], Callable[[], None]]) -> None:
        """Have `prepare` called with a new configuration; it raises ConfigError, or gives what applies it."""
        self._takers.append(prepare)


class Readiness(Service):
    """The top of the stack: the first thing to go on the way down, so that no new work is sent to us."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def startService(self) -> None:
        """All below is up."""
        super().startService()
        self._health.ready = True

    def stopService(self) -> None:
        """Take no more."""
        super().stopService()
        self._health.ready = False
