"""A request body in memory, never larger than its limit."""

from stor.errors import TooLarge


class Memory:
    """A Sink that keeps what comes; beyond the limit it drops everything, and `finish` says so."""

    __slots__ = ("_kept", "_limit", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: bytes | bytearray = b""
        self.size = 0

    @property
    def over(self) -> bool:
        """Tell whether more came than may be kept: no need to wait for the rest."""
        return self.size > self._limit

    @property
    def content(self) -> bytes:
        """All of it, as one value."""
        return bytes(self._kept)

    def write(self, data: bytes) -> None:
        """Keep `data`, or drop it and all that came before."""
        self.size += len(data)
        if self.size > self._limit:
            self._kept = b""
        elif not self._kept:
            self._kept = data  # most bodies come in one piece
        else:
            if isinstance(self._kept, bytes):
                self._kept = bytearray(self._kept)
            self._kept += data

    async def finish(self) -> None:
        """TooLarge when more came than may be kept."""
        if self.size > self._limit:
            raise TooLarge(f"a body may have {self._limit} bytes here")

    def discard(self) -> None:
        """Forget it."""
        self._kept = b""


class Passed(Memory):
    """A Sink that keeps nothing of what comes, and bears as much as a Memory does."""

    __slots__ = ()

    def write(self, data: bytes) -> None:
        """Count `data`."""
        self.size += len(data)


NOTHING = Memory(0)  # the body of a request that has none; nobody writes to it
