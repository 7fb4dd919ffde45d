"""The loop of all spliced sessions: an epoll of their own inside the reactor's.

Twisted accepts, dials and closes; in between it does not see these sockets. The inner epoll's descriptor is
one reader of the reactor (whichever reactor that is), so a burst over thousands of sessions costs the reactor
one event.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from stor.redis import lane
from stor.redis.lane import Lane


class Watcher(Protocol):
    """Whoever has sockets in the relay."""

    def happened(self, fd: int, events: int) -> None:
        """Look after a socket that the turn could not serve, or not wholly."""

    def abort(self) -> None:
        """End at once."""


@implementer(IReadDescriptor)
class Relay:
    """All spliced sessions of a process, as one reader of the reactor."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self._poll = select.epoll()
        self._sessions: dict[int, Watcher] = {}
        self._lanes: dict[int, Lane] = {}
        self._masks: dict[int, int] = {}

    def start(self) -> None:
        """Begin to serve."""
        self.reactor.addReader(self)

    def stop(self) -> None:
        """Serve no more; sessions are to have ended before."""
        self.reactor.removeReader(self)
        self._poll.close()

    def fileno(self) -> int:
        """Give the inner epoll's descriptor, readable whenever one of its sockets has something."""
        return self._poll.fileno()

    def logPrefix(self) -> str:
        """Name this reader in the reactor's log."""
        return "relay"

    def connectionLost(self, reason: Failure) -> None:
        """Nothing is lost: the reactor says so to all readers when it stops."""

    def doRead(self) -> None:
        """Let every lane move that can; look after the rest one by one."""
        for fd, events in lane.turn(self._poll, self._lanes):
            session = self._sessions.get(fd)
            if session is None:  # it ended earlier in this very turn
                continue
            try:
                session.happened(fd, events)
            except Exception:  # noqa: BLE001 - an error here would take all other sessions with it
                Logger().failure("a session broke and is cut off")
                session.abort()

    def enter(self, fd: int, session: Watcher) -> None:
        """Take a socket in; nothing is watched of it yet."""
        self._sessions[fd], self._masks[fd] = session, 0

    def leave(self, fd: int) -> None:
        """Let a socket go."""
        self.watch(fd, 0, None)
        self._sessions.pop(fd, None)
        self._masks.pop(fd, None)

    def watch(self, fd: int, mask: int, fast: Lane | None) -> None:
        """Watch a socket for `mask`; with `fast`, what is readable moves without asking the session.

        A socket watched for nothing is taken out of the epoll, which would report its end over and over.
        """
        if fast is None:
            self._lanes.pop(fd, None)
        else:
            self._lanes[fd] = fast
        before = self._masks.get(fd, 0)
        if mask == before:
            return
        self._masks[fd] = mask
        if not mask:
            with suppress(OSError):  # Twisted closed it before it told us, and the kernel forgot it then
                self._poll.unregister(fd)
        elif before:
            self._poll.modify(fd, mask)
        else:
            self._poll.register(fd, mask)
