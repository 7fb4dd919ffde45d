"""Whether a store has what a backup says: all rows compared, and all bytes read and hashed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from stor.database.promise import Transaction
from stor.objects import rows
from stor.objects.backup.comparing import Compared, compare
from stor.objects.backup.format import Entry
from stor.objects.backup.lists import Reader
from stor.objects.backup.manifest import digest_of
from stor.objects.backup.place import BLOBS, Place, hashed
from stor.objects.backup.working import each_batch
from stor.objects.core import Objects
from stor.objects.records import Blob
from stor.threads import Threads

WORKERS = 8
_BATCH = 32  # digests; in each class perhaps one small blob
_BLOBS = f"SELECT {rows.BLOB} FROM object_blob WHERE refs > 0 AND digest IN ({{}})"


@dataclass(slots=True)
class Proved:
    """What was looked at: all the rows, and blobs that have the bytes of their names; `wrong` are those without."""

    rows: Compared = field(default_factory=Compared)
    blobs: int = 0
    bytes: int = 0
    wrong: list[str] = field(default_factory=list)


async def prove(objects: Objects, place: Place, entry: Entry, threads: Threads) -> Proved:
    """Hold the store against the backup; what is found to be damaged is marked, as the scrubber does."""
    found = Proved(await objects.database.survey(partial(compare, place=place, entry=entry)))

    async def look(digests: list[str]) -> None:
        blobs = await objects.database.read(partial(_blobs, digests=digests))
        inline = await threads.run(_right, blobs)
        for blob in blobs:
            if blob.id in inline or await objects.verify(blob):
                found.blobs, found.bytes = found.blobs + 1, found.bytes + blob.size
            else:
                found.wrong.append(f"the {blob.storage_class} blob {blob.digest} is damaged")

    with Reader(place.list_path(entry.at, BLOBS)) as lines:
        digests = map(digest_of, lines)
        await each_batch(digests, _BATCH, look, WORKERS, threads)
    return found


def _right(blobs: Sequence[Blob]) -> set[int]:
    """Tell which have their bytes in the row, and the right ones; in a thread."""
    return {blob.id for blob in blobs if blob.data is not None and hashed(blob.data) == blob.digest}


def _blobs(tx: Transaction, digests: Sequence[str]) -> list[Blob]:
    marks = ", ".join("?" * len(digests))
    return list(map(rows.blob_of, tx.execute(_BLOBS.format(marks), [bytes.fromhex(each) for each in digests])))
