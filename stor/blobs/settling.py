"""Making the index show what the object says, whatever happened between the two."""

from collections.abc import Callable

from stor.blobs.files import Files
from stor.blobs.journal import Journal
from stor.blobs.records import Purge, Put, Record
from stor.blobs.replica import Replica
from stor.blobs.rules import Entry, next_version, unexpired
from stor.errors import Missing, PreconditionFailed, Unavailable

TRIES = 10


class Settler:
    """Compares a path's object with the index, and corrects the index; in rare cases the object's version.

    The order is what makes it right beside any number of writers: first the index is read, then the object, and a
    correction is only taken by the journal when the index has not moved since.
    """

    def __init__(
        self, files: Files, replica: Replica, journal: Journal, tombstone_days: float, now: Callable[[], float]
    ) -> None:
        self._files, self._replica, self._journal = files, replica, journal
        self._tombstone_days, self._now = tombstone_days, now

    def current(self, entry: Entry | None) -> Entry | None:
        """Give the entry as it counts now: an expired tombstone is nothing."""
        return unexpired(entry, self._now(), self._tombstone_days)

    def version(self, *seen: Entry | None) -> int:
        """Give the version of a write that happens now, over what was seen."""
        versions = [entry.version for entry in seen if entry is not None]
        return next_version(self._now(), self._replica.last_version, *versions)

    async def settle(self, path: str) -> Entry | None:
        """Make the index show what the object says, and give it; the caller holds the path's lock."""
        for _ in range(TRIES):
            await self._journal.tail()
            shown = self._replica.get(path)
            there = await self._files.look(path, shown)
            if self.agree(shown, there):
                return there
            if shown is not None and there is not None and self.must_be_stamped(shown, there):
                there = await self._stamped(shown, there)
                if there is None:
                    continue
            if all(await self._journal.append([correction(path, shown, there)])):
                return there
        raise Unavailable("too many writers of this file at once", 1.0)

    def agree(self, shown: Entry | None, there: Entry | None) -> bool:
        """Tell whether the index shows what the object says; an expired tombstone need not be shown."""
        if shown is None or there is None:
            return shown is None and self.current(there) is None
        return there.etag == shown.etag and there.version == shown.version and is_alike(there, shown)

    def must_be_stamped(self, shown: Entry, there: Entry) -> bool:
        """Tell whether the object's version would take the index back: an etag that returned, or a clock that lags."""
        return there.version < shown.version or (there.version == shown.version and not is_alike(there, shown))

    async def _stamped(self, shown: Entry, there: Entry) -> Entry | None:
        try:
            return await self._files.stamp(there, self.version(shown, there))
        except (PreconditionFailed, Missing):
            return None


def is_alike(one: Entry, other: Entry) -> bool:
    """Tell whether two entries of a path are of the same content."""
    return one.md5 == other.md5 and one.size == other.size and one.is_deleted == other.is_deleted


def correction(path: str, shown: Entry | None, there: Entry | None) -> Record:
    """Give the record that makes the index show what is there; they differ."""
    if there is not None:
        return Put(there, 0 if shown is None else shown.version)
    if shown is None:
        raise AssertionError("nothing in the index and nothing in the store agree")
    return Purge(path, shown.version)
