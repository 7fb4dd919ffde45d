"""The gate: listens to a client until it has logged in, and then hands it over to a session.

A stranger is answered here, in Redis's words, and nothing is dialled for one. What a stranger may hold is
bounded: one command of ten small words, one buffer of unread answers, and the seconds of the login deadline.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from stor.errors import TooMany, Unavailable
from stor.logs import redact
from stor.redis.host import Host, Peer
from stor.redis.login import WRONGPASS, Admit, Close, Credential, Grant, Refused, Say, answer, replaced
from stor.redis.resp import Malformed, Short, command
from stor.redis.session import Session
from stor.redis.upstream import Signed, Upstream, keep_alive
from stor.redis.users import User

_MOST_WORDS, _LARGEST_WORD = 10, 16384  # Redis's own limits for a client that has not logged in
_MOST_COMMANDS = 1000  # of a stranger; who has said so many and not logged in does not mean to
_PASSED_ON = (b"-LOADING", b"-BUSY", b"-MASTERDOWN", b"-ERR max number of clients")


@implementer(IHalfCloseableProtocol)
class Gate(Protocol):
    """One client's connection: a stranger's until its login, its session's from then on."""

    transport: Any

    def __init__(self, house: Host, peer: Peer) -> None:
        self.peer = peer
        self.session: Session | None = None
        self._house = house
        self._heard = bytearray()
        self._entering = False
        self._opening: Deferred[None] | None = None
        self._full = False
        self._commands = 0
        self._deadline: Any = None

    def connectionMade(self) -> None:
        """Start the login deadline; where nobody needs to log in, go straight on."""
        self.transport.setTcpNoDelay(True)
        keep_alive(self.transport)
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
        elif not self.transport.disconnecting:  # TLS goes on reading after a goodbye
            self._heard += data
            self._listen()

    def readConnectionLost(self) -> None:
        """The client will say no more: a stranger gets what it was answered, and the end."""
        if self.session is not None:
            self.session.finish()
        else:
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
            self._commands += 1
            if self._commands > _MOST_COMMANDS:
                self._hang_up(b"")
            elif words:
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
        user = None
        try:
            for name, password in asked.pairs:
                user = self._house.judge(self.peer.host, name, password)
                if user is None:
                    break
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
        if not why.check(CancelledError, ConnectingCancelledError):
            Logger().failure("a login failed in a way that it should not", why)
            self.transport.abortConnection()

    async def _open(self, user: User, words: list[bytes] | None) -> None:
        reaching = Deferred.fromCoroutine(self._reach(user, words))
        try:
            upstream, signed = await reaching.addTimeout(self._house.connect_seconds, self._house.reactor)
        except Unavailable as why:
            self._unavailable(user, str(why), words)
        except TooLate:
            self._unavailable(user, f"no answer within {self._house.connect_seconds:g} s", words)
        else:
            await self._decide(upstream, user, signed, words)

    async def _reach(self, user: User, words: list[bytes] | None) -> tuple[Upstream, Signed]:
        upstream = await self._house.dial(user)
        try:
            return upstream, await upstream.sign_in(user.credential, words)
        except BaseException:
            upstream.transport.abortConnection()
            raise

    async def _decide(self, upstream: Upstream, user: User, signed: Signed, words: list[bytes] | None) -> None:
        try:
            if signed.refusal:
                self._stay(self._refusal(signed.refusal, user), words)
            elif signed.reply.startswith(b"-"):  # to a HELLO, which held no credential any more
                self._stay(signed.reply.split(b"\r\n", 1)[0] + b"\r\n", words)
            else:
                await self._hand_over(upstream, user, signed)
        finally:
            if self.session is None:
                upstream.transport.abortConnection()

    def _unavailable(self, user: User, why: str, words: list[bytes] | None) -> None:
        Logger().error("no login for user {user}: {why}", user=user.name, why=why)
        self._house.counted("upstream_unavailable")
        self._stay(b"-ERR upstream is not available, see the log of the proxy\r\n", words)

    def _refusal(self, line: bytes, user: User) -> bytes:
        """Give the client's line for a login that upstream refused: nothing that could hold our credential."""
        hidden = [user.credential.password.decode(errors="replace")]
        said = redact(line.decode(errors="replace"), hidden)
        Logger().error("upstream refused the login of user {user}: {said}", user=user.name, said=said)
        self._house.counted("upstream_refused")
        if line.startswith(_PASSED_ON):
            return line + b"\r\n"
        return b"-ERR upstream refused the credential of the proxy, see its log\r\n"

    def _stay(self, line: bytes, words: list[bytes] | None) -> None:
        """Answer, and be a stranger still."""
        self._entering = False
        if words is None:
            self._hang_up(line)
        else:
            self.transport.write(line)
            self._listen()

    async def _hand_over(self, upstream: Upstream, user: User, signed: Signed) -> None:
        self.transport.unregisterProducer()
        self.transport.write(signed.reply)
        grant = self._granting(user)
        session = await self._house.begin(
            self, upstream, user, lambda words: replaced(words, grant, knows_hello=signed.knows_hello)
        )
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
            except TooMany as why:
                raise Refused("too many wrong passwords from its address") from why
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
