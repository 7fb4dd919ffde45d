"""A file that goes away unless it is kept."""

import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Self

from stor.streams.disk import Descriptor

_numbers = count()


class Temporary(Descriptor):
    """A new file in `folder`, which is ours alone; mode 0600. All of it blocks: for threads."""

    def __init__(self, folder: Path) -> None:
        self.path = f"{folder}/{os.getpid():x}-{next(_numbers):x}"
        super().__init__(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._kept = False

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> Self:
        """Write all of `data` at `offset`."""
        left = memoryview(data)
        with self as fd:
            while left:
                written = os.pwrite(fd, left, offset)
                left, offset = left[written:], offset + written
        return self

    def keep(self) -> None:
        """It has got another name."""
        self._kept = True

    def close(self) -> None:
        """Close it and, unless it was kept, remove it; any number of times."""
        if not self._kept:
            self._kept = True
            with suppress(FileNotFoundError):
                os.unlink(self.path)  # noqa: PTH108 - a str, on a hot path
        super().close()
