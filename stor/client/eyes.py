"""Notices that something in a folder may have changed (inotify(7)); what, a scan will tell."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from stor.client.paths import KEPT, Ignored

_CLOSE_WRITE, _MOVED, _CREATE, _DELETE = 0x8, 0xC0, 0x100, 0x200
_ONLYDIR, _DONT_FOLLOW, _EXCL_UNLINK = 0x01000000, 0x02000000, 0x04000000
_EVENTS = _CLOSE_WRITE | _MOVED | _CREATE | _DELETE | _ONLYDIR | _DONT_FOLLOW | _EXCL_UNLINK
_READ = 1 << 16


class Eyes(FileDescriptor):
    """Calls `seen` when something happened; Twisted's own INotify ends when a watched folder is deleted."""

    def __init__(self, root: Path, ignored: Ignored, seen: Callable[[], object], reactor: Any) -> None:
        super().__init__(reactor)
        self._root, self._ignored, self._seen = os.path.realpath(root), ignored, seen
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.connected = self._fd >= 0
        if self._fd >= 0:
            self.startReading()

    def fileno(self) -> int:
        """What the reactor watches."""
        return self._fd

    def cover(self) -> bool:
        """Watch every folder there is now; False when that cannot be. It waits for the disk."""
        if self._fd < 0:
            return False
        for folder, inner, _ in os.walk(self._root):
            above = folder[len(self._root) + 1 :]
            inner[:] = [name for name in inner if not self._is_left_alone(f"{above}/{name}" if above else name)]
            if self._libc.inotify_add_watch(self._fd, os.fsencode(folder), _EVENTS) < 0 and Path(folder).is_dir():
                return False  # no more watches to be had, or no such thing on this file system
        return True

    def _is_left_alone(self, path: str) -> bool:
        return path == KEPT or path in self._ignored

    def doRead(self) -> Failure | None:
        """Something happened; each event is as good as another."""
        try:
            os.read(self._fd, _READ)
        except BlockingIOError:
            return None
        except OSError:
            return Failure(ConnectionDone())
        self._seen()
        return None

    def connectionLost(self, reason: Failure) -> None:
        """Close it."""
        super().connectionLost(reason)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        """Look no more."""
        if self._fd >= 0:
            self.stopReading()
            self.connectionLost(Failure(ConnectionDone()))
