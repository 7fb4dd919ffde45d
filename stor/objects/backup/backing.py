"""A backup of the store while it goes on, as of one moment."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import json

from stor.errors import Failed, StorError
from stor.objects.backup.copying import WORKERS, Copied, Copying
from stor.objects.backup.format import Entry, Index, later, name_of, replaced, wanted_of
from stor.objects.backup.hold import Hold
from stor.objects.backup.lists import Reader, Writer
from stor.objects.backup.place import BLOBS, DAMAGED, MANIFEST, Place
from stor.objects.backup.pruning import Pruned, prune
from stor.objects.backup.survey import Surveyed, survey
from stor.objects.core import Objects
from stor.threads import Threads


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a backup is to be made: `hashing` what the folder has already, too; `keep` so many backups, None all."""

    hashing: bool = False
    keep: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The backup that was made, what had to be copied for it, and what was removed of older ones."""

    entry: Entry
    copied: Copied
    pruned: Pruned = field(default_factory=Pruned)


async def back_up(objects: Objects, folder: Path, wishes: Wishes, reactor: Any) -> Report:
    """Make a backup in a folder; until it is whole, and whenever it fails, those that are there stay as they are.

    Raises Conflict when another process makes one there, Full when there is no room, Unavailable when the store or
    the database is away for long.
    """
    threads, place = Threads("backup", WORKERS, reactor), Place(folder)
    threads.startService()
    try:
        await threads.run(place.make)
        return await _Backup(objects, place, threads, reactor).run(wishes)
    finally:
        threads.afterwards(place.close)
        await threads.stopService()


class _Backup:
    def __init__(self, objects: Objects, place: Place, threads: Threads, reactor: Any) -> None:
        self._objects, self._place, self._threads, self._reactor = objects, place, threads, reactor
        self._hold = Hold(objects.database, objects.now, reactor)

    async def run(self, wishes: Wishes) -> Report:
        index = await self._threads.run(self._place.index)
        at = _name(index, self._objects.now())
        try:
            await self._hold.take()
            surveyed = await self._objects.database.survey(partial(survey, at=at, folder=self._place.tmp))
            try:
                copied = await self._copied(surveyed, wishes)
                self._hold.check()
                entry = await self._threads.run(self._publish, index, at, surveyed, copied)
            finally:
                self._threads.afterwards(surveyed.close)
        finally:
            await self._hold.let_go()
        if wishes.keep is None:
            return Report(entry, copied)
        try:
            return Report(entry, copied, await self._threads.run(prune, self._place, wishes.keep))
        except StorError as why:
            raise Failed(f"the backup {at} is made, but nothing was removed: {why}") from None

    async def _copied(self, surveyed: Surveyed, wishes: Wishes) -> Copied:
        copying = Copying(self._objects, self._place, self._threads, self._hold, self._reactor, hashing=wishes.hashing)
        return await copying.run(Path(surveyed.plan.file.path))

    def _publish(self, index: Index, at: str, surveyed: Surveyed, copied: Copied) -> Entry:
        """Give all its name, the index last; in a thread."""
        blobs, size, blob_list = self._write_blob_list(at, Path(surveyed.plan.file.path), copied)
        self._write_damaged(at, copied)
        self._place.keep_list(surveyed.manifest.file, at, MANIFEST)
        entry = Entry(
            at=at,
            objects=surveyed.objects,
            bytes=surveyed.bytes,
            quotas=surveyed.quotas,
            blobs=blobs,
            blob_bytes=size,
            damaged=len(copied.damaged),
            manifest_sha256=surveyed.manifest_sha256,
            blob_list_sha256=blob_list,
        )
        self._place.publish(replaced(index, (*index.backups, entry)))
        return entry

    def _write_blob_list(self, at: str, plan: Path, copied: Copied) -> tuple[int, int, str]:
        """Write down the blobs that are there, as sha256sum does; gives their number and bytes, and the list's hash."""
        blobs, size, written = 0, 0, Writer(self._place.tmp)
        try:
            with Reader(plan) as lines:
                for wanted in map(wanted_of, lines):
                    if wanted.digest not in copied.damaged:
                        path = self._place.blob(wanted.digest).relative_to(self._place.folder)
                        written.add(f"{wanted.digest}  {path}\n".encode())
                        blobs, size = blobs + 1, size + wanted.size
            found = written.finish()
            self._place.keep_list(written.file, at, BLOBS)
        finally:
            written.close()
        return blobs, size, found

    def _write_damaged(self, at: str, copied: Copied) -> None:
        if copied.damaged:
            lines = [json.encode({"sha256": digest, "why": why}) for digest, why in sorted(copied.damaged.items())]
            self._place.keep_text(b"\n".join(lines) + b"\n", at, DAMAGED)


def _name(index: Index, now: int) -> str:
    """Name a backup by its moment, and later than the last one, whatever the clock says."""
    name = name_of(now)
    return name if not index.backups or name > index.backups[-1].at else later(index.backups[-1].at)
