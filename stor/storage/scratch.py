"""A folder for the temporary files of this process, beside those of others."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Scratch:
    """A subfolder of `folder`, locked while we live; those that nobody locks are left by the dead and are removed.

    All of it blocks: for threads.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._folder = folder
        self._lock: int | None = None

    def open(self) -> None:
        """Make it, and clear what the dead have left."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._gate():
            self.path.mkdir(mode=0o700)
            self._lock = _locked(self.path / "lock")
            self._clear()

    def clear(self) -> None:
        """Clear what those have left who died meanwhile."""
        with self._gate():
            self._clear()

    def _clear(self) -> None:
        for other in self._folder.iterdir():
            if other.is_dir() and other != self.path:
                _clear(other)

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """Let one process at a time make or clear folders: one could be found before it is locked."""
        gate = _locked(self._folder / "lock")
        try:
            yield
        finally:
            os.close(gate)

    def close(self) -> None:
        """Remove it."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


def _locked(path: Path, how: int = fcntl.LOCK_EX) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, how)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _clear(folder: Path) -> None:
    try:
        lock = _locked(folder / "lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # it lives
    try:
        shutil.rmtree(folder)
    finally:
        os.close(lock)
