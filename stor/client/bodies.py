"""Bodies of HTTP requests and answers, at the pace of whoever is slower."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse
from zope.interface import implementer

from stor.errors import TooLarge, Unavailable

_MOST = 1 << 20  # bytes of an answer that wait in memory for their reader


class Idle:
    """Calls `expire` when nothing moved for so many seconds."""

    def __init__(self, seconds: float, expire: Callable[[], object], clock: IReactorTime) -> None:
        self._seconds, self._expire, self._clock = seconds, expire, clock
        self._call: IDelayedCall | None = None
        self.expired = False

    def moved(self) -> None:
        """Begin to wait anew."""
        if self._call is not None and self._call.active():
            self._call.reset(self._seconds)
        else:
            self._call = self._clock.callLater(self._seconds, self._expired)

    def _expired(self) -> None:
        self.expired = True
        self._expire()

    def stop(self) -> None:
        """Wait no more."""
        if self._call is not None and self._call.active():
            self._call.cancel()


@implementer(IBodyProducer, IPushProducer)
class Outgoing:
    """A request's body, read piece by piece from `read`, which gives b"" at the end; `length` None: in chunks.

    An error of `read` ends the request before its last byte, and is kept in `error`.
    """

    def __init__(self, length: int | None, read: Callable[[], Awaitable[bytes]]) -> None:
        self.length = UNKNOWN_LENGTH if length is None else length
        self.error: BaseException | None = None
        self.moved: Callable[[], object] = lambda: None  # called for each piece
        self._read = read
        self._work: Deferred[None] | None = None
        self._resumed: Deferred[None] | None = None
        self._over: Deferred[None] = Deferred()
        self.unwanted = False  # nobody waits for its end any more: it was answered already, or the connection is lost

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write all of it; fires when that is done. What fails when it is `unwanted` ends the connection instead."""
        work = self._work = Deferred.fromCoroutine(self._produce(consumer))
        done: Deferred[None] = Deferred(lambda _: work.cancel())

        def finished(result: Any) -> None:
            if isinstance(result, Failure) and self.unwanted:
                _hang_up(consumer)
            else:
                done.callback(result)
            self._over.callback(None)

        work.addBoth(finished)
        return done

    async def _produce(self, consumer: IConsumer) -> None:
        try:
            while piece := await self._read():
                if self._resumed is not None:
                    await self._resumed
                consumer.write(piece)
                self.moved()
        except BaseException as why:
            self.error = why
            raise

    async def over(self) -> None:
        """Wait until nothing of it is read any more; a server may answer before it has it all."""
        if self._work is not None and not self._over.called:
            await self._over

    def pauseProducing(self) -> None:
        """Write nothing before `resumeProducing`."""
        if self._resumed is None:
            self._resumed = Deferred()

    def resumeProducing(self) -> None:
        """Go on."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def stopProducing(self) -> None:
        """Nobody takes it any more."""
        self.unwanted = True
        if self._work is not None:
            self._work.cancel()


def _hang_up(consumer: Any) -> None:
    """End the connection of a request whose body will not come to its end; Twisted offers no other way to it."""
    transport = getattr(consumer, "_consumer", None)
    if transport is not None:
        transport.abortConnection()


class Incoming(Protocol):
    """An answer's body as a Stream: paused while nobody reads, cut off when nothing comes for too long."""

    transport: Any  # Twisted's promise for it has no pauseProducing

    def __init__(self, response: IResponse, seconds: float, clock: IReactorTime) -> None:
        self.length = response.length if isinstance(response.length, int) else None
        self._pieces = bytearray()
        self._reading: Deferred[None] | None = None
        self._end: Failure | None = None
        self._idle = Idle(seconds, self.close, clock)
        response.deliverBody(self)

    def dataReceived(self, data: bytes) -> None:
        """Keep it, and pause when it is much."""
        self._pieces += data
        self._wake()
        if len(self._pieces) >= _MOST:
            self.transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end, good or bad."""
        self._end = reason
        self._wake()

    def _wake(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.callback(None)

    async def read(self) -> bytes:
        """Give what has come, b"" at the end; Unavailable when it broke off."""
        while not self._pieces and self._end is None:
            self._reading = Deferred()
            self._idle.moved()
            try:
                await self._reading
            finally:
                self._idle.stop()
        if self._pieces:
            pieces, self._pieces = bytes(self._pieces), bytearray()
            self.transport.resumeProducing()
            return pieces
        if self._end is None or not self._end.check(ResponseDone, PotentialDataLoss):
            raise Unavailable("the connection broke off")
        return b""

    async def whole(self, most: int) -> bytes:
        """Read all of it; TooLarge beyond `most` bytes."""
        pieces = bytearray()
        while piece := await self.read():
            pieces += piece
            if len(pieces) > most:
                self.close()
                raise TooLarge(f"an answer of more than {most} bytes")
        return bytes(pieces)

    def close(self) -> None:
        """Take no more; the connection goes with it, unless the end has been seen."""
        self._idle.stop()
        if self._end is None:
            self.transport.loseConnection()
