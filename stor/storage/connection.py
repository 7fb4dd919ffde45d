"""One connection to an HTTP server: a request, its answer, the next request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from httptools import HttpParserError, HttpResponseParser
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Client as TcpClient
from twisted.python.failure import Failure
from zope.interface import implementer

from stor.errors import Unavailable
from stor.storage.incoming import Incoming
from stor.streams.stream import Body

if TYPE_CHECKING:
    from stor.storage.http import Client

SMALL = 64 * 1024  # bytes of an answer that are given whole
PATIENCE = 3.0  # times the usual silence, for a server that writes a large body before it answers


class Lost(Unavailable):
    """The connection ended before the answer did: what was asked may have been done."""


@dataclass(frozen=True, slots=True)
class Request:
    """The header, with the body behind it if that is small.

    Otherwise `next_piece` gives the body, b"" at its end, and the answer may come so many `seconds` later.
    """

    method: str
    head: bytes
    next_piece: Callable[[], Awaitable[bytes]] | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: Body


@implementer(IPushProducer)
class Connection(Protocol):
    """Used for one exchange at a time; goes back to its client when that has ended well."""

    transport: Any
    _parser: Any = None  # there is one while an answer is awaited or comes
    _answered: Deferred[Answer] | None = None
    _stream: Incoming | None = None
    _upload: Deferred[None] | None = None
    _is_sending = False
    _full: Deferred[None] | None = None  # the upload waits for the server
    _why = ""
    _deadline = _silence = 0.0
    seen = 0.0  # when there was a sign of life

    def __init__(self, client: Client) -> None:
        self._client = client

    def connectionMade(self) -> None:
        """Let small requests go out at once."""
        self.transport.setTcpNoDelay(True)
        self._is_plain = isinstance(self.transport, TcpClient)
        self._tcp = self.transport if self._is_plain else self.transport.transport  # below TLS

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell all who wait."""
        said = self._why or f"the connection was lost: {reason.getErrorMessage()}"
        error = Lost(f"the storage does not answer: {said}", retry_after=1.0)
        answered, stream, self._answered, self._stream, self._parser = self._answered, self._stream, None, None, None
        self._client.gone(self)
        if self._upload is not None:
            self._upload.cancel()
        if stream is not None:
            stream.fail(error)
        if answered is not None:
            answered.errback(error)

    def abort(self, why: str) -> None:
        """Cut it."""
        self._why = self._why or why
        self.transport.abortConnection()

    def look(self, now: float) -> None:
        """Cut it when the server gives no sign of life for too long, or answers too late."""
        if self._parser is None or (self._stream is not None and self._stream.is_held):
            return  # nobody waits for the server
        if now > self.seen + self._silence or (self._answered is not None and now > self._deadline):
            self.abort("it took too long")

    def ask(self, request: Request, seconds: float) -> Deferred[Answer]:
        """Send, and give the answer; cancelling it cuts the connection."""
        self.seen = self._client.now()
        self._deadline = self.seen + seconds + request.seconds
        self._silence = min(seconds + request.seconds, PATIENCE * seconds)
        self._is_head = request.method == "HEAD"
        self._parser = HttpResponseParser(self)
        self._begin()
        answered = self._answered = Deferred(self._cancelled)
        self._send(request.head)
        if request.next_piece is not None:
            self._is_sending = True
            self._upload = Deferred.fromCoroutine(self._send_body(request.next_piece))
            self._upload.addErrback(self._unsent)
        return answered

    def _cancelled(self, _: Deferred[Answer]) -> None:
        self._answered = None
        self.abort("nobody waits for the answer")

    def _send(self, data: bytes) -> None:
        """Hand it to the kernel now: with `write` it would wait for another round of the reactor."""
        if self._is_plain and self._is_sent():  # or it would come before what waits, in the middle of a body
            with suppress(OSError):  # full, or lost: the transport will find out
                data = data[self.transport.socket.send(data) :]
        if data:
            self.transport.write(data)

    def _is_sent(self) -> bool:
        """Tell whether the kernel has all that was written."""
        return not self._tcp.dataBuffer and not self._tcp._tempDataBuffer  # noqa: SLF001 - nothing public tells

    async def _send_body(self, next_piece: Callable[[], Awaitable[bytes]]) -> None:
        self.transport.registerProducer(self, True)
        try:
            while piece := await next_piece():
                self.transport.write(piece)
                self.seen = self._client.now()
                if self._full is not None:
                    await self._full
        finally:
            self._is_sending = False
            self.transport.unregisterProducer()

    def _unsent(self, failure: Failure) -> None:
        """What gives the body has failed, or nobody wants it any more."""
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.errback(failure)
        elif not failure.check(CancelledError):
            self.abort("the body could not be read")
        self.abort("the body was not sent")

    def pauseProducing(self) -> None:
        """Enough is on its way."""
        self._full = self._full or Deferred()

    def resumeProducing(self) -> None:
        """The server took it."""
        full, self._full = self._full, None
        if full is not None:
            full.callback(None)

    def stopProducing(self) -> None:
        """The connection is lost; `connectionLost` comes."""

    def dataReceived(self, data: bytes) -> None:
        """Take a part of an answer; nobody is told while the parser is at it, for they may send the next request."""
        if self._parser is None:
            self.abort("it said something unasked")
            return
        self.seen = self._client.now()
        try:
            self._parser.feed_data(data)
        except HttpParserError as why:
            self.abort(f"its answer is no HTTP: {why}")
        else:
            if self._has_head:
                self._go_on()

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._pieces: list[bytes] = []
        self._has_head = self._is_whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """For the parser: a header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("utf-8", "replace")

    def on_headers_complete(self) -> None:
        """For the parser: the header's end."""
        self._has_head = True

    def on_body(self, data: bytes) -> None:
        """For the parser: a piece of the body."""
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        """For the parser: the answer's end, or that of an interim answer (1xx)."""
        if self._parser.get_status_code() < 200:
            self._begin()
        else:
            self._is_whole = True

    def _go_on(self) -> None:
        """The header is here, and perhaps more."""
        status = self._parser.get_status_code()
        said = self._headers.get("content-length")
        length = None if said is None else int(said)  # a chunked answer does not say
        is_whole = self._is_whole or self._is_head
        pieces, self._pieces = self._pieces, []
        if self._stream is not None:
            stream = self._stream
        elif is_whole or status >= 300 or (sum(map(len, pieces)) if length is None else length) <= SMALL:
            self._go_on_small(status, pieces, is_whole=is_whole)
            return
        else:
            stream = self._stream = Incoming(self.transport, length)
            self._answer(Answer(status, self._headers, stream))
        stream.come(pieces)
        if is_whole and not stream.is_closed:
            self._release()
            stream.end()

    def _go_on_small(self, status: int, pieces: list[bytes], *, is_whole: bool) -> None:
        if is_whole:
            headers = self._headers
            answered, self._answered = self._answered, None
            self._release()  # first, or who goes on now would make another connection
            if answered is not None:
                answered.callback(Answer(status, headers, b"".join(pieces)))
        elif sum(map(len, pieces)) > SMALL:
            self.abort("its answer is too long")
        else:
            self._pieces = pieces

    def _answer(self, answer: Answer) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.callback(answer)

    def _release(self) -> None:
        """The exchange is over; a server may answer before it has the whole body, whose rest nobody needs then."""
        is_last = self._headers.get("connection", "").lower() == "close" or self._parser.get_http_version() != "1.1"
        self._parser = self._stream = self._upload = None
        if self._is_sending or is_last or not self._is_sent():
            self.abort("it will not go on")
        else:
            self._client.free(self)
