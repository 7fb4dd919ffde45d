"""One HTTP/1.1 connection: RFC 9112 where Twisted is lenient, and deadlines for slow clients."""

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from stor.web.limits import Limits

if TYPE_CHECKING:
    from stor.web.site import Site

LINGER_SECONDS = 2.0  # after a refusal: a close with bytes unread would take the answer away (RFC 9112 9.6)
LENGTH_DIGITS = 18
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")


class Channel(HTTPChannel):
    """Reads requests one after another; what is malformed or too slow is refused, and the connection ends."""

    site: "Site"
    transport: Any  # TCP, or TLS above it

    def __init__(self) -> None:
        super().__init__()
        self._deadline: IDelayedCall | None = None
        self._refused = self._retiring = False

    def obey(self, limits: Limits) -> None:
        """Take over the bounds, before the first byte."""
        self._limits = limits
        self.totalHeadersSize = self.MAX_LENGTH = limits.header_bytes
        self.maxHeaders = limits.header_count

    def connectionMade(self) -> None:
        """Be known to the site until the connection is gone."""
        self.site.channels.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Forget everything."""
        self._expect(None)
        super().connectionLost(reason)
        self.site.channels.discard(self)
        self.site.channel_gone()

    def dataReceived(self, data: bytes) -> None:
        """Read on; the first byte of a request starts its clock."""
        if self._refused:
            return
        if self._deadline is None and not self.requests:
            self._expect(self._limits.header_seconds)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        """Refuse a framing that two servers could read differently, else go on to the body."""
        self._expect(None)
        if self._is_ambiguous():
            self.refuse(HTTPStatus.BAD_REQUEST)
            return
        super().allHeadersReceived()
        if self.length != 0:
            self._expect(self._limits.body_seconds(self.length))

    def _is_ambiguous(self) -> bool:
        """RFC 9112, sections 3.2 (one Host) and 6.1 (Transfer-Encoding: only in 1.1, only chunked)."""
        headers = self.requests[-1].requestHeaders
        encodings = headers.getRawHeaders(b"transfer-encoding", [])
        if self._version == b"HTTP/1.1":
            hosts = headers.getRawHeaders(b"host", [])
            named = len(hosts) == 1 and _HOST.fullmatch(hosts[0])
            return not named or [word.lower() for word in encodings] not in ([], [b"chunked"])
        return bool(encodings)

    def headerReceived(self, line: bytes) -> bool:
        """Refuse a Content-Length that is too long to be a number (`int` would raise)."""
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and len(value.strip()) > LENGTH_DIGITS:
            self.refuse(HTTPStatus.BAD_REQUEST)
            return False
        return bool(super().headerReceived(line))

    def allContentReceived(self) -> None:
        """Hand the request on, unless it was refused while it came."""
        self._expect(None)
        if not self._refused:
            super().allContentReceived()

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line beyond the header limit; the first one is the request's target."""
        self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if self.requests else HTTPStatus.REQUEST_URI_TOO_LONG)

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Called by Twisted for all that it finds malformed, and for headers too large."""
        large = self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders
        self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if large else HTTPStatus.BAD_REQUEST)

    def timeoutConnection(self) -> None:
        """Close an idle connection; one that stopped within a request is told so."""
        if self.requests:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.loseConnection()

    def refuse(self, status: HTTPStatus) -> None:
        """Answer, read no further, and close; the client has a moment to read the answer."""
        if self._refused or self.transport is None:
            return
        self._refused = self.paused = True
        self.setTimeout(None)
        self.transport.write(self.site.refusal(self, status))
        if self.isSecure():  # TLS has no half-close
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()
        self._expect(LINGER_SECONDS)

    def retire(self) -> None:
        """Close when idle, or after the answer that is under way."""
        self._retiring = True
        if not self.requests:
            self.loseConnection()
            return
        self.persistent = False
        if not self.requests[0].startedWriting:
            self.requests[0].setHeader(b"connection", b"close")

    def checkPersistence(self, request: Any, version: bytes) -> bool:
        """Say `Connection: close` in the last answer."""
        keeps = bool(super().checkPersistence(request, version)) and not self._retiring
        if not keeps:
            request.setHeader(b"connection", b"close")
        return keeps

    def abort(self) -> None:
        """Close at once, whatever was not sent."""
        if self.transport is not None:
            self.transport.abortConnection()

    def _expect(self, seconds: float | None) -> None:
        """Set the deadline for what must come next; None: nothing is awaited."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.callLater(seconds, self._too_slow)

    def _too_slow(self) -> None:
        if self._refused:
            self.abort()
        else:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT)
