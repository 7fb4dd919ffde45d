"""An object's bytes, fetched: what broke off goes on where it was, and nothing counts that has not their hash."""

from typing import Protocol

from twisted.internet.task import deferLater

from stor.client.hands import Hands
from stor.client.objects.held import Seen
from stor.client.objects.leaving import Progress
from stor.client.objects.names import Ref
from stor.client.objects.remote import RemoteObjects
from stor.client.patience import FIRST_PAUSE
from stor.errors import Failed, Unavailable


class Landing(Protocol):
    """Where bytes go; called in a thread. `size` counts what is there, `digest` is its SHA-256 in hex."""

    size: int

    @property
    def digest(self) -> str:
        """Of what is there."""

    def write(self, data: bytes) -> None:
        """Take the next piece."""

    def restart(self) -> None:
        """Forget all of it; Failed where that cannot be."""

    def discard(self) -> None:
        """Have nothing left of what turned out to be wrong."""


class Fetch:
    """One object on its way; what the landing has already may be a beginning that an earlier try left."""

    def __init__(self, store: RemoteObjects, ref: Ref, landing: Landing, hands: Hands, progress: Progress) -> None:
        self._store, self._ref, self._landing, self._hands, self._progress = store, ref, landing, hands, progress
        self._seen: Seen | None = None  # what the bytes that came so far are of
        self._is_resumed = landing.size > 0

    async def run(self) -> Seen:
        """Have all of it land; Failed, and nothing left, when that has not the hash which the server says it has."""
        seen = await self._all()
        if self._landing.digest != seen.digest and self._is_resumed:  # the beginning was one of something else
            self._is_resumed = False
            await self._restart()
            seen = await self._all()
        if (found := self._landing.digest) != seen.digest:
            await self._hands.run(self._landing.discard)
            raise Failed(f"damaged: the bytes have the hash sha256:{found}, and should have sha256:{seen.digest}")
        return seen

    async def _all(self) -> Seen:
        """As long as it moves, patience begins anew."""
        while (seen := await self._store.patiently(self._attempt)) is None:
            await deferLater(self._store.reactor, FIRST_PAUSE)
        return seen

    async def _attempt(self) -> Seen | None:
        begun = self._landing.size
        try:
            return await self._rest()
        except Unavailable:
            if self._landing.size > begun:
                return None
            raise

    async def _rest(self) -> Seen:
        if self._landing.size and self._seen is None:
            self._seen = self._noted(await self._store.head(self._ref))
            if self._landing.size > self._seen.size:
                await self._restart()
        if self._seen is not None and self._landing.size == self._seen.size:
            return self._seen
        etag = None if self._seen is None else self._seen.etag
        reading = await self._store.read(self._ref, self._landing.size, etag)
        try:
            if reading.start != self._landing.size:
                await self._restart()
            self._seen = self._noted(reading.seen)
            while piece := await reading.body.read():
                await self._hands.run(self._landing.write, piece)
                self._progress.moved(len(piece))
        finally:
            reading.body.close()
        return reading.seen

    def _noted(self, seen: Seen) -> Seen:
        if self._seen is None:
            self._progress.expected(seen.size)
        return seen

    async def _restart(self) -> None:
        self._progress.moved(-self._landing.size)
        await self._hands.run(self._landing.restart)
