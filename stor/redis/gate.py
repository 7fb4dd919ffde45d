"""The gate: listens to a client until it has logged in, and then hands it over to a session.

A stranger is answered here, in Redis's words, and nothing is dialled for one. What a stranger may hold is
bounded: one command of ten small words, one buffer of unread answers, and the seconds of the login deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from typing import Protocol as Interface

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from stor.errors import TooMany, Unavailable
from stor.redis.login import WRONGPASS, Admit, Close, Credential, Grant, Say, answer, replaced
from stor.redis.resp import Malformed, Short, command, encode
from stor.redis.session import Session
from stor.redis.upstream import Upstream
from stor.redis.users import User

_MOST_WORDS, _LARGEST_WORD = 10, 16384  # Redis's own limits for a client that has not logged in
_REFUSALS = (b"-WRONGPASS", b"-NOAUTH", b"-ERR invalid password", b"-ERR AUTH ", b"-ERR Client sent AUTH")


class House(Interface):
    """What a gate asks of the proxy it belongs to."""

    login_seconds: float
    output_bytes: int
    reactor: Any

    def judge(self, address: str, name: bytes, password: bytes) -> User | None:
        """Give the user, None when the password is wrong; raises TooMany when the address has guessed enough."""

    def open_user(self) -> User | None:
        """Give the user that everybody is, when no passwords are configured."""

    async def dial(self, user: User) -> Upstream:
        """Connect to the user's server; raises Unavailable."""

    async def begin(self, gate: Gate, upstream: Upstream, grant: Grant, user: User) -> Session:
        """Make the session of a client that has logged in, once all that was said to it has been sent."""

    def counted(self, outcome: str) -> None:
        """Count a login by its outcome."""

    def left(self, gate: Gate) -> None:
        """Forget a connection."""


@dataclass(frozen=True)
class Peer:
    """Where a client comes from: what its socket says, or a trusted proxy in its PROXY header."""

    host: str
    port: int


@implementer(IHalfCloseableProtocol)
class Gate(Protocol):
    """One client's connection: a stranger's until its login, its session's from then on."""

    transport: Any

    def __init__(self, house: House, peer: Peer) -> None:
        self.peer = peer
        self.session: Session | None = None
        self._house = house
        self._heard = bytearray()
        self._entering = False
        self._opening: Deferred[None] | None = None
        self._full = False
        self._deadline: Any = None

    def connectionMade(self) -> None:
        """Start the login deadline; where nobody needs to log in, go straight on."""
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self.transport.bufferSize = self._house.output_bytes
        self.transport.registerProducer(_Unread(self), True)
        self._deadline = self._house.reactor.callLater(self._house.login_seconds, self._too_late)
        everybody = self._house.open_user()
        if everybody is not None:
            self._enter(everybody, None)

    def dataReceived(self, data: bytes) -> None:
        """Listen, or pass on."""
        if self.session is not None:
            self.session.client_said(data)
            return
        self._heard += data
        self._listen()

    def readConnectionLost(self) -> None:
        """The stranger will say no more: it gets what it was answered, and the end."""
        self._hang_up(b"")

    def writeConnectionLost(self) -> None:
        """The session has passed the upstream's end on."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Give up what was under way, or tell the session."""
        self._stop_deadline()
        if self._opening is not None:
            self._opening.cancel()
        if self.session is not None:
            self.session.lost(self)
        self._house.left(self)

    def close(self) -> None:
        """Send a stranger away."""
        self.transport.abortConnection()

    def pause(self, *, full: bool) -> None:
        """Stop answering while the answers are not read, and go on when they are."""
        self._full = full
        self._listen()

    def _listen(self) -> None:
        while not self._entering and not self._full and self.session is None and not self.transport.disconnecting:
            try:
                words, end = command(self._heard, 0, most=_MOST_WORDS, largest=_LARGEST_WORD)
            except Short:
                break
            except Malformed as why:
                self._hang_up(why.args[0] + b"\r\n")
                break
            del self._heard[:end]
            if words:
                self._answer(answer(words))
        self._breathe()

    def _breathe(self) -> None:
        """Read on only when what was read has been dealt with."""
        if self.session is None and self.transport.connected:
            if self._entering or self._full:
                self.transport.pauseProducing()
            elif not self.transport.disconnecting:
                self.transport.resumeProducing()

    def _answer(self, verdict: Say | Close | Admit) -> None:
        if isinstance(verdict, Say):
            self.transport.write(verdict.line)
        elif isinstance(verdict, Close):
            self._hang_up(verdict.line)
        else:
            self._log_in(verdict)

    def _hang_up(self, line: bytes) -> None:
        self.transport.write(line)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _log_in(self, asked: Admit) -> None:
        try:
            user = self._house.judge(self.peer.host, asked.name, asked.password)
        except TooMany as why:
            self._house.counted("throttled")
            self._hang_up(
                b"-ERR too many failed logins from this address, try again in %d s\r\n" % (why.retry_after + 1)
            )
            return
        if user is None:
            self._house.counted("wrong_password")
            self.transport.write(WRONGPASS)
            return
        self._enter(user, asked.words)

    def _enter(self, user: User, words: list[bytes] | None) -> None:
        """Begin to open the way upstream; until that is decided nothing more is read."""
        self._entering = True
        self._opening = Deferred.fromCoroutine(self._open(user, words))
        self._opening.addErrback(self._failed)
        self._breathe()

    def _failed(self, why: Failure) -> None:
        """Leave quietly when it was the client who left; anything else is a fault of ours."""
        if not why.check(CancelledError):
            Logger().failure("a login failed in a way that it should not", why)
            self.transport.abortConnection()

    async def _open(self, user: User, words: list[bytes] | None) -> None:
        try:
            upstream = await self._house.dial(user)
        except Unavailable as why:
            self._unavailable(user, why, words)
            return
        try:
            reply = await self._sign_in(upstream, user, words)
            if not reply.startswith(b"-"):
                await self._hand_over(upstream, user, reply if words is not None else b"")
                return
            self._stay(self._refusal(reply, user), words)
        except Unavailable as why:
            self._unavailable(user, why, words)
        finally:
            if self.session is None:
                upstream.transport.abortConnection()

    def _unavailable(self, user: User, why: Unavailable, words: list[bytes] | None) -> None:
        Logger().error("no login for user {user}: {why}", user=user.name, why=str(why))
        self._house.counted("upstream_unavailable")
        self._stay(b"-ERR upstream is not available, see the log of the proxy\r\n", words)

    async def _sign_in(self, upstream: Upstream, user: User, words: list[bytes] | None) -> bytes:
        """Send the client's own login, with the upstream's credential in it; give the beginning of the answer."""
        if words is not None:
            return await upstream.sign_in(encode(replaced(words, self._granting(user)) or words))
        if not user.credential:
            return b""  # nobody asked, and the upstream asks for nothing
        return await upstream.sign_in(encode(user.credential.auth()))

    def _refusal(self, reply: bytes, user: User) -> bytes:
        """Give the client's line for a login that upstream refused: never one that blames its password."""
        line = reply.split(b"\r\n", 1)[0]
        Logger().error(
            "upstream refused the login of user {user}: {line}",
            user=user.name,
            line=line.decode(errors="replace"),
        )
        self._house.counted("upstream_refused")
        if line.startswith(_REFUSALS):
            return b"-ERR upstream refused the credential of the proxy, see its log\r\n"
        return line + b"\r\n"

    def _stay(self, line: bytes, words: list[bytes] | None) -> None:
        """Answer, and be a stranger still."""
        self._entering = False
        if words is None:
            self._hang_up(line)
        else:
            self.transport.write(line)
            self._listen()

    async def _hand_over(self, upstream: Upstream, user: User, reply: bytes) -> None:
        self.transport.unregisterProducer()
        self.transport.write(reply)
        session = await self._house.begin(self, upstream, self._granting(user), user)
        self._stop_deadline()
        self._entering = False
        self._house.counted("ok")
        self.session = upstream.session = session
        rest, self._heard = bytes(self._heard), bytearray()
        session.begin(rest)

    def _granting(self, user: User) -> Grant:
        """Give the judge of later logins in this connection: another user may come, but to the same server."""

        def grant(name: bytes, password: bytes) -> Credential | None:
            try:
                other = self._house.judge(self.peer.host, name, password)
            except TooMany:
                return None
            return other.credential if other and other.server == user.server else None

        return grant

    def _too_late(self) -> None:
        self._deadline = None
        self._house.counted("too_slow")
        self.transport.abortConnection()

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


@implementer(IPushProducer)
class _Unread:
    """Stands for a stranger's answers: paused while more of them wait than may."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def pauseProducing(self) -> None:
        """The client does not read: answer no more."""
        self._gate.pause(full=True)

    def resumeProducing(self) -> None:
        """It has read."""
        self._gate.pause(full=False)

    def stopProducing(self) -> None:
        """The connection has gone; its protocol hears of that too."""
