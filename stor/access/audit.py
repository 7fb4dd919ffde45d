"""Who did what, or was not let to: one line for each, written after the answer."""

from collections import deque
from collections.abc import Sequence
from time import time
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from stor.access.credentials import Caller
from stor.logs import Fields, stamp

MOST = 10_000  # lines that wait
SLICE = 100  # lines that are written before others have their turn
PATH_CHARACTERS = 512
REFUSALS = frozenset({401, 403, 429})
HARMLESS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, 9.2.1


class Audited(Caller, Protocol):
    """A request that has been answered."""

    @property
    def request_id(self) -> str:
        """What its answer and its line in the log are called."""

    @property
    def route(self) -> str:
        """The rule that matched."""


class _Shown:
    """Lines for an observer that is not ours."""

    def __init__(self, lines: Sequence[Fields]) -> None:
        self._lines = lines

    def __str__(self) -> str:
        return "\n".join(f"{line['event']} {line['principal']} {line['remote']}" for line in self._lines)


class Audit(Service):
    """Writes its lines to `logger`, a few at a time; what does not fit its queue is dropped and counted."""

    def __init__(self, logger: Logger, registry: CollectorRegistry, reactor: Any, most: int = MOST) -> None:
        self._logger, self._reactor, self._most = logger, reactor, most
        self._waiting: deque[Fields] = deque()
        self._call: IDelayedCall | None = None
        self._unsaid = 0
        self._lines = Counter("stor_audit_lines", "Audit lines that were written.", registry=registry)
        self._dropped = Counter("stor_audit_dropped", "Audit lines that did not fit the queue.", registry=registry)

    def note(self, caller: Audited, status: int) -> None:
        """Note a call that was refused, or that may have changed something; never waits, never raises."""
        refused = status in REFUSALS
        if not refused and caller.method in HARMLESS:
            return
        if len(self._waiting) >= self._most:
            self._dropped.inc()
            self._unsaid += 1
            return
        principal = caller.principal
        outcome = "refused" if refused else "failed" if status >= 400 else "done"
        self._waiting.append(
            {
                "ts": stamp(time()),
                "level": "info",
                "event": f"audit {outcome}: {caller.method[:32]} {caller.path[:PATH_CHARACTERS]} {status}",
                "principal": None if principal is None else principal.name,
                "tenant": None if principal is None else principal.tenant,
                "method": caller.method[:32],
                "path": caller.path[:PATH_CHARACTERS],
                "route": caller.route,
                "remote": caller.remote,
                "status": status,
                "outcome": outcome,
                "request_id": caller.request_id,
            }
        )
        if self._call is None:
            self._call = self._reactor.callLater(0, self._next)

    def stopService(self) -> None:
        """Write all that waits."""
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        while self._waiting:
            self._write()

    def _next(self) -> None:
        self._write()
        self._call = self._reactor.callLater(0, self._next) if self._waiting else None

    def _write(self) -> None:
        """Write some as one event, of which our observer makes lines again: one each would cost as much as a call."""
        lines = [self._waiting.popleft() for _ in range(min(SLICE, len(self._waiting)))]
        if lines:
            self._logger.info("{audit}", audit=_Shown(lines), lines=lines)
            self._lines.inc(len(lines))
        if self._unsaid:
            self._logger.warn("{count} audit lines were dropped", count=self._unsaid)
            self._unsaid = 0
