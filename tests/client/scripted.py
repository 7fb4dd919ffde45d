"""A server that answers exactly what it is told to, for what a well-behaved one would never do."""

from dataclasses import dataclass, field

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol


@dataclass
class Asked:
    """A request: complete, or as much of it as came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""
    complete: bool = False


@dataclass
class Reply:
    """What is sent, and whether the connection is cut then. `early`: when so many bytes of the request's body came."""

    data: bytes = b""
    cut: bool = False
    early: int | None = None
    pieces: list[bytes] = field(default_factory=list)


def answer(status=200, body=b"", length=None, **headers):
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Scripted(Factory):
    """Gives the replies one after the other, the last one for ever; `asked` is what came."""

    noisy = False

    def __init__(self, *replies):
        self.replies, self.asked = [r if isinstance(r, Reply) else Reply(r) for r in replies], []
        self.port = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.lines = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port.getHost().port}"

    def next(self):
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def buildProtocol(self, address):
        return _Talk(self)

    async def close(self):
        await self.port.stopListening()
        for line in self.lines:
            line.transport.abortConnection()


class _Talk(Protocol):
    def __init__(self, server):
        self.server, self.heard, self.now, self.reply = server, b"", None, None

    def connectionMade(self):
        self.server.lines.append(self)

    def connectionLost(self, reason):
        self.server.lines.remove(self)

    def dataReceived(self, data):
        self.heard += data
        if self.now is None:
            if b"\r\n\r\n" not in self.heard:
                return
            head, _, self.heard = self.heard.partition(b"\r\n\r\n")
            first, *rest = head.decode().split("\r\n")
            method, target, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
            self.now, self.reply = Asked(method, target, headers), self.server.next()
            self.server.asked.append(self.now)
        self.now.body += self.heard
        self.heard = b""
        if self.reply is not None and self.reply.early is not None and len(self.now.body) >= self.reply.early:
            self.say()
        if self.is_complete():
            self.now.complete = True
            if self.reply is not None:
                self.say()
            self.now = None

    def is_complete(self):
        if self.now.headers.get("transfer-encoding") == "chunked":
            return self.now.body.endswith(b"\r\n0\r\n\r\n")
        return len(self.now.body) == int(self.now.headers.get("content-length", "0"))

    def say(self):
        self.transport.write(self.reply.data)
        if self.reply.cut:
            self.transport.loseConnection()
        self.reply = None
