"""A request as our handlers see it: its id, its true sender, a bounded body."""

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes
from uuid import uuid4

from twisted.python.failure import Failure
from twisted.web.server import Request as TwistedRequest

from stor.access.address import forwarded_for
from stor.access.principal import Principal
from stor.errors import BadRequest, Missing, TooLarge
from stor.web.body import Body
from stor.web.channel import Channel

if TYPE_CHECKING:
    from stor.web.site import Site

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CLIENT_LEFT = 499  # what nginx logs for it; never sent


class Request(TwistedRequest):
    """The gate for bodies and paths; `content` is whole when a handler sees it."""

    site: "Site"
    channel: Channel
    content: Body
    defaultContentType = None
    principal: Principal | None = None
    route = "none"  # the rule that matched: a bounded label, unlike the path
    request_id = "-"
    _begun = False

    def __init__(self, channel: Channel, *args: Any, **more: Any) -> None:
        super().__init__(channel, *args, **more)
        self.site = channel.site
        self.received = channel.site.reactor.seconds()

    def header(self, name: str) -> str | None:
        """Give the last header of this name."""
        value = self.getHeader(name.encode())
        return None if value is None else value.decode("utf-8", "surrogateescape")

    @property
    def remote(self) -> str:
        """The client's address, by X-Forwarded-For only where the peer is trusted."""
        lines = self.requestHeaders.getRawHeaders(b"x-forwarded-for", [])
        peer = getattr(self.client, "host", "")
        return forwarded_for(b",".join(lines).decode("latin-1"), peer, self.site.trusted)

    def gotLength(self, length: int | None) -> None:
        """Choose the sink: the header is here, the body is not."""
        self.content = Body(self.site.limits.body_bytes, length)
        given = self.header("x-request-id") or ""
        self.request_id = given if _ID.fullmatch(given) else uuid4().hex

    def process(self) -> None:
        """Say the id, and take the target's absolute form for what it means (RFC 9112, 3.2.2)."""
        self._begun = True
        self.setHeader(b"x-request-id", self.request_id.encode())
        if self.path.lower().startswith((b"http://", b"https://")):
            self.path = b"/" + self.path.split(b"/", 3)[3] if self.path.count(b"/") > 2 else b"/"
        super().process()

    def check(self) -> None:
        """Raise what is wrong with this request, whatever its route."""
        if self.content.over:
            raise TooLarge(f"a body may have {self.site.limits.body_bytes} bytes here")
        try:
            unquote_to_bytes(self.path).decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest("the path is not UTF-8") from None
        if not self.path.startswith(b"/"):
            raise BadRequest("the path does not begin with a slash")
        if self.path.startswith(b"//"):  # Klein would take it for one slash: two names for one thing
            raise Missing("no such route")

    def getRequestHostname(self) -> bytes:
        """Routes do not depend on the Host header, so no Host can break them."""
        return b"localhost"

    def connectionLost(self, reason: Failure) -> None:
        """Log the request whose client did not wait."""
        if self._begun and not self.finished:
            self.code = CLIENT_LEFT
            self.site.log(self)
        super().connectionLost(reason)
