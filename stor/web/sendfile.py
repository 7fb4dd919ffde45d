"""A part of a file straight from the page cache into a socket: sendfile(2), in threads, at the reader's pace."""

import os
from contextlib import suppress
from socket import SHUT_RDWR, socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from stor.streams.stream import FileStream

CALL_BYTES = 1 << 20  # by one system call
TURN_BYTES = 8 << 20  # by one thread, before it looks after others


class Cut(Exception):
    """The file ended early."""


class Left(Exception):
    """The reader has left."""


@implementer(IWriteDescriptor)
class Push:
    """One file part on its way. The socket is a duplicate: its number stays ours while a thread uses it.

    A thread pushes until the socket is full, for only the disk may make it wait; for a socket that is full the
    reactor waits.
    """

    def __init__(self, out: socket, stream: FileStream, reactor: Any) -> None:
        self._out, self._stream, self._reactor = out.dup(), stream, reactor
        self._fd, self._at, self._stop = stream.fd, stream.start, stream.stop
        self._empty: Deferred[None] | None = None

    def push(self) -> bool:
        """Send what the socket takes, in a thread; True when it takes no more for now."""
        turn = min(self._stop, self._at + TURN_BYTES)
        while self._at < turn:
            try:
                sent = os.sendfile(self._out.fileno(), self._fd, self._at, min(CALL_BYTES, self._stop - self._at))
            except BlockingIOError:
                return True
            except ConnectionError:  # of the socket: a file has none
                raise Left from None
            if not sent:
                raise Cut("the file ended before its bytes did")
            self._at += sent
        return False

    @property
    def sent(self) -> int:
        """Bytes that are on their way."""
        return self._at - self._stream.start

    @property
    def left(self) -> int:
        """Bytes that are still to be sent."""
        return self._stop - self._at

    def room(self) -> Deferred[None]:
        """Fire when the socket takes more."""
        self._empty = Deferred(lambda _: self._reactor.removeWriter(self))
        self._reactor.addWriter(self)
        return self._empty

    def cut(self) -> None:
        """Let the thread find out that the reader has left."""
        with suppress(OSError):  # it is gone already
            self._out.shutdown(SHUT_RDWR)

    def close(self, _: object = None) -> None:
        """Let go of the socket and of the file; no thread is at work with them."""
        self._out.close()
        self._stream.close()

    # ---- what the reactor asks

    def fileno(self) -> int:
        """Give the number to wait for."""
        return self._out.fileno()

    def logPrefix(self) -> str:
        """Give a name."""
        return "sendfile"

    def doWrite(self) -> None:
        """There is room."""
        self._reactor.removeWriter(self)
        empty, self._empty = self._empty, None
        if empty is not None:
            empty.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        """The next push finds out what it is."""
        self.doWrite()
