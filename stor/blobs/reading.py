"""Reading files: one call of the store for the current one, whatever the index shows."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from stor.blobs.compression import unpacked
from stor.blobs.roots import Roots
from stor.blobs.rules import Entry, needs_live
from stor.blobs.stored import stored
from stor.blobs.suspects import Suspects
from stor.errors import Missing, NotSatisfiable, PreconditionFailed, Unavailable
from stor.storage.promise import Found
from stor.streams import Body
from stor.threads import Threads

TRIES = 5
Opener = Callable[..., Awaitable[Found]]
"""Opens stored bytes: `opener(start, stop, etag=…)`, all of them when nothing is said."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What a get found; the body must be read or closed."""

    entry: Entry
    body: Body


class Reader:
    """Reads paths of one tree, and has those looked at again where the index shows something else."""

    def __init__(self, roots: Roots, suspects: Suspects, threads: Threads) -> None:
        self._roots, self._suspects, self._threads = roots, suspects, threads

    async def head(self, path: str) -> Entry:
        """Give the live entry; Missing with the contract's texts."""
        there = await self._roots.files.look(path, self._roots.replica.get(path))
        return needs_live(path, self._seen(path, there))

    async def get(self, path: str, start: int, stop: int | None) -> Blob:
        """Give the entry and bytes `start` to `stop`; Missing, NotSatisfiable."""

        async def opened(start: int = 0, stop: int | None = None, *, etag: str | None = None) -> Found:
            try:
                return await self._roots.files.open(path, start, stop, etag=etag)
            except Missing:
                needs_live(path, self._seen(path, None))
                raise

        async def live(found: Found) -> Entry:
            there = await self._roots.files.understood(path, found.info, self._roots.replica.get(path))
            return needs_live(path, self._seen(path, there))

        for _ in range(TRIES):
            try:
                return await self._read(opened, live, start, stop)
            except PreconditionFailed:
                continue  # it changed between two calls of the store
        raise Unavailable("this file changes too often", 1.0)

    async def old(self, path: str, version: int, start: int, stop: int | None) -> Blob:
        """Give an old version, or the current one if that is it."""

        async def kept(found: Found) -> Entry:
            return stored(found.info).old(path, version)

        try:
            return await self._read(partial(self._roots.history.open, path, version), kept, start, stop)
        except Missing:
            current = await self.get(path, start, stop)
            if current.entry.version == version:
                return current
            close(current.body)
            raise Missing(f"Version {version} not found: {path}") from None

    async def versions(self, path: str) -> list[Entry]:
        """Give what is there, a tombstone too, and what was kept, newest first; Missing when there is nothing."""
        there = self._seen(path, await self._roots.files.look(path, self._roots.replica.get(path)))
        kept = await self._roots.history.versions(path)
        if there is None and not kept:
            raise Missing(f"File not found: {path}")
        newest = [] if there is None else [there]
        return newest + [entry for entry in kept if there is None or entry.version != there.version]

    async def _read(
        self, source: Opener, entry_of: Callable[[Found], Awaitable[Entry]], start: int, stop: int | None
    ) -> Blob:
        """Read a part, by one call of the store unless the object is compressed and the part is not the whole."""
        try:
            found = await source(start, stop)
            is_whole = not start and stop is None
        except NotSatisfiable:  # of the bytes as they are stored, which may be fewer
            found, is_whole = await source(), True
        encoding = stored(found.info).encoding
        try:
            entry = await entry_of(found)
            _check_range(entry, start, is_there=encoding is not None or not is_whole)
        except BaseException:
            close(found.body)
            raise
        if encoding is None:
            return Blob(entry, found.body)
        if not is_whole:
            close(found.body)
            found = await source(etag=found.info.etag)
        end = entry.size if stop is None else min(stop, entry.size)
        return Blob(entry, unpacked(found.body, start, end, self._threads))

    def _seen(self, path: str, there: Entry | None) -> Entry | None:
        """Have the path looked at again if the index does not show what is there; give what counts now."""
        if not self._roots.settler.agree(self._roots.replica.get(path), there):
            self._suspects.notice(path)
        return self._roots.settler.current(there)


def _check_range(entry: Entry, start: int, *, is_there: bool) -> None:
    if start and (start >= entry.size or not is_there):
        raise NotSatisfiable("the range lies beyond the end", entry.size)


def close(body: Body) -> None:
    """Let go of a body that nobody will read."""
    if not isinstance(body, bytes):
        body.close()
