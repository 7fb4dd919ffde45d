"""Folders that are durable: a file is only as safe as the entry of its folder in the folder above."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from stor.storage.stamps import stamp

_MOST = 10_000  # folders that we remember
_TRIES = 100


class Folders:
    """The folders below `root`; a folder that has become empty is removed. All of it blocks: for threads.

    Another process may have made a folder and not yet synced its entry, so each process syncs the way down to a
    folder once before it trusts it. A removal makes that void, for a folder of that name may be a new one: so a
    removal first changes the time of the file `mark`. Who reads that time after a file has got its name, and finds
    it as it was, has put the file in the folder that was synced. Nobody learns to trust a folder between the change
    and the removal, since one has a lock on `mark` that excludes the other.
    """

    def __init__(self, root: bytes, mark: bytes) -> None:
        self._root, self._mark = root, mark
        self._trusted: set[bytes] = set()
        self._time, self._mutex = 0, Lock()

    def rename(self, source: str | bytes, target: bytes) -> None:
        """Give a file its name, and make the folders that it needs."""
        for _ in range(_TRIES):
            try:
                os.rename(source, target)  # noqa: PTH104 - bytes
                return
            except FileNotFoundError:
                if not os.path.lexists(source):  # it was discarded
                    raise
                with suppress(FileNotFoundError):  # one was removed while we made the next
                    os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)  # noqa: PTH103, PTH120 - bytes
        os.rename(source, target)  # noqa: PTH104 - bytes

    def settle(self, folder: bytes) -> None:
        """Make durable what was done in `folder`, and its place in the folders above."""
        with self._mutex:
            trusted = folder in self._trusted and os.stat(self._mark).st_mtime_ns == self._time  # noqa: PTH116 - bytes
        if trusted:
            try:
                sync(folder)
                return
            except FileNotFoundError:
                pass  # it has just been removed
        with self._locked(fcntl.LOCK_SH) as time:
            self._sync_up(folder, time)

    def _sync_up(self, folder: bytes, time: int) -> None:
        with self._mutex:
            if time != self._time or len(self._trusted) > _MOST:
                self._trusted, self._time = set(), time
        way = []
        while True:
            try:
                sync(folder)
                way.append(folder)
            except FileNotFoundError:  # removed when empty: that must be durable in the folder above
                if folder == self._root:
                    raise
            if folder == self._root or (way and folder in self._trusted):
                break
            folder = folder.rpartition(b"/")[0]
        with self._mutex:
            if time == self._time:
                self._trusted.update(way)

    def prune(self, folder: bytes) -> None:
        """Remove the folder if it is empty, and those above it that become so."""
        with suppress(OSError):  # not empty any more, or gone: nothing is owed
            while folder != self._root:
                with os.scandir(folder) as entries:
                    if any(True for _ in entries):
                        return
                with self._locked(fcntl.LOCK_EX):
                    now = stamp()
                    os.utime(self._mark, ns=(now, now))
                    os.rmdir(folder)  # noqa: PTH106 - bytes
                folder = folder.rpartition(b"/")[0]

    @contextmanager
    def _locked(self, how: int) -> Iterator[int]:
        """Hold the mark; gives its time."""
        fd = os.open(self._mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, how)
            yield os.fstat(fd).st_mtime_ns
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)


def sync(folder: bytes) -> None:
    """Make a folder's entries durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
