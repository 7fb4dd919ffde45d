"""One HTTP/1.1 connection: a request at a time, deadlines for slow clients, and its end."""

from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall, IProtocol, ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from stor.web.call import Call
from stor.web.deadline import Deadline
from stor.web.exchange import Exchange
from stor.web.framing import Malformed
from stor.web.reader import Reader
from stor.web.wire import Wire

if TYPE_CHECKING:
    from stor.web.site import Site

TURN_REQUESTS = 16  # that one connection may have answered before others have a turn
LOOK_SECONDS = 5.0  # between looks whether the client is still there, while nothing is read
RETIRE_SECONDS = 2.0  # for the end of a header that is half here when we drain
LINGER_SECONDS = 2.0  # after a refusal: a close with bytes unread would take the answer away (RFC 9112, 9.6)


class Awaited(Enum):
    """What the deadline is for."""

    NOTHING = auto()
    REQUEST = auto()  # its first byte
    HEADER = auto()  # its end
    BODY = auto()  # enough of it
    READER = auto()  # to take some of what we send
    LEAVE = auto()  # the client's, which nobody tells us of while nothing is read
    END = auto()  # of the connection


NOTHING, REQUEST, HEADER, BODY, READER, LEAVE, END = Awaited  # the way through the class is a slow one


class Channel(Protocol):
    """Reads requests one after another and answers each before the next; what is malformed or too slow is refused.

    While an answer is under way no more than one read's worth is taken from the socket.
    """

    transport: Any  # TCP, or TLS above it
    reader: Reader
    wire: Wire

    def __init__(self, site: "Site") -> None:
        self.site = site
        self.peer = ""
        self.counted: str | None = None  # the address under which the site counts us
        self.retiring = False
        self._limits = site.limits
        self._exchange: Exchange | None = None
        self._other: IProtocol | None = None  # who has taken the connection over
        self._deadline = Deadline(site.reactor, self._too_slow)
        self._awaited = NOTHING
        self._since = 0.0  # when the header that is awaited began
        self._seen = 0  # bytes of the body when its rate was last looked at
        self._turn: IDelayedCall | None = None  # in which we go on with requests that are here already
        self._closing = self._busy = self._held = False

    # ---- what Twisted calls

    def connectionMade(self) -> None:
        """Be known to the site until the connection is gone."""
        self.peer = getattr(self.transport.getPeer(), "host", None) or ""
        self.reader = Reader(self._limits.header_bytes, self._limits.header_count)
        self.wire = Wire(self.transport, self._room_changed)
        refusal = self.site.joined(self)
        if refusal is not None:
            self.transport.write(self.site.refusal(self, refusal))
            self._close()
            return
        no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if no_delay is not None:
            no_delay(True)
        self._steer()

    def dataReceived(self, data: bytes) -> None:
        """Read on."""
        if self._closing:
            return
        if self._other is not None:
            self._other.dataReceived(data)
            return
        self.site.figures.received += len(data)
        self.reader.feed(data)
        self.advance()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Forget everything."""
        self._closing = True
        self._deadline.end()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
        other, self._other = self._other, None
        if other is not None:
            other.connectionLost(reason)
        self.reader.rest()
        self.wire.end()
        self.site.left(self)

    # ---- what the exchange calls

    def advance(self) -> None:
        """Do all that can be done with what was received."""
        if self._busy or self._turn is not None:  # an answer came within the call below, which goes on
            return
        self._busy = True
        try:
            for _ in range(TURN_REQUESTS):
                if not self._step():
                    break
            else:
                self._turn = self.site.reactor.callLater(0, self._next_turn)
        except Malformed as why:
            self.refuse(why.status)
        finally:
            self._busy = False
        self._steer()

    def answered(self, *, keeps: bool) -> None:
        """Go on to the next request, or close."""
        self._exchange = None
        if self._closing:
            return
        if not keeps or self.retiring:
            self._close()
        else:
            self.advance()

    def refuse(self, status: HTTPStatus) -> None:
        """Answer what was no request, read no further, and close."""
        if self._closing:
            return
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon(status)
        self.wire.write(self.site.refusal(self, status, None if exchange is None else exchange.call))
        self._linger()

    def hand_over(self, protocol: IProtocol) -> None:
        """Give the connection to another protocol, with what was received beyond the request."""
        self._exchange, self._other = None, protocol
        self._expect(NOTHING)
        self._hold(False)
        self.wire.release()
        protocol.makeConnection(self.transport)
        rest = self.reader.rest()
        if rest:
            protocol.dataReceived(rest)

    def abort(self) -> None:
        """Close at once, whatever was not sent."""
        self.transport.abortConnection()

    # ---- what the site calls

    def retire(self) -> None:
        """Close when idle, or after the answer that is under way."""
        self.retiring = True
        if self._other is not None:
            getattr(self._other, "retire", self.transport.loseConnection)()
        elif self._exchange is not None:
            self._exchange.retire()
        elif self._awaited is HEADER:
            self._deadline.set(RETIRE_SECONDS)
        elif not self.reader.waiting and not self._closing:
            self._close()

    # ---- one thing after another

    def _next_turn(self) -> None:
        self._turn = None
        self.advance()

    def _step(self) -> bool:
        """Do one thing; False when there is nothing to do now."""
        if self._closing or self._other is not None:
            return False
        exchange = self._exchange
        if exchange is None:
            if self.wire.full or not self.reader.head():
                return False
            self._begin()
            return self.reader.waiting > 0
        incoming = exchange.incoming
        if incoming is None or not incoming.takes_more or not self.reader.waiting:
            return False
        incoming.pull()
        return self._exchange is not exchange  # it may have been answered

    def _begin(self) -> None:
        """A header is here."""
        reader, site = self.reader, self.site
        begun = self._since if self._awaited is HEADER else site.reactor.seconds()
        self._awaited = NOTHING
        call = Call(
            reader.method.decode(),
            reader.target,
            reader.headers,
            announced=reader.length,
            request_id=site.request_id(reader.headers.get(b"x-request-id")),
            peer=self.peer,
            trusted=site.trusted,
        )
        exchange = self._exchange = Exchange(self, call, begun)
        site.routes.dispatch(exchange)

    def _steer(self) -> None:
        """Read from the socket, and look at the clock, as it befits what is awaited now."""
        if self._closing or self._other is not None:
            return
        exchange, waiting = self._exchange, self.reader.waiting
        if self._turn is not None:
            self._expect(NOTHING)
            self._hold(True)
            return
        if exchange is not None and exchange.incoming is not None and exchange.incoming.takes_more:
            if self._awaited is not BODY:
                self._seen = exchange.incoming.seen
                self._expect(BODY)
            self._hold(False)
            return
        if self.wire.full:
            if self._awaited is not READER:
                self._expect(READER)
        elif exchange is not None:
            self._expect(LEAVE if waiting else NOTHING)
        elif not waiting:
            self._expect(REQUEST)
        elif self._awaited is not HEADER:
            self._since = self.site.reactor.seconds()
            self._expect(HEADER)
        self._hold(bool(waiting) and (exchange is not None or self.wire.full))

    def _hold(self, held: bool) -> None:
        """Stop reading from the socket, or go on."""
        if held is not self._held:
            self._held = held
            if held:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    def _room_changed(self) -> None:
        if not self._busy:
            self.advance()

    # ---- clocks

    def _expect(self, awaited: Awaited) -> None:
        self._awaited = awaited
        limits = self._limits
        if awaited is NOTHING:
            self._deadline.clear()
        elif awaited in (HEADER, BODY):
            self._deadline.set(limits.header_seconds)
        elif awaited is LEAVE:
            self._deadline.set(LOOK_SECONDS)
        elif awaited is END:
            self._deadline.set(LINGER_SECONDS)
        else:
            self._deadline.set(limits.idle_seconds)

    def _too_slow(self) -> None:
        awaited = self._awaited
        if awaited is REQUEST:
            self._close()
        elif awaited is HEADER:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif awaited is BODY:
            self._look_at_rate()
        elif awaited is LEAVE and not self.wire.is_left():
            self._expect(LEAVE)
        else:
            self.abort()

    def _look_at_rate(self) -> None:
        """A body must bring enough in each stretch of time: a fast beginning buys no slow end."""
        exchange = self._exchange
        if exchange is None or exchange.incoming is None:
            return
        seen, least = exchange.incoming.seen, self._limits.body_rate * self._limits.header_seconds
        if seen - self._seen < least:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self._seen = seen
            self._expect(BODY)

    # ---- the end

    def _close(self) -> None:
        """Close when all is sent; a reader who takes nothing is not waited for."""
        if self.reader.waiting or not self.reader.whole:
            self._linger()
            return
        self._closing = True
        self.wire.release()
        self.transport.loseConnection()
        self._awaited = READER
        self._deadline.set(self._limits.idle_seconds)

    def _linger(self) -> None:
        """Close in a way that lets the client read what was said, though it is still sending."""
        self._closing = True
        self.reader.rest()
        self._hold(False)
        self.wire.release()
        if ISSLTransport.providedBy(self.transport):  # TLS has no half-close
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()
        self._expect(END)
