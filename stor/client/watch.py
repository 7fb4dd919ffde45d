"""A sync whenever something changes, here or there."""

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from stor.client.eyes import Eyes
from stor.client.outcome import Outcome, Progress, Wishes
from stor.client.paths import Ignored
from stor.client.remote import Remote
from stor.client.sync import Session, session
from stor.client.wire import Reactor
from stor.errors import BadRequest, Missing, StorError, TooMany, Unavailable

QUIET_SECONDS = 0.25  # changes come in bursts
BURST_SECONDS = 2.0
LOOK_SECONDS = 60.0  # even when nobody says that something changed
POLL_SECONDS = 10.0  # where nobody can say so
AGAIN_SECONDS = 3.0  # before listening again


class Bell:
    """Rung by whoever notices a change, waited for by the sync."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._rung = False
        self._waiting: Deferred[None] | None = None

    def ring(self) -> None:
        """Something changed."""
        self._rung = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def heard(self, most: float) -> bool:
        """Wait until it rings, at most so many seconds; tells whether it did."""
        if not self._rung:
            self._waiting = Deferred()
            late = self._clock.callLater(most, self._late)
            try:
                await self._waiting
            finally:
                if late.active():
                    late.cancel()
        rung, self._rung = self._rung, False
        return rung

    def _late(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def over(self) -> None:
        """Wait until it has been quiet for a moment, but not for ever."""
        end = self._clock.seconds() + BURST_SECONDS
        while self._clock.seconds() < end and await self.heard(QUIET_SECONDS):
            pass


class Watch:
    """Eyes for the folder, ears for the remote, and a sync when either notices something."""

    def __init__(self, held: Session, root: Path, ignored: Ignored, remote: Remote, reactor: Reactor) -> None:
        self._held, self._remote, self._reactor = held, remote, reactor
        self._bell = Bell(reactor)
        self._eyes = Eyes(root, ignored, self._bell.ring, reactor)
        self._is_deaf = False

    async def run(self, told: Callable[[Outcome | StorError], object]) -> None:
        """Sync until cancelled, or until an error that will not pass by itself."""
        ears = Deferred.fromCoroutine(self._listen())
        try:
            while True:
                sees = await self._held.hands.run(self._eyes.cover)
                try:
                    told(await self._held.round())
                except (TooMany, Unavailable) as why:
                    told(why)
                await self._bell.heard(LOOK_SECONDS if sees and not self._is_deaf else POLL_SECONDS)
                await self._bell.over()
        finally:
            ears.addErrback(lambda why: why.trap(CancelledError))
            ears.cancel()
            self._eyes.close()

    async def _listen(self) -> None:
        """Hear of changes there for as long as it takes; where that cannot be, the sync polls."""
        while not self._is_deaf:
            try:
                await self._remote.listen(self._bell.ring)
            except (Missing, BadRequest):
                self._is_deaf = True  # an older server, or one that does not tell
            except StorError:
                pass  # the sync itself says what is wrong
            await deferLater(self._reactor, AGAIN_SECONDS)


async def watch(
    folder: Path,
    remote: Remote,
    reactor: Reactor,
    told: Callable[[Outcome | StorError], object],
    wishes: Wishes,
    progress: Progress,
) -> None:
    """Keep a folder and a tree in step until cancelled. `told` hears how each sync went; errors as of `sync`.

    That the remote is away is told, and waited for.
    """
    async with session(folder, remote, reactor, wishes, progress) as held:
        await Watch(held, folder, Ignored(wishes.ignore), remote, reactor).run(told)
