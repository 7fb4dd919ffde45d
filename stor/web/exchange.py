"""One request and its answer: the one way that every call goes, however it was routed."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from stor.access.principal import Principal
from stor.errors import TooLarge
from stor.streams.sink import Sink
from stor.streams.stream import Stream
from stor.web.answer import Answer, Header, Switch
from stor.web.answers import Shape, fault, note, unrouted_shape
from stor.web.call import Call
from stor.web.eager import eagerly
from stor.web.framing import Malformed
from stor.web.head import WITHOUT_LENGTH, head
from stor.web.incoming import Incoming
from stor.web.memory import NOTHING, Memory, Passed
from stor.web.send import send
from stor.web.sendfile import Left

if TYPE_CHECKING:
    from stor.web.channel import Channel
    from stor.web.routes import Figures, Route

log = Logger()

CLIENT_LEFT = 499  # what nginx logs for it; never sent
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Exchange:
    """Admits the caller, takes the body, calls the handler, answers, and tells logs and metrics, in this order.

    Whoever routes calls `follow`, `fail` or `fail_as`, once. The handler is run at once; where it waits, it is waited
    for. `incoming` is the body that is still to come.
    """

    __slots__ = (
        "_asked",
        "_begun",
        "_counted",
        "_figures",
        "_headers",
        "_keeps",
        "_over",
        "_shape",
        "_site",
        "_stream",
        "_task",
        "call",
        "channel",
        "incoming",
    )

    def __init__(self, channel: "Channel", call: Call, begun: float) -> None:
        self.call = call
        self.channel, self._site, self._begun = channel, channel.site, begun
        reader = channel.reader
        self._keeps = reader.keeps
        self.incoming = None if reader.whole else Incoming(reader, channel.advance)
        self._shape: Shape = unrouted_shape
        self._headers: Sequence[Header] = ()  # of an error answer
        self._counted: Principal | None = None  # who must leave the gauge
        self._figures: Figures | None = None  # of the route
        self._task: Any = None  # a Deferred, while something is awaited
        self._stream: Stream | None = None
        self._over = False
        self._asked = True  # until it has been told to go on
        self._site.figures.in_flight += 1

    # ---- what the router calls

    def follow(self, route: "Route", segments: Mapping[str, Any]) -> None:
        """Answer by this route."""
        self.call.route, self._figures = route.rule, route.figures
        self._shape, self._headers = route.errors, route.headers
        try:
            answer = eagerly(self._run(route, segments))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered
            self.fail(error)
            return
        if isinstance(answer, Deferred):
            self._task = answer
            answer.addCallbacks(self._answer, self._failed)
        else:
            self._answer(answer)

    def fail_as(self, route: "Route", error: BaseException) -> None:
        """Answer with an error in the shape of this route, though it was not followed."""
        self._shape, self._headers = route.errors, route.headers
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Answer with an error; the body is read first, within bounds, so that the client hears it."""
        self._task, call = None, self.call
        if isinstance(error, Malformed) and not self._over:
            self.channel.refuse(error.status)
            return
        if self._over and isinstance(error, CancelledError):
            return
        note(error, call.route, call.request_id)
        if self._over:  # nobody waits for it
            return
        answer = fault(error, self._shape, call.request_id, self._headers)
        if self.channel.reader.whole:
            self._answer(answer)
        else:
            self._task = Deferred.fromCoroutine(self._refuse(answer))
            self._task.addCallbacks(self._answer, self._failed)

    # ---- what the channel calls

    def retire(self) -> None:
        """Answer this one as the last; a stream without an end is asked to find one."""
        ask = getattr(self._stream, "retire", None)
        if ask is not None:
            ask()

    def abandon(self, status: int = CLIENT_LEFT) -> None:
        """End all: the client has left, or what it sent was refused with `status`."""
        if self._over:
            return
        self._finish(status, 0)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    # ---- from the header to the answer

    async def _run(self, route: "Route", segments: Mapping[str, Any]) -> Answer | Switch:
        call = self.call
        if route.permission is not None:
            gate = self._site.gate
            admitted = gate.guard.admit(call, route.permission)
            principal = call.principal = admitted if isinstance(admitted, Principal) else await admitted
            if gate.gauge is not None:
                gate.gauge.enter(principal)
                self._counted = principal
        sink = call.body = self._open(route)
        if sink is not NOTHING:  # but for a sink of the route's own nothing is a body too, and has a digest
            await self._receive(sink)
        return await route.handler(call, **segments)

    def _open(self, route: "Route") -> Sink:
        """Choose where the body goes; TooLarge when it was announced as more than may be kept in memory."""
        chosen = route.sink
        if callable(chosen):
            return chosen(self.call)
        if self.incoming is None:
            return NOTHING
        limit = self._site.limits.body_bytes if chosen is None else chosen
        if (self.call.announced or 0) > limit:
            raise TooLarge(f"a body may have {limit} bytes here")
        return Memory(limit) if route.keeps_body else Passed(limit)

    async def _receive(self, sink: Sink) -> None:
        try:
            if self.incoming is not None:
                if self._is_asked():
                    self._asked = False
                    self.channel.wire.write(CONTINUE)
                await self.incoming.into(sink)
            await sink.finish()
        except BaseException:
            sink.discard()
            raise

    def _is_asked(self) -> bool:
        """Tell whether the client waits for our word before it sends: RFC 9110, 10.1.1."""
        reader = self.channel.reader
        expected = self.call.headers.get(b"expect", b"").lower()
        return self._asked and expected == b"100-continue" and not reader.waiting and not reader.old

    async def _refuse(self, answer: Answer) -> Answer:
        """Let the body go by before the answer, unless it is a long one, or the client asked first."""
        most, announced = self._site.limits.drain_bytes, self.call.announced or 0
        incoming = self.incoming
        if incoming is None or announced > most or self._is_asked() or not await incoming.past(most):
            self._keeps = False
        return answer

    # ---- the answer

    def _failed(self, why: Failure) -> None:
        error: Any = why.value  # never None
        self.fail(error)

    def _answer(self, answer: Answer | Switch) -> None:
        self._task = None
        try:
            self._tell(answer)
        except Exception:  # noqa: BLE001 - whatever it is, no request stays without an end
            self._give_up(Failure())

    def _tell(self, answer: Answer | Switch) -> None:
        if isinstance(answer, Switch):
            self._switch(answer)
            return
        body = answer.body
        if self._over:  # the client has left meanwhile
            _close(body)
            return
        try:
            first = self._head(answer)
        except Exception as error:  # noqa: BLE001 - a header that none can be; nothing was sent yet
            _close(body)
            self.fail(error)
            return
        if not isinstance(body, bytes):
            self._send(answer, first, body)
            return
        if self.call.method == "HEAD" or answer.status in WITHOUT_LENGTH:
            body = b""
        self.channel.wire.write(first, body)
        self._end(answer.status, len(body))

    def _head(self, answer: Answer) -> bytes:
        channel, body = self.channel, answer.body
        if channel.retiring:
            self._keeps = False
        length = len(body) if isinstance(body, bytes) else body.length
        if answer.length is not None and self.call.method == "HEAD":
            length = answer.length
        framing = b"" if self._keeps else b"Connection: close\r\n"
        if answer.status not in WITHOUT_LENGTH:
            if length is not None:
                framing += b"Content-Length: %d\r\n" % length
            elif not channel.reader.old:  # HTTP/1.0 is told the end by the close
                framing += b"Transfer-Encoding: chunked\r\n"
        return head(answer.status, answer.headers, framing, self._site.date(), self.call.request_id)

    def _send(self, answer: Answer, first: bytes, body: Stream) -> None:
        """Send a stream at the reader's pace."""
        self.channel.wire.write(first)
        if self.call.method == "HEAD" or answer.status in WITHOUT_LENGTH:
            body.close()
            self._end(answer.status, 0)
            return
        self._stream = body
        if self.channel.retiring:
            self.retire()
        in_chunks = body.length is None and not self.channel.reader.old
        task = Deferred.fromCoroutine(send(self.channel, body, in_chunks=in_chunks))
        if not self._over:
            self._task = task
        task.addCallback(lambda sent: self._end(answer.status, sent))
        task.addErrback(self._broke)

    def _broke(self, why: Failure) -> None:
        """It is too late to say anything true: let the client see a broken transfer."""
        if self._over:
            return
        self._task = None
        if why.check(Left):
            self._finish(CLIENT_LEFT, 0)
            self.channel.abort()
        else:
            self._give_up(why)

    def _give_up(self, why: Failure) -> None:
        call = self.call
        log.failure("error after the answer began in {route}", why, route=call.route, request_id=call.request_id)
        try:
            if not self._over:
                self._finish(HTTPStatus.INTERNAL_SERVER_ERROR, 0)
        finally:
            self.channel.abort()

    def _switch(self, answer: Switch) -> None:
        if self._over:
            return
        channel = self.channel
        channel.wire.write(head(101, answer.headers, b"", self._site.date(), self.call.request_id))
        self._finish(101, 0)
        channel.hand_over(answer.protocol)

    def _end(self, status: int, size: int) -> None:
        if not self._over:
            self._finish(status, size)
            self.channel.answered(keeps=self._keeps)

    def _finish(self, status: int, size: int) -> None:
        """Tell whoever counts, once."""
        self._over = True
        if self._counted is not None and self._site.gate.gauge is not None:
            self._site.gate.gauge.leave(self._counted)
        if self._figures is not None:
            self._figures.note(self.call, status, self._site.reactor.seconds() - self._begun)
        self._site.note(self.call, status, size, self._begun)


def _close(body: bytes | Stream) -> None:
    if not isinstance(body, bytes):
        body.close()
