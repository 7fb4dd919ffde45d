"""Where one request ends and the next begins: skipped by announced length, never by searching in payloads.

Pure. `Framer.scan` says how far a stream may pass unread. It stops in front of what has to be read: a frame
whose name is or may become one of NAMES, a name with a NUL in it, an inline command, an empty frame, a header
that is not complete. Once a header is one that Redis refuses (and closes after), or that two servers could
read in two ways, the framer is `opaque`: all passes, nothing is looked at again, so that no credential of
ours can ever be written into what is somebody's payload.

`stor.redis._lane` holds the same thing compiled; `tests/redis/test_lane.py` holds the two against each other.
"""

from __future__ import annotations

from stor.redis.resp import LINE, integer

NAMES = (b"AUTH", b"HELLO", b"SCRIPT")
_LONGEST = 7  # bytes of a name that are looked at: one more than the longest of NAMES
_NO_NAME = 512 << 20
_RANGES = {ord("*"): (-(1 << 63), 0x7FFFFFFF), ord("$"): (0, 1 << 62)}


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
        """Begin a frame that may pass unread; where it goes on, or 0 to wait or have it read."""
        if data[at] != ord("*"):
            return 0
        count, name_at = self._header(data, at, stop, ord("*"))
        if count is None or count <= 0:
            return 0
        size, text_at = self._header(data, name_at, stop, ord("$"))
        if size is None:
            return 0
        if size > _NO_NAME:  # Redis refuses it, and there is no name to wait for
            self.opaque = True
            return 0
        looked_at = min(size, _LONGEST)
        name = bytes(data[text_at : min(text_at + looked_at, stop)])
        if len(name) < looked_at or name.upper() in NAMES or b"\0" in name:
            return 0
        self.args, self.skip = count - 1, size + 2
        return text_at

    def _header(self, data: bytes | bytearray, at: int, stop: int, mark: int) -> tuple[int | None, int]:
        """Read a mark, a number and CRLF; None when more must come, and opaque when it is doubtful."""
        end = data.find(b"\r", at, stop)
        if end < 0 or end + 1 >= stop:
            self.opaque = stop - at > LINE or data.find(b"\0", at, stop if end < 0 else end) >= 0
            return None, at
        value = integer(bytes(data[at + 1 : end])) if data[at] == mark else None
        least, most = _RANGES[mark]
        # Redis does not look at the byte after CR, others do: where they differ, nothing is read any more.
        if value is None or not least <= value <= most or data[end + 1] != ord("\n"):
            self.opaque = True
            return None, at
        return value, end + 2
