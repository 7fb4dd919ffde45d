"""One line for each answer, written in batches."""

from collections.abc import Callable, Sequence
from time import time

from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from stor.logs import Fields, stamp
from stor.web.call import Call

DELAY_SECONDS = 0.1
MOST_LINES = 512  # that wait to be written
PATH_CHARACTERS = 512  # of a path that are logged


class Line(Struct, frozen=True, gc=False):
    """What is said of one answer; never a query, a header or a body. `time` in seconds since 1970."""

    time: float
    method: str
    path: str
    status: int
    bytes: int
    duration: float
    remote: str
    request_id: str
    principal: str | None

    def fields(self) -> Fields:
        """Give what a log line has."""
        what = f"{self.method} {self.path} {self.status}" if self.method else f"refused {self.status}"
        return {
            "ts": stamp(self.time),
            "level": "info",
            "event": what,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "bytes": self.bytes,
            "duration": round(self.duration, 6),
            "remote": self.remote,
            "request_id": self.request_id,
            "principal": self.principal,
        }


Write = Callable[[Sequence[Line]], None]


class _Shown:
    """Lines for an observer that is not ours."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    def __str__(self) -> str:
        return "\n".join(f"{line.fields()['event']} {line.remote} {line.request_id}" for line in self._lines)


def through(logger: Logger) -> Write:
    """Write lines to `logger`, all of a batch as one event, of which our observer makes lines again (`stor.logs`)."""

    def write(lines: Sequence[Line]) -> None:
        logger.info("{answers}", answers=_Shown(lines), lines=[line.fields() for line in lines])

    return write


class AccessLog:
    """Takes lines as they come, and gives them to `write` together, at most a tenth of a second late.

    To write each by itself would take longer than to answer a small request. Without `write` nothing is kept.
    """

    def __init__(self, write: Write | None, reactor: IReactorTime) -> None:
        self._write, self._reactor = write, reactor
        self._lines: list[Line] = []
        self._pending: IDelayedCall | None = None

    def note(self, call: Call, status: int, size: int, duration: float) -> None:
        """Remember an answer whose body had `size` bytes."""
        if self._write is None:
            return
        who = call.principal
        path, name = call.path[:PATH_CHARACTERS], None if who is None else who.name
        self._add(Line(time(), call.method, path, status, size, duration, call.remote, call.request_id, name))

    def refused(self, status: int, remote: str, request_id: str) -> None:
        """Remember what was no request."""
        if self._write is not None:
            self._add(Line(time(), "", "", status, 0, 0.0, remote, request_id, None))

    def flush(self) -> None:
        """Write now what waits."""
        pending, self._pending = self._pending, None
        if pending is not None and pending.active():
            pending.cancel()
        lines, self._lines = self._lines, []
        if lines and self._write is not None:
            self._write(lines)

    def _add(self, line: Line) -> None:
        self._lines.append(line)
        if self._pending is None:
            self._pending = self._reactor.callLater(DELAY_SECONDS, self.flush)
        elif len(self._lines) >= MOST_LINES:
            self.flush()
