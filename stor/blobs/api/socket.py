"""A listener's events as WebSocket messages (RFC 6455); wsproto knows the frames."""

from base64 import b64decode
from typing import Any

from msgspec import json
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError, generate_accept_token
from zope.interface import implementer

from stor.blobs.api.listening import End, Listener
from stor.errors import BadRequest, Forbidden
from stor.web.answer import Header
from stor.web.call import Call

log = Logger()

NONCE_BYTES = 16  # of a handshake
CLOSE_SECONDS = 5.0  # for the other side to say goodbye
SILENT_PINGS = 2  # unanswered, and nobody is there any more
CODES = {
    "time": CloseReason.NORMAL_CLOSURE,
    "shutdown": CloseReason.GOING_AWAY,
    "slow": CloseReason.POLICY_VIOLATION,
    "error": CloseReason.INTERNAL_ERROR,
}


def is_asked(call: Call) -> bool:
    """Tell whether the caller wants a WebSocket."""
    words = (call.header("connection") or "").lower().replace(" ", "").split(",")
    return "upgrade" in words and (call.header("upgrade") or "").lower() == "websocket"


def accepted(call: Call) -> list[Header]:
    """Check the opening handshake (RFC 6455, 4.2.1) and give our side of it.

    A browser lets any page open a WebSocket to any host, and says only from where: another origin is refused.
    """
    key = call.header("sec-websocket-key") or ""
    if call.method != "GET" or not _is_nonce(key) or call.header("sec-websocket-version") != "13":
        raise BadRequest("This is no opening handshake of WebSocket version 13")
    origin = call.header("origin")
    if origin is not None and origin.partition("://")[2].lower() != (call.header("host") or "").lower():
        raise Forbidden("A WebSocket is not opened from another origin")
    token = generate_accept_token(key.encode())
    return [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", token)]


def _is_nonce(key: str) -> bool:
    try:
        return len(b64decode(key, validate=True)) == NONCE_BYTES
    except ValueError:
        return False


@implementer(IPushProducer)
class EventSocket(Protocol):
    """Sends events while the transport takes them; reads nothing but pings and goodbyes."""

    transport: Any

    def __init__(self, listener: Listener, reactor: Any) -> None:
        self._listener, self._reactor = listener, reactor
        self._frames = Connection(ConnectionType.SERVER)
        self._silent = 0
        self._free: Deferred[None] | None = None  # fires when the transport takes more
        self._closing: Any = None

    def connectionMade(self) -> None:
        """Begin."""
        self._listener.told = self.resumeProducing  # so that an end is not kept waiting by a full transport
        self.transport.registerProducer(self, True)
        Deferred.fromCoroutine(self._run()).addErrback(self._broke)

    def dataReceived(self, data: bytes) -> None:
        """Whatever comes is a sign of life."""
        self._silent = 0
        if self._frames.state is ConnectionState.CLOSED:
            return
        try:
            self._frames.receive_data(data)
            for event in self._frames.events():
                self._heard(event)
        except RemoteProtocolError:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Give everything back."""
        self._listener.end("left")
        self.resumeProducing()
        if self._closing is not None and self._closing.active():
            self._closing.cancel()

    def retire(self) -> None:
        """We are about to stop: say so."""
        self._listener.end("shutdown")

    def pauseProducing(self) -> None:
        """The transport is full."""
        if self._free is None:
            self._free = Deferred()

    def resumeProducing(self) -> None:
        """The transport takes more."""
        if self._free is not None:
            free, self._free = self._free, None
            free.callback(None)

    def stopProducing(self) -> None:
        """Nobody is there any more."""
        self._listener.end("left")

    async def _run(self) -> None:
        while not isinstance(event := await self._listener.next(), End):
            if event is None:
                self._probe()
            else:
                self._say(TextMessage(json.encode(event).decode()))
            if self._free is not None:
                await self._free
        self._close(event.reason)

    def _probe(self) -> None:
        if self._silent >= SILENT_PINGS:
            self._listener.end("left")
            self.transport.abortConnection()
        else:
            self._silent += 1
            self._say(Ping())

    def _heard(self, event: Event) -> None:
        if isinstance(event, Ping):
            if self._free is None:  # who sends pings and reads no pongs shall not fill our memory
                self._say(event.response())
        elif isinstance(event, CloseConnection):
            self._listener.end("left")
            self._say(event.response())
            self._hang_up()

    def _close(self, reason: str) -> None:
        if reason in CODES:
            self._say(CloseConnection(CODES[reason], reason))
            self._hang_up()

    def _say(self, event: Event) -> None:
        state = self._frames.state
        goodbye = isinstance(event, CloseConnection) and state is ConnectionState.REMOTE_CLOSING
        if state is ConnectionState.OPEN or goodbye:
            self.transport.write(self._frames.send(event))

    def _hang_up(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        if self._closing is None:
            self._closing = self._reactor.callLater(CLOSE_SECONDS, self.transport.abortConnection)

    def _broke(self, failure: Failure) -> None:
        log.failure("a listener broke", failure)
        self.transport.abortConnection()
