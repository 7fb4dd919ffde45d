"""What a request's body is written into; chosen from the header, before the first byte."""

from typing import Protocol

from twisted.internet.defer import Deferred


class Sink(Protocol):
    """Takes a body piece by piece. After `finish` it belongs to the handler, who keeps or discards it."""

    @property
    def size(self) -> int:
        """Bytes that came so far."""

    def write(self, data: bytes) -> Deferred[None] | None:
        """Take a piece; a Deferred means: no more before it fires. Never raises: `finish` tells what went wrong."""

    async def finish(self) -> None:
        """All has come; raises what went wrong on the way (TooLarge, Full, OSError)."""

    def discard(self) -> None:
        """Forget it, at any time and any number of times; never waits."""
