"""The data folder: made, locked for one process, and the place of secrets that were made for the operator."""

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

from twisted.application.service import Service

from stor.errors import ConfigError


class Folder(Service):
    """Holds the lock of a data folder for as long as it runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def startService(self) -> None:
        """Raise ConfigError when another process serves this folder."""
        super().startService()
        make(self.path)
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise ConfigError(f"another process serves {self.path}") from None
        self._lock = lock

    def stopService(self) -> None:
        """Let the next process have it."""
        super().stopService()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def make(path: Path) -> None:
    """Make a folder that only we may enter; raises ConfigError when that cannot be."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as why:
        raise ConfigError(f"cannot make the folder {path}: {why.strerror}") from None


def kept_secret(path: Path) -> str:
    """Give the secret kept in this file; made, with 256 random bits, when there is none yet (mode 0600)."""
    make(path.parent)
    try:
        if not path.exists():
            _make_secret(path)
        text = path.read_text().strip()
    except OSError as why:
        raise ConfigError(f"{path}: {why.strerror}") from None
    if not text:
        raise ConfigError(f"{path} is empty; remove it to have a new one made")
    return text


def _make_secret(path: Path) -> None:
    """Write it whole or not at all, and never over one that is there."""
    fd, name = mkstemp(dir=path.parent, prefix=".secret-")  # mode 0600
    try:
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
