"""The body of a request that begins or continues an upload."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from stor.errors import StorError, TooLarge
from stor.objects.resumable.records import Plan, Upload
from stor.objects.resumable.rules import Checksum, Mismatch, overtaken, too_long
from stor.streams.spool import Spool

STALLED_SECONDS = 2.0


class Piece:
    """A `Sink` whose spool is opened while the first bytes come; `upload` is as it was then (None for one to be made).

    `left` is called when the connection breaks: who is told may still take what has come.
    """

    def __init__(self, checksum: Checksum | None, left: Callable[[Piece], None], seconds: Callable[[], float]) -> None:
        self.checksum, self.size = checksum, 0
        self.plan: Plan | None = None  # of an upload that is to be made
        self.upload: Upload | None = None
        self.spool: Spool | None = None
        self.beyond: StorError = too_long(0)  # why more than the spool takes is too much
        self._left, self._seconds = left, seconds
        self._moved_at = seconds()
        self._early = bytearray()  # what came before there was a spool: one read of the socket at most
        self._wrong: BaseException | None = None
        self._is_ours = True  # nobody has taken or dropped it
        self._room: Deferred[None] | None = None
        self._opened: list[Deferred[None]] = []

    def open(self, opening: Coroutine[Any, Any, tuple[Upload | None, Spool]]) -> None:
        """Have the bytes go where `opening` says; what it raises is raised by `finish`."""
        Deferred.fromCoroutine(opening).addCallbacks(self._begin, self._refuse)

    # ---- what the web room calls

    @property
    def over(self) -> bool:
        """Whether `finish` will raise, so that nothing more need come."""
        return self._wrong is not None or (self.spool is not None and self.spool.over)

    def write(self, data: bytes) -> Deferred[None] | None:
        """Take a piece; a Deferred means: no more before it fires."""
        self.size += len(data)
        self._moved_at = self._seconds()
        if self._wrong is not None:
            return None
        if self.spool is None:
            self._early += data
            self._room = self._when_opened()
        else:
            self._room = self.spool.write(data)
        return self._room

    async def finish(self) -> None:
        """All has come; raises what forbids it, or what went wrong on the way."""
        if self.spool is None and self._wrong is None:
            await self._when_opened()
        spool = self._checked()
        try:
            await spool.finish()
        except StorError as why:
            self._checked()  # the reason for which the spool was dropped, if it was
            raise self.beyond if isinstance(why, TooLarge) else why from None
        self._checked()

    def discard(self) -> None:
        """The connection is broken, or there is no use for the rest; any number of times, never waits."""
        if self._is_ours:
            self._is_ours = False
            self._left(self)
            self._wrong = self._wrong or overtaken()

    # ---- what the uploads call

    @property
    def is_stalled(self) -> bool:
        """Whether the client has sent nothing for long, though it might."""
        held = self._room is not None and not self._room.called
        return self._is_ours and not held and self._seconds() - self._moved_at > STALLED_SECONDS

    def take(self) -> Spool:
        """Give the whole body to who called; Mismatch, and it is dropped, when it is not what was said."""
        self._is_ours = False
        spool = self._checked()
        check = self.checksum
        if check is not None and spool.digests[check.algorithm] != check.digest:
            why = Mismatch("the piece has another checksum", code="CHECKSUM_MISMATCH")
            self.drop(why)
            raise why
        return spool

    def stop(self, why: StorError) -> None:
        """Let go of everything, unless somebody has taken it; `finish` says why."""
        if self._is_ours:
            self.drop(why)

    def drop(self, why: StorError) -> None:
        """Let go of everything; `finish` says why."""
        self._is_ours = False
        self._wrong = self._wrong or why
        self._early = bytearray()
        if self.spool is not None:
            self.spool.discard()
        self._wake()

    # ---- how

    def _begin(self, found: tuple[Upload | None, Spool]) -> None:
        self.upload, self.spool = found
        if self._wrong is not None:
            self.spool.discard()
        elif self._early:
            early, self._early = bytes(self._early), bytearray()
            self.spool.write(early)
        self._wake()

    def _refuse(self, failure: Failure) -> None:
        self._wrong = self._wrong or failure.value
        self._early = bytearray()
        self._wake()

    def _checked(self) -> Spool:
        if self._wrong is not None:
            raise self._wrong
        if self.spool is None:
            raise TypeError("a piece is finished before it is taken")
        return self.spool

    def _when_opened(self) -> Deferred[None]:
        opened: Deferred[None] = Deferred()
        self._opened.append(opened)
        return opened

    def _wake(self) -> None:
        opened, self._opened = self._opened, []
        for each in opened:
            if not each.called:
                each.callback(None)
