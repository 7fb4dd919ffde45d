"""A sync: look at both sides, decide, act, and look again until nobody was faster."""

import errno
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from pathlib import Path

from twisted.internet.task import deferLater

from stor.client.folder import Folder, looked_at, synced
from stor.client.hands import Hands, each
from stor.client.outcome import Outcome, Progress, Silence, Wishes
from stor.client.paths import Ignored, fault, look_alike, shown
from stor.client.plan import Act, Base, Entry, Step, plan
from stor.client.reading import Changed
from stor.client.remote import Remote
from stor.client.safety import check
from stor.client.scan import Found
from stor.client.transfer import Transfer
from stor.client.wire import Reactor
from stor.errors import BadRequest, Conflict, Failed, Full, Missing, PreconditionFailed, TooLarge, Unprocessable

PASSES = 8  # looks at both sides; somebody who is faster so often will be so again
PAUSE_SECONDS = 0.3
AT_ONCE = 8  # files on their way
THREADS = 4
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_FASTER = (Changed, PreconditionFailed, Missing)  # somebody was; look again
_ONE_PATH = (BadRequest, Conflict, Failed, TooLarge, Unprocessable)  # the others may go on
_AGREED = {Act.RECORD, Act.FORGET}  # both sides have the same
_DEFAULT, _SILENCE = Wishes(), Silence()


class Session:
    """One folder and one remote, held for as many rounds as one likes."""

    def __init__(
        self, folder: Folder, remote: Remote, hands: Hands, wishes: Wishes, progress: Progress, reactor: Reactor
    ) -> None:
        self.hands = hands
        self._folder, self._remote, self._wishes, self._progress = folder, remote, wishes, progress
        self._ignored, self._reactor = Ignored(wishes.ignore), reactor
        self._transfer = Transfer(folder, remote, hands, progress)

    async def round(self) -> Outcome:
        """Bring both sides in step; see docs/sync.md for what is promised."""
        outcome = Outcome()
        for number in range(1, PASSES + 1):
            copies = len(outcome.conflicts)
            left = await self._carry_out(await self.plan(outcome), outcome)
            if not left and len(outcome.conflicts) == copies:
                return outcome
            if left:
                await deferLater(self._reactor, random.uniform(0, PAUSE_SECONDS) * number)  # noqa: S311 - no secret
        outcome.problems |= dict.fromkeys(left, "it keeps changing")
        return outcome

    async def plan(self, outcome: Outcome) -> list[Step]:
        """Look at both sides and decide; Refused when the plan looks like a mistake."""
        found = await self.hands.run(self._folder.scan, self._ignored)
        base = await self.hands.run(self._folder.state.base)
        there = await self._remote.index()
        live = {path for path, entry in there.items() if not entry.is_deleted and path not in self._ignored}
        outcome.problems = found.blocked | {path: why for path in live if (why := fault(path) or found.why_not(path))}
        outcome.notes = _notes(found, live)
        steps = list(plan(base, found.files, there, _Untouched(found, self._ignored), self._wishes.choice))
        check(steps, base, there, self._wishes.allowed)
        return steps

    async def _carry_out(self, steps: Sequence[Step], outcome: Outcome) -> set[str]:
        """Do it all, and give the paths about which somebody was faster. Deletions here come first: they make room."""
        agreed = {step.path: _agreed(step.there) for step in steps if step.act in _AGREED}
        await self.hands.run(self._folder.state.record, agreed)
        steps = [step for step in steps if step.act not in _AGREED]
        self._progress.planned(steps)
        left: set[str] = set()

        async def one(step: Step) -> None:
            try:
                await self._act(step, outcome)
                outcome.count(step.act)
            except _FASTER:
                left.add(step.path)
            except (*_ONE_PATH, OSError) as why:
                outcome.problems[step.path] = _reason(why)
            finally:
                self._progress.ended(step)

        for first in (True, False):
            await each([step for step in steps if (step.act is Act.DELETE_HERE) == first], one, AT_ONCE)
        return left

    async def _act(self, step: Step, outcome: Outcome) -> None:
        match step:
            case Step(act=Act.UPLOAD, here=str(md5)):
                await self._transfer.upload(step, md5)
            case Step(act=Act.DOWNLOAD | Act.KEEP_BOTH):
                expected = None if step.act is Act.KEEP_BOTH else step.here
                if copy := await self._transfer.download(step, expected):
                    outcome.conflicts.append((step.path, copy))
            case Step(act=Act.DELETE_HERE, here=str(md5)):
                if await self._remote.is_live(step.path):  # an index that lags behind must not delete
                    raise Changed(f"{step.path} is live again")
                await self.hands.run(self._folder.delete, step.path, md5)
            case Step(act=Act.DELETE_THERE, there=Entry() as seen):
                if not await self.hands.run(self._folder.is_absent, step.path):
                    raise Changed(f"{step.path} is there again")
                await self._remote.delete(step.path, seen)
                await self.hands.run(self._folder.state.record, {step.path: None})


class _Untouched:
    """The paths about which nothing may be concluded."""

    def __init__(self, found: Found, ignored: Ignored) -> None:
        self._found, self._ignored = found, ignored

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and (path in self._ignored or self._found.why_not(path) is not None)


def _notes(found: Found, live: Iterable[str]) -> list[str]:
    left = [f"{shown(path)} is not synced: {kind}" for path, kind in found.foreign.items()]
    alike = look_alike({*found.files, *live})
    return left + [f"only Unicode normalization tells these apart: {', '.join(map(shown, one))}" for one in alike]


def _agreed(there: Entry | None) -> Base | None:
    return None if there is None or there.is_deleted else Base(there.md5, there.version)


def _reason(why: Exception) -> str:
    """Say why a path could not be synced; Full when it is for want of room, which concerns all of them."""
    if not isinstance(why, OSError):
        return str(why)
    if why.errno in _NO_ROOM:
        raise Full(f"no room left here: {why.strerror}") from None
    return why.strerror or type(why).__name__


@asynccontextmanager
async def session(
    folder: Path,
    remote: Remote,
    reactor: Reactor,
    wishes: Wishes,
    progress: Progress,
    lend: Callable[[Path, str, str], AbstractContextManager[Folder]] = synced,
) -> AsyncIterator[Session]:
    """Hold a folder; Conflict when another sync does. Whatever ends it, what was begun is ended first."""
    hands = Hands(THREADS, reactor)
    with ExitStack() as held:
        try:
            ours = await hands.run(held.enter_context, lend(folder, remote.name, socket.gethostname()))
            try:
                yield Session(ours, remote, hands, wishes, progress, reactor)
            finally:
                ours.stop.set()
        finally:
            await hands.rest()


async def sync(
    folder: Path, remote: Remote, reactor: Reactor, wishes: Wishes = _DEFAULT, progress: Progress = _SILENCE
) -> Outcome:
    """Bring a folder and a tree in step, once.

    Raises Refused when the plan looks like a mistake, Unavailable when the remote is away, Denied, Forbidden, Full,
    Conflict when another sync holds the folder. To cancel it is safe at any time.
    """
    async with session(folder, remote, reactor, wishes, progress) as held:
        return await held.round()


async def planned(
    folder: Path, remote: Remote, reactor: Reactor, wishes: Wishes = _DEFAULT
) -> tuple[list[Step], Outcome]:
    """Give what `sync` would do now, with its problems and notes; nothing is written, here or there."""
    outcome = Outcome()
    async with session(folder, remote, reactor, wishes, _SILENCE, looked_at) as held:
        return [step for step in await held.plan(outcome) if step.act not in _AGREED], outcome
