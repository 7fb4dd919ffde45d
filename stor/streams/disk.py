"""What the disk's errors mean to us, and descriptors that several threads may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from threading import Lock

from stor.errors import Full, StorError, Unavailable


def meaning(error: OSError) -> StorError:
    """Give our error for one of the disk's; it names no path, which is nobody's business but the operator's."""
    if error.errno in {ENOSPC, EDQUOT, EFBIG}:
        return Full("no room left on the disk")
    return Unavailable(f"the disk says: {error.strerror or error}")


@contextmanager
def disk() -> Iterator[None]:
    """Raise what the disk says as an error of ours."""
    try:
        yield
    except OSError as error:
        raise meaning(error) from error


class Descriptor:
    """An open file, closed once, and only when no thread is at work with it: its number may be another's by then.

    `with descriptor as fd:` is for the time of one system call; raises ValueError when it has been closed.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._users, self._closed, self._lock = 0, False, Lock()

    def __enter__(self) -> int:
        with self._lock:
            if self._closed:
                raise ValueError("this file has been closed")
            self._users += 1
        return self.fd

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users or not self._closed:
                return
        os.close(self.fd)

    def close(self) -> None:
        """Close it when the last who uses it now has let go; any number of times."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._users:
                return
        os.close(self.fd)
