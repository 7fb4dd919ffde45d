"""The index of a tree, or of one of its namespaces, at one moment, as the wire wants it."""

import gzip
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from stor.blobs.fragments import document, fragment, head_length, relative
from stor.blobs.rules import Entry
from stor.blobs.waiting import Waiters
from stor.errors import BadRequest
from stor.threads import Threads

_CURSOR = re.compile("([0-9a-z]{0,64})-([0-9]{1,18})")
MANY = 10_000
"""Entries whose body takes some two milliseconds, once their fragments are there."""
_LEVEL = 1  # a sixth of the time of the default, for a tenth more bytes


class Row(msgspec.Struct, gc=False):
    """An entry and, once somebody has asked, its fragment of JSON."""

    entry: Entry
    text: bytes = b""

    def fragment(self) -> bytes:
        """Give the fragment, made at its first use."""
        if not self.text:
            self.text = fragment(self.entry)
        return self.text


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position of a journal, of which `log` is the name; as text opaque to whoever keeps it."""

    log: str
    position: int

    @classmethod
    def read(cls, text: str) -> "Cursor":
        """Understand what `str` gave; BadRequest for anything else."""
        read = _CURSOR.fullmatch(text)
        if read is None:
            raise BadRequest("this is no cursor of ours")
        return cls(read[1], int(read[2]))

    def __str__(self) -> str:
        return f"{self.log}-{self.position}"

    def is_reset_for(self, now: "Cursor", horizon: int) -> bool:
        """Tell whether who has read up to here cannot be told what changed, when the journal is at `now`."""
        if not self.position:
            return False  # has nothing yet: there is nothing to take back
        return self.log != now.log or not horizon <= self.position <= now.position


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a journal is, and what its purges left behind; see `records.State`."""

    now: Cursor
    purged_at: int = 0
    purged_version: int = 0
    horizon: int = 0


@dataclass(slots=True)
class Sums:
    """What is highest among the entries of a namespace, kept while they change; `modified` None: to be found again."""

    changed: int = 0
    version: int = 0
    modified: int | None = 0

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Sums":
        """Find them."""
        sums = cls()
        for row in rows:
            sums.put(None, row.entry)
        return sums

    def put(self, before: Entry | None, entry: Entry) -> None:
        """An entry has come, in place of the one before."""
        self.changed = max(self.changed, entry.position)
        self.version = max(self.version, entry.version)
        if self.modified is not None:
            if entry.modified >= self.modified:
                self.modified = entry.modified
            elif before is not None and before.modified == self.modified:
                self.modified = None  # by a clock that lags: what is highest now is anybody's


class _Bytes:
    """The body of a view, plain and compressed, each made once; views of the same rows share it."""

    def __init__(self, make: Callable[[], bytes], threads: Threads) -> None:
        self._make, self._threads = make, threads
        self._plain = b""
        self._gzip = b""
        self._waiters: Waiters[bytes] = Waiters()
        self._working = False

    async def made(self) -> bytes:
        """Make the plain one in a thread; two who do so at once make it twice, which is rare and harms nobody."""
        return self._plain or await self._threads.run(self.plain)

    def plain(self) -> bytes:
        if not self._plain:
            self._plain = self._make()
        return self._plain

    async def gzipped(self) -> bytes:
        if self._gzip:
            return self._gzip
        told = self._waiters.wait()
        if not self._working:
            self._working = True
            Deferred.fromCoroutine(self._compress())
        return await told

    async def _compress(self) -> None:
        try:
            self._gzip = await self._threads.run(lambda: gzip.compress(self.plain(), _LEVEL, mtime=0))
        except Exception:  # noqa: BLE001 - whoever waits raises it
            self._waiters.tell(Failure())
        else:
            self._waiters.tell(self._gzip)
        finally:
            self._working = False


class View:
    """All entries below a namespace as they were at one position of the journal; paths are relative to it.

    `etag` is quoted and strong, the same in every process that has read the same journal; `cursor` is what `since`
    takes; `version` is the highest version in it and never goes back; `modified` in microseconds since 1970.
    """

    def __init__(self, namespace: str, rows: Sequence[Row], sums: Sums, moment: Moment, threads: Threads) -> None:
        """`rows` are those of the namespace, in the order of their paths, and `sums` theirs."""
        self._rows, self._moment = rows, moment
        self._cut = len(namespace) + 1 if namespace else 0
        self._head = head_length(namespace)
        if sums.modified is None:
            sums.modified = max((row.entry.modified for row in rows), default=0)
        self.modified = sums.modified
        self.version = max(sums.version, moment.purged_version)
        self.etag = f'"{Cursor(moment.now.log, max(sums.changed, moment.purged_at))}"'
        self.cursor = str(moment.now)
        self._bytes = _Bytes(lambda: self._document(rows), threads)

    @property
    def entries(self) -> int:
        """How many files there are in it, deleted ones too."""
        return len(self._rows)

    def body(self) -> bytes:
        """Give the contract's JSON; made once and kept. With many entries that takes a while: see `made`."""
        return self._bytes.plain()

    async def made(self) -> bytes:
        """Give the body; one of many entries is made in a thread."""
        return self.body() if self.entries <= MANY else await self._bytes.made()

    async def gzipped(self) -> bytes:
        """Give the body compressed; made once, in a thread, and kept."""
        return await self._bytes.gzipped()

    def page(self, after: str, limit: int) -> bytes:
        """Give the first `limit` files beyond the path `after` as JSON, with `next`: the last path given, or null."""
        start = bisect_right(self._rows, after, key=self._path)
        rows = self._rows[start : start + limit]
        more = start + limit < len(self._rows)
        return self._document(rows, next=self._path(rows[-1]) if rows and more else None)

    def since(self, cursor: str) -> bytes:
        """Give what changed after the cursor as JSON, with `cursor` and `reset`; BadRequest for what is no cursor."""
        told = Cursor.read(cursor)
        reset = told.is_reset_for(self._moment.now, self._moment.horizon)
        rows = self._rows if reset else [row for row in self._rows if row.entry.position > told.position]
        return self._document(rows, cursor=self.cursor, reset=reset)

    def at(self, moment: Moment) -> "View":
        """Give this view for a moment, this one or a later one, until which nothing in it has changed."""
        if moment is self._moment:
            return self
        later = View.__new__(View)
        later.__dict__.update(self.__dict__, _moment=moment, cursor=str(moment.now))
        return later

    def _path(self, row: Row) -> str:
        return row.entry.path[self._cut :]

    def _document(self, rows: Sequence[Row], **extra: object) -> bytes:
        fragments = relative([row.text or row.fragment() for row in rows], self._head)
        return document(fragments, self.modified, self.version, **extra)
