"""Old versions of files: kept before they are overwritten, listed, read, and forgotten when their time has come."""

from collections.abc import Callable
from dataclasses import dataclass

from stor.blobs.files import Files
from stor.blobs.layout import number_of
from stor.blobs.rules import Entry
from stor.blobs.stored import stored
from stor.blobs.waiting import spread, together
from stor.errors import Missing
from stor.storage.promise import Found, Listed

_DAY = 86_400.0
WIDTH = 8
MOST = 1000
"""Versions of one path that are listed, and read at once to be."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept: at most so many old versions of a path (0: any number), none older than so many days (0: any).

    Both 0: nothing is kept. A version's age is counted from when it was replaced.
    """

    versions: int = 0
    days: float = 0

    def __bool__(self) -> bool:
        return bool(self.versions or self.days)

    def kept(self, newest_first: list[Listed], now: float) -> list[Listed]:
        """Give those of one path's old versions that stay at `now`, in seconds since 1970."""
        kept = newest_first[: self.versions] if self.versions else newest_first
        return [each for each in kept if not self.days or each.modified >= now - self.days * _DAY]


class History:
    """The old versions of a tree's files: objects of their own, copied within the store."""

    def __init__(self, files: Files, retention: Retention, now: Callable[[], float]) -> None:
        self._files, self._retention, self._now = files, retention, now

    async def keep(self, entry: Entry) -> None:
        """Copy what is about to be replaced; Missing or PreconditionFailed when it is no longer there."""
        if self._retention and not entry.is_deleted:
            layout = self._files.layout
            old = layout.old(entry.path, entry.version)
            await self._files.store.copy(layout.file(entry.path), old, etag=entry.etag)

    async def versions(self, path: str) -> list[Entry]:
        """Give the old versions of a path that are kept, newest first."""
        kept = self._retention.kept((await self._listed(path))[:MOST], self._now()) if self._retention else []
        found: list[Entry] = []
        for at in range(0, len(kept), WIDTH):
            looked = await together(self._look(path, each.key) for each in kept[at : at + WIDTH])
            found += [entry for entry in looked if entry is not None]
        return found

    async def open(
        self, path: str, version: int, start: int = 0, stop: int | None = None, *, etag: str | None = None
    ) -> Found:
        """Give stored bytes of an old version; Missing."""
        return await self._files.store.get(self._files.layout.old(path, version), start, stop, etag=etag)

    async def sweep(self) -> int:
        """Delete what need not be kept any more, of all paths; give how many versions that were."""
        deleted, head, listed = 0, "", list[Listed]()
        async for page in self._files.store.list(self._files.layout.histories):
            for each in page:
                path = each.key.rpartition("/")[0]
                if path != head:
                    deleted += await self._sweep(listed)
                    head, listed = path, []
                listed.append(each)
        return deleted + await self._sweep(listed)

    async def _sweep(self, oldest_first: list[Listed]) -> int:
        """Delete of one path; with the history switched off nothing is deleted, lest a wrong setting destroys it."""
        if not self._retention:
            return 0
        kept = {each.key for each in self._retention.kept(oldest_first[::-1], self._now())}
        gone = [each.key for each in oldest_first if each.key not in kept]
        await spread(self._files.store.delete, gone, WIDTH)
        return len(gone)

    async def _listed(self, path: str) -> list[Listed]:
        pages = [page async for page in self._files.store.list(self._files.layout.history(path))]
        return [each for page in pages for each in page][::-1]

    async def _look(self, path: str, key: str) -> Entry | None:
        try:
            info = await self._files.store.head(key)
        except Missing:
            return None
        return stored(info).old(path, number_of(key))
