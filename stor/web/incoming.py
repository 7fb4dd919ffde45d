"""The body of the request under way: out of the reader into a sink, or past us."""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from stor.streams.sink import Sink
from stor.web.reader import Reader


class Incoming:
    """Pulls what is here of a body when it is told that some is; `seen` counts its bytes.

    `changed` is told when more is wanted than before.
    """

    __slots__ = ("_blocked", "_came", "_changed", "_most", "_reader", "_sink", "seen")

    def __init__(self, reader: Reader, changed: Callable[[], None]) -> None:
        self._reader, self._changed = reader, changed
        self._sink: Sink | None = None
        self._came: Deferred[None] | None = None  # while somebody waits for the end
        self._blocked = False
        self._most = self.seen = 0

    @property
    def takes_more(self) -> bool:
        """Tell whether more is wanted now: somebody waits for the end, and the sink has not asked us to wait."""
        return self._came is not None and not self._blocked and not self._reader.whole

    async def into(self, sink: Sink) -> None:
        """Write the body into `sink`, at the sink's pace; ends early when the sink has had too much."""
        self._sink = sink
        await self._end()

    async def past(self, most: int) -> bool:
        """Let the rest go by, `most` bytes at most; tell whether that was all of it."""
        self._sink, self._most, self._blocked = None, self.seen + most, False
        await self._end()
        return self._reader.whole

    async def _end(self) -> None:
        came = self._came = Deferred()
        try:
            self.pull()
            if not came.called:
                self._changed()
            await came
        finally:
            self._came = None

    def pull(self) -> None:
        """Take what is here. Malformed when it is none."""
        while self.takes_more:
            piece = self._reader.body()
            if piece:
                self.seen += len(piece)
                self._take(piece)
            elif not self._reader.whole:
                return
        if self._reader.whole and not self._blocked:
            self._ended()

    def _take(self, piece: bytes) -> None:
        sink = self._sink
        if sink is None:
            if self.seen > self._most:
                self._ended()
            return
        wait = sink.write(piece)
        if getattr(sink, "over", False):  # its `finish` says so
            self._ended()
        elif wait is not None and not wait.called:
            self._blocked = True
            wait.addBoth(self._go_on, sink)

    def _go_on(self, _: object, sink: Sink) -> None:
        """The sink takes more; what went wrong is told by its `finish`."""
        if self._sink is sink:
            self._blocked = False
            if self._reader.whole:
                self._ended()
            else:
                self._changed()

    def _ended(self) -> None:
        came, self._came = self._came, None
        if came is not None:
            came.callback(None)
