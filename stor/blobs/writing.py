"""One write of one path: judged by what is believed, decided by the store, told to the index."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
from twisted.internet.task import deferLater

from stor.blobs.records import Put, Record
from stor.blobs.roots import Roots
from stor.blobs.rules import Condition, Entry, creates, judge, needs_any
from stor.blobs.settling import is_alike
from stor.blobs.stored import is_telling
from stor.blobs.suspects import Suspects
from stor.errors import Full, Missing, PreconditionFailed, Unavailable
from stor.streams.spool import Spool

TRIES = 12
PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds, doubled with each try and made random: who lost a race should not lose the next one too."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a put left behind; `created`: nothing was there before (201, else 200)."""

    entry: Entry
    created: bool


class Change(Protocol):
    """What a write wants."""

    @property
    def body(self) -> bytes | Spool:
        """What is put."""

    @property
    def encoding(self) -> str | None:
        """How it is compressed, if it is."""

    def is_done(self, path: str, current: Entry | None) -> bool:
        """Tell whether there is nothing to do; raises when it may not be done to `current`."""

    def entry(self, path: str, known: Entry | None) -> Entry:
        """Give what will be there; version, time and etag come later."""


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes to be put."""

    condition: Condition
    body: bytes | Spool
    encoding: str | None
    md5: str
    size: int
    content_type: str | None

    def is_done(self, path: str, current: Entry | None) -> bool:
        """A put always has something to do: also the same bytes are a new version."""
        judge(self.condition, current)
        return False

    def entry(self, path: str, known: Entry | None) -> Entry:
        """A live file."""
        return Entry(path, self.md5, self.size, 0, False, 0, "", content_type=self.content_type)


@dataclass(frozen=True, slots=True)
class Deletion:
    """A tombstone to be put."""

    condition: Condition
    body: bytes = b""
    encoding: str | None = None

    def is_done(self, path: str, current: Entry | None) -> bool:
        """What is deleted already is as it was wanted, whatever the condition (RFC 9110, 13.1.1 allows that)."""
        if needs_any(path, current).is_deleted:
            return True
        judge(self.condition, current)
        return False

    def entry(self, path: str, known: Entry | None) -> Entry:
        """The md5 of the last content stays."""
        return Entry(path, "" if known is None else known.md5, 0, 0, True, 0, "")


@dataclass(frozen=True, slots=True)
class _Known:
    """What a path is taken to be: as the index shows it, or certainly, as the object itself has just said.

    `is_ours`: this write has put it there.
    """

    entry: Entry | None
    is_certain: bool = True
    is_ours: bool = False


class Writer:
    """Writes paths of one tree, one write of a path at a time."""

    def __init__(self, roots: Roots, suspects: Suspects) -> None:
        self._roots, self._suspects = roots, suspects

    async def write(self, path: str, change: Change, condition: Condition, notes: Sequence[Record] = ()) -> Written:
        """Do it if it may be done; raises what the store and the journal raise.

        What is refused is refused by the object itself, never by an index that may be behind. `notes` are records
        that the journal should have beside that of the write.
        """
        async with self._roots.locks.hold(path):
            known = await self._believed(path)
            for attempt in range(TRIES):
                current = self._roots.settler.current(known.entry)
                if self._is_wanted(path, change, known, current):
                    over, known = known.entry, await self._put(path, change, known.entry, attempt)
                    if known.entry is not None and known.is_ours:
                        shown = await self._tell(known.entry, over, notes)
                        return Written(shown, creates(condition, current))
                elif known.is_certain and current is not None:
                    return Written(await self._shown(current), created=False)
                else:
                    known = _Known(await self._look(path))
        raise Unavailable("too many writers of this file at once", 1.0)

    async def _believed(self, path: str) -> _Known:
        """Believe the index, unless a write was never answered, or the etag would not notice a change."""
        entry = self._roots.replica.get(path)
        if self._suspects.is_doubtful(path) or (entry is not None and not is_telling(entry.etag)):
            return _Known(await self._look(path))
        return _Known(entry, is_certain=False)

    async def _look(self, path: str) -> Entry | None:
        return await self._roots.files.look(path, self._roots.replica.get(path))

    def _is_wanted(self, path: str, change: Change, known: _Known, current: Entry | None) -> bool:
        """Tell whether to put it now: not when it is done, nor when it is refused by what is only believed."""
        try:
            return not change.is_done(path, current)
        except (PreconditionFailed, Missing):
            if not known.is_certain:
                return False
            self._compare(path, known.entry)
            raise

    async def _put(self, path: str, change: Change, over: Entry | None, attempt: int) -> _Known:
        """Put it over what is known; when that is no longer there give what is."""
        if len(self._roots.replica) >= self._roots.most and self._roots.replica.get(path) is None:
            raise Full("the tree has as many files as it may have")
        entry = self._stamped(change.entry(path, over), over)
        try:
            if over is not None:
                await self._roots.history.keep(over)
            return _Known(await self._roots.files.put(entry, change.body, change.encoding, over), is_ours=True)
        except (PreconditionFailed, Missing):
            return _Known(await self._met(path, attempt))
        except Exception:  # a disk may say that it is full when the file is there already
            self._suspects.doubt(path)
            raise

    def _stamped(self, entry: Entry, over: Entry | None) -> Entry:
        version, modified = self._roots.settler.version(over), int(self._roots.now() * 1_000_000)
        return msgspec.structs.replace(entry, version=version, modified=modified)

    async def _met(self, path: str, attempt: int) -> Entry | None:
        """Look at what was there instead: not this write, for a store finds out by itself what became of its tries."""
        self._roots.metrics.races.inc()
        if attempt:
            pause = min(PAUSE * 2**attempt, LONGEST_PAUSE)
            await deferLater(self._roots.reactor, random.uniform(0, pause))  # noqa: S311 - no secret
        return await self._look(path)

    async def _tell(self, entry: Entry, known: Entry | None, notes: Sequence[Record]) -> Entry:
        """Have the index show the write; when something has replaced it meanwhile, the index shows that."""
        began = self._roots.reactor.seconds()
        try:
            taken = await self._roots.journal.append([*notes, Put(entry, 0 if known is None else known.version)])
        except Exception:
            self._suspects.doubt(entry.path)
            raise
        shown = entry if taken[-1] else await self._settled(entry)
        self._roots.metrics.appends.observe(self._roots.reactor.seconds() - began)
        return shown

    async def _shown(self, there: Entry) -> Entry:
        """Have the index show what needed no write: whoever made it may have died before they told."""
        if self._roots.settler.agree(self._roots.replica.get(there.path), there):
            return there
        return await self._settled(there)

    async def _settled(self, entry: Entry) -> Entry:
        """Have the index show the object, and give it if it is still of this content."""
        try:
            shown = await self._roots.settler.settle(entry.path)
        except Exception:
            self._suspects.doubt(entry.path)
            raise
        return shown if shown is not None and is_alike(shown, entry) else entry

    def _compare(self, path: str, there: Entry | None) -> None:
        """Somebody was told of this object: the index must show it soon."""
        if not self._roots.settler.agree(self._roots.replica.get(path), there):
            self._suspects.notice(path)
