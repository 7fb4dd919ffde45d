"""What is forgotten with time: tombstones that everybody has seen by now, and old versions."""

from collections.abc import Iterator

from twisted.internet.task import deferLater
from twisted.logger import Logger

from stor.blobs.records import Purge
from stor.blobs.roots import Roots
from stor.blobs.rules import Entry
from stor.blobs.stored import is_telling
from stor.blobs.suspects import Suspects
from stor.blobs.waiting import spread
from stor.errors import Missing, PreconditionFailed

log = Logger()

WIDTH = 16
SLICE = 10_000
"""Entries looked through before the reactor has its turn."""


class Lifecycle:
    """Purges what has expired, beside any number of writers."""

    def __init__(self, roots: Roots, suspects: Suspects) -> None:
        self._roots, self._suspects = roots, suspects

    async def run(self) -> None:
        """Go through everything once."""
        entries = list(self._roots.replica)
        for at in range(0, len(entries), SLICE):
            await spread(self._purge, self._expired(entries[at : at + SLICE]), WIDTH)
            await deferLater(self._roots.reactor, 0)
        versions = await self._roots.history.sweep()
        self._roots.metrics.purged.labels("version").inc(versions)

    def _expired(self, entries: list[Entry]) -> Iterator[Entry]:
        return (entry for entry in entries if entry.is_deleted and self._roots.settler.current(entry) is None)

    async def _purge(self, entry: Entry) -> None:
        """Delete the tombstone's object, then take it out of the index; not if it has been revived."""
        async with self._roots.locks.hold(entry.path):
            if self._roots.replica.get(entry.path) is not entry:
                return
            try:
                await self._delete(entry)
            except (PreconditionFailed, Missing):
                self._suspects.notice(entry.path)
                return
            taken = await self._roots.journal.append([Purge(entry.path, entry.version)])
            if not all(taken):
                self._suspects.notice(entry.path)
                return
            self._roots.metrics.purged.labels("tombstone").inc()

    async def _delete(self, entry: Entry) -> None:
        """Delete the object if it still is this tombstone.

        A store that cannot delete on a condition keeps it: an expired tombstone that the index does not show is
        nothing, and deleting it blindly could hit what has just been put there.
        """
        store, key = self._roots.files.store, self._roots.files.layout.file(entry.path)
        if store.conditional and not store.conditional_delete:
            return
        if not is_telling(entry.etag):
            there = await self._roots.files.look(entry.path, entry)
            if not self._roots.settler.agree(entry, there):
                raise PreconditionFailed("it is another file by now")
        await store.delete(key, when=entry.etag)
