"""Times that are never given twice."""

from threading import Lock
from time import time_ns

_mutex = Lock()
_last = 0


def stamp() -> int:
    """Give nanoseconds since 1970, later than all that this process was given before.

    Files get it as their time of change, and with their inode it makes their etag. The clock alone would not do: a
    kernel gives all changes within one tick (up to 10 ms) the same time, and gives the inode of a file that was just
    replaced to the next. Two processes may be given the same time, but then their files exist at the same time, and
    have different inodes.
    """
    global _last  # noqa: PLW0603 - one row of times for the process
    with _mutex:
        _last = max(time_ns(), _last + 1)
        return _last
