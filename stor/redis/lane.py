"""Bytes from one socket to another: one recv, one send, nothing in between that is not needed.

A `Lane` moves one direction of one session; `turn` lets every lane move whose socket is readable and reports
only what wants a decision: an end, an error, a full peer, bytes that the framer will not pass unread. Written
in Python here, and compiled in `_lane.c` (taken when it was built and STOR_PURE is unset), one promise for
both. The compiled one is there because it is what brings the proxy level with HAProxy; see bench/redis.
"""

from __future__ import annotations

import errno
import os
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from stor.redis.framer import Framer

if TYPE_CHECKING:
    from select import epoll

EPOLLIN, EPOLLOUT = 1, 4  # of <sys/epoll.h>; `select` has them only where there is an epoll
BUFFER = 256 * 1024
"""Most bytes moved at once; one buffer serves every lane, as nothing stays in it between two moves."""
BATCH = 256
"""Most sockets served in one turn, so that the rest of the reactor has its turn too."""

MOVED, LEFT, ENDED, BROKEN = 0, 1, 2, 3
"""What came of a move: all is done · `rest` has to be dealt with · the source has ended · it has failed."""


class PureLane:
    """One direction between two non-blocking sockets, framed when it is given a framer."""

    __slots__ = ("_dst", "_framer", "_src", "clean", "error", "outcome", "rest", "stamp", "total")
    _buffer = bytearray(BUFFER)
    _view = memoryview(_buffer)
    _moves = 0

    def __init__(self, src: int, dst: int, framer: Framer | None) -> None:
        self._src, self._dst, self._framer = src, dst, framer
        self.outcome = MOVED
        self.error = 0
        """The errno of a BROKEN source; or, when LEFT, of a destination that takes no more (0: it is full)."""
        self.rest = b""
        """What was received and not sent, of which `clean` bytes have been scanned and may pass."""
        self.clean = 0
        self.total = 0
        """Bytes received so far."""
        self.stamp = 0
        """Which of all lanes' receipts its last one was: of two lanes, the larger stamp spoke last."""

    def move(self) -> int:
        """Receive once, send once; return and keep the outcome."""
        try:
            received = os.readv(self._src, [self._buffer])
        except OSError as why:
            return self._end(why.errno or errno.EIO)
        if not received:
            return self._end(0)
        self.total += received
        PureLane._moves = self.stamp = PureLane._moves + 1
        clean = received if self._framer is None else self._framer.scan(self._buffer, 0, received)
        sent = self.error = 0
        if clean:
            try:
                sent = os.write(self._dst, self._view[:clean])
            except OSError as why:
                self.error = 0 if why.errno == errno.EAGAIN else why.errno or errno.EIO
        self.outcome = MOVED if sent == received else LEFT
        self.rest, self.clean = bytes(self._view[sent:received]), clean - sent
        return self.outcome

    def _end(self, error: int) -> int:
        self.error = error
        self.outcome = MOVED if error == errno.EAGAIN else BROKEN if error else ENDED
        return self.outcome


def pure_turn(poll: epoll, lanes: dict[int, PureLane]) -> list[tuple[int, int]]:
    """Move what is readable without waiting; give the descriptor and events of all that wants a decision.

    An entry whose events are EPOLLIN alone and whose descriptor is in `lanes` has moved, and its lane's
    outcome is not MOVED; every other entry has not been touched.
    """
    return [
        (fd, events)
        for fd, events in poll.poll(0, BATCH)
        if events != EPOLLIN or (lane := lanes.get(fd)) is None or lane.move() != MOVED
    ]


def compiled() -> ModuleType | None:
    """Give the compiled twin; None when it was not built, or is not wanted: all works then, less fast."""
    try:
        return None if os.environ.get("STOR_PURE") else import_module("stor.redis._lane")
    except ImportError:
        return None


Lane = PureLane
turn = pure_turn
new_framer = Framer

if (_twin := compiled()) is not None:
    Lane, turn, new_framer = _twin.Lane, _twin.turn, _twin.Framer
