"""The body of an upload on its way in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from stor.errors import Full, Unprocessable
from stor.objects.records import Draft
from stor.streams.spool import Spool


@dataclass(slots=True)
class Reserved:
    """An upload that is written down: its object's id, and when (the reactor's seconds) that was said last.

    `most`: the bytes that the tenant's quota has room for, where the upload has not announced its own.
    """

    id: str
    said_at: float
    most: int | None = None


class Desk(Protocol):
    """Where uploads are written down."""

    async def reserve(self, draft: Draft, announced: int | None) -> Reserved:
        """Write an upload down; raises what forbids it."""

    def let_go(self, reserved: Reserved) -> None:
        """It will not be committed; never waits."""

    def refresh(self, reserved: Reserved) -> None:
        """It is still under way; never waits, and does something only when that has not been said for long."""


class Receiving:
    """A `Sink` for an upload: what is not small is written down, and takes its key, as soon as that is known.

    So a second upload of the same key hears early that it is too late.
    """

    def __init__(self, desk: Desk, draft: Draft, announced: int | None, spool: Spool, small: int) -> None:
        self.draft, self.spool = draft, spool
        self.size = 0  # bytes that came so far
        self.reserved: Reserved | None = None
        self._desk, self._announced, self._small = desk, announced, small
        self._asked: Deferred[None] | None = None
        self._wrong: BaseException | None = None
        self._over = False  # nobody wants it any more, or it is committed
        if announced is not None and announced > small:
            self._reserve()

    @property
    def over(self) -> bool:
        """Whether `finish` will raise, so that nothing more need come."""
        return self._wrong is not None or self.spool.over

    @property
    def digests(self) -> Mapping[str, str]:
        """The digests of all that came: names of hashlib, hex."""
        return self.spool.digests

    def write(self, data: bytes) -> Deferred[None] | None:
        """Take a piece; a Deferred means: no more before it fires."""
        self.size += len(data)
        wait = self.spool.write(data)
        if self.reserved is not None:
            self._desk.refresh(self.reserved)
            self._look_at_room(self.reserved)
        elif self._asked is None and self.size > self._small:
            self._reserve()
        return wait

    async def finish(self) -> None:
        """All has come; raises what forbids the upload, what went wrong on the way, or 422 for the wrong bytes."""
        try:
            await self.spool.finish()
            await self.written_down()
            self._check()
        except BaseException as why:  # noqa: BLE001 - raised again, or what led to it
            self.discard()
            raise self._wrong or why  # noqa: B904 - the first reason

    async def written_down(self) -> None:
        """Wait until it is known whether the upload may go on, if that was asked; raises why not."""
        if self._asked is not None and not self._asked.called:
            await self._asked
        if self._wrong is not None:
            raise self._wrong

    def discard(self) -> None:
        """Forget it, at any time and any number of times; frees the key; never waits."""
        if not self._over:
            self._over = True
            self.spool.discard()
            if self.reserved is not None:
                self._desk.let_go(self.reserved)

    def committed(self) -> None:
        """There is nothing to let go any more."""
        self._over = True
        self.spool.discard()

    def _check(self) -> None:
        for name, wanted in self.draft.expected.items():
            if (actual := self.digests[name]) != wanted:
                context = {"algorithm": name, "expected": wanted, "actual": actual}
                raise Unprocessable(
                    "these are not the bytes that were announced", code="DIGEST_MISMATCH", context=context
                )

    def _look_at_room(self, reserved: Reserved) -> None:
        if reserved.most is not None and self.size > reserved.most and self._wrong is None:
            context = {"quota": "bytes", "asked": str(self.size), "room": str(reserved.most)}
            self._wrong = Full("the tenant's quota of bytes is used up", code="QUOTA_EXCEEDED", context=context)
            self.spool.discard()

    def _reserve(self) -> None:
        """It is waited for by a Deferred of its own: who stops waiting does not end it, for it may have happened."""
        self._asked = Deferred()
        asked = Deferred.fromCoroutine(self._desk.reserve(self.draft, self._announced))
        asked.addCallbacks(self._reserved, self._refused)

    def _reserved(self, reserved: Reserved) -> None:
        self.reserved = reserved
        self._look_at_room(reserved)
        if self._over:
            self._desk.let_go(reserved)
        self._heard()

    def _refused(self, failure: Failure) -> None:
        self._wrong = failure.value
        self.spool.discard()
        self._heard()

    def _heard(self) -> None:
        if self._asked is not None:
            self._asked.callback(None)
