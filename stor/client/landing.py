"""A file on its way in: written beside the tree, durable when finished, and forgotten when it does not land."""

import os
from contextlib import suppress
from hashlib import md5
from pathlib import Path
from secrets import token_hex
from threading import Lock

from stor.client.reading import Stopped
from stor.client.tree import Place


class Landing:
    """A new file in `tmp`. Whoever moves it away holds `lock`: somebody who gave up may `close` at any time."""

    def __init__(self, tmp: Path) -> None:
        self.name = token_hex(8)
        self.lock = Lock()
        self.landed = False  # what lies in `tmp` under our name, if anything, is not ours any more
        self._tmp = tmp
        self._fd = self._folder = -1
        self._closed = False
        self._digest = md5(usedforsecurity=False)

    @property
    def place(self) -> Place:
        """Where it lies now."""
        return self._folder, self.name

    @property
    def md5(self) -> str:
        """The md5 of what was written, in hex."""
        return self._digest.hexdigest()

    def open(self) -> None:
        """Make the file."""
        with self.lock:
            self.check()
            self._folder = os.open(self._tmp, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._fd = os.open(self.name, _NEW, 0o666, dir_fd=self._folder)

    def check(self) -> None:
        """Raise Stopped when it was closed."""
        if self._closed:
            raise Stopped

    def write(self, data: bytes) -> None:
        """Take the next piece."""
        with self.lock:
            self.check()
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            self._digest.update(data)

    def finish(self, mode: int | None) -> None:
        """Make it durable, with these permission bits when given."""
        if mode is not None:
            os.fchmod(self._fd, mode)
        os.fsync(self._fd)

    def close(self) -> None:
        """Let go of it; unless it has landed, it is forgotten."""
        with self.lock:
            self._closed = True
            if self._fd >= 0:
                os.close(self._fd)
                if not self.landed:
                    with suppress(FileNotFoundError):
                        os.unlink(self.name, dir_fd=self._folder)
            if self._folder >= 0:
                os.close(self._folder)
            self._fd = self._folder = -1


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
