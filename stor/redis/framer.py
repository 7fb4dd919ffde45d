"""Where one request ends and the next begins: skipped by announced length, never by searching in payloads.

Pure. `Framer.scan` says how far a stream may pass unread. It stops in front of what has to be read: a frame
that is or may become AUTH or HELLO, an inline command, a header that is not complete. Once a header is one
that Redis refuses (and closes after), or that could be read in two ways, the framer is `opaque`: all passes,
nothing is looked at again, so that no credential of ours can ever be written into what is somebody's payload.

`stor.redis._lane` holds the same thing compiled; `tests/redis/test_lane.py` holds the two against each other.
"""

from __future__ import annotations

from stor.redis.resp import LINE, integer

_RANGES = {ord("*"): (-(1 << 63), 0x7FFFFFFF), ord("$"): (0, 1 << 62)}
_LOGIN_NAMES = {4: b"AUTH", 5: b"HELLO"}


class Framer:
    """The state of one request stream between two scans."""

    __slots__ = ("args", "opaque", "skip")

    def __init__(self) -> None:
        self.args = 0
        """Bulk strings still to come in the frame that has begun."""
        self.skip = 0
        """Bytes still to come of the bulk string that has begun, its line end included."""
        self.opaque = False
        """The rest of the stream passes unread."""

    @property
    def between(self) -> bool:
        """Whether the stream stands between two frames."""
        return not self.args and not self.skip

    def scan(self, data: bytes | bytearray, start: int, stop: int) -> int:
        """Advance over `data[start:stop]`; return up to where it may pass (`stop` when all of it may).

        What is left over is to be given again, as the beginning of what comes next.
        """
        at = start
        while at < stop and not self.opaque:
            if self.skip:
                step = min(self.skip, stop - at)
                self.skip -= step
                at += step
            elif self.args:
                size, text_at = self._header(data, at, stop, ord("$"))
                if size is None:
                    break
                self.args -= 1
                self.skip, at = size + 2, text_at
            elif not (passed := self._begin(data, at, stop)):
                break
            else:
                at = passed
        return stop if self.opaque else at

    def _begin(self, data: bytes | bytearray, at: int, stop: int) -> int:
        """Begin a frame whose name is not one of ours; where it goes on, or 0 to wait or have it read."""
        if data[at] != ord("*"):
            return 0
        count, name_at = self._header(data, at, stop, ord("*"))
        if count is None:
            return 0
        if count <= 0:
            return name_at
        size, text_at = self._header(data, name_at, stop, ord("$"))
        if size is None:
            return 0
        name = _LOGIN_NAMES.get(size)
        if name and (text_at + size > stop or bytes(data[text_at : text_at + size]).upper() == name):
            return 0
        self.args, self.skip = count - 1, size + 2
        return text_at

    def _header(self, data: bytes | bytearray, at: int, stop: int, mark: int) -> tuple[int | None, int]:
        """Read a mark, a number, CR and a byte; None when more must come, and opaque when Redis refuses it."""
        end = data.find(b"\r", at, stop)
        if end < 0 or end + 1 >= stop:
            self.opaque = stop - at > LINE or data.find(b"\0", at, stop if end < 0 else end) >= 0
            return None, at
        value = integer(bytes(data[at + 1 : end])) if data[at] == mark and end - at <= 21 else None
        if (
            value is None
            or value > 0x7FFFFFFFFFFF
            or (mark == ord("*") and value > 0x7FFFFFFF)
            or (mark == ord("$") and value < 0)
        ):
            self.opaque = True
            return None, at
        return value, end + 2
