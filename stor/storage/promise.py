"""What every store promises, whatever is behind it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stor.streams.spool import Spool
from stor.streams.stream import Body


@dataclass(frozen=True, slots=True)
class Listed:
    """A key as a listing shows it: size in bytes as stored, `modified` in seconds since 1970.

    `etag` is opaque and without quotes. Two states of one key that exist one after the other have different
    etags in a Directory; in a bucket equal bytes may have equal etags.
    """

    key: str
    size: int
    etag: str
    modified: float


@dataclass(frozen=True, slots=True)
class Info(Listed):
    """A key as the store knows it: also what was said about it when it was put."""

    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """What `get` found: the bytes whole when they are few, else a stream that the caller must close."""

    info: Info
    body: Body


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A put that was begun and has not ended: it may go on, or be left by a dead process; `id` is the store's."""

    key: str
    id: str


class Absent:
    """The condition that a key must not exist (If-None-Match: *)."""


ABSENT = Absent()
Condition = str | Absent | None  # an etag that must be the current one, ABSENT, or nothing


class Store(Protocol):
    """Bytes under keys: UTF-8, 1 to 1024 bytes, segments parted by `/`, none of them empty, `.` or `..`.

    What a `put` has acknowledged is durable, and visible whole to every later call of any process. All calls have
    deadlines. They raise Unavailable when the store cannot be reached or is not well, Full when it has no room,
    Missing for a key that is not there, PreconditionFailed when `when` does not hold (also where there is no key),
    BadRequest for what is no key, and for metadata of more than 16 names or 1 KiB. A put that raises Unavailable may
    still have happened.
    """

    conditional: bool  # known after the start: puts with `when` are decided by the store itself, for all processes
    conditional_delete: bool

    def spool(self, limit: int, digests: Sequence[str] = ("md5",)) -> Spool:
        """Give a place for a body on its way in, from which `put` need not copy; TooLarge beyond `limit` bytes."""

    async def put(
        self,
        key: str,
        body: bytes | Spool,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        when: Condition = None,
    ) -> Info:
        """Keep the body whole under the key, or nothing of it. The spool, finished, is used up by a success."""

    async def get(self, key: str, start: int = 0, stop: int | None = None, *, etag: str | None = None) -> Found:
        """Give bytes `start` to `stop` (exclusive, cut at the end); PreconditionFailed when the etag is another.

        `info.size` is the size of the whole. NotSatisfiable when `start` is not 0 and not before the end.
        """

    async def head(self, key: str) -> Info:
        """Give what is known, without the bytes."""

    async def delete(self, key: str, *, when: str | None = None) -> None:
        """Remove the key; one that is not there is no error unless `when` is given."""

    async def copy(self, source: str, target: str, *, etag: str) -> Info:
        """Copy within the store, metadata too, if the source's etag is this one; the target is overwritten."""

    def list(self, prefix: str = "", after: str = "") -> AsyncIterator[Sequence[Listed]]:
        """Give pages of the keys that begin with `prefix`, in UTF-8 order, from the first one beyond `after`."""

    def unfinished(self, prefix: str = "") -> AsyncIterator[Sequence[Unfinished]]:
        """Give pages of what was put in parts below `prefix` and has not ended; none where nothing is put so."""

    async def abandon(self, one: Unfinished) -> None:
        """Forget it and its parts: its put fails; one that has ended is no error."""

    async def check(self) -> None:
        """Raise Unavailable when it does not answer, quickly and without cost."""
