"""What the store holds at one moment, written down within one transaction."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from stor.database.promise import Row, Transaction
from stor.objects import rows
from stor.objects.backup.format import Begin, End, Quota, Source, Wanted, encoded, saved
from stor.objects.backup.lists import Writer
from stor.objects.records import StorageClass

_PAGE = 1000
_QUOTAS = "SELECT tenant, bytes, objects FROM object_quota ORDER BY tenant"
_OBJECTS = f"SELECT {rows.OBJECT} FROM object WHERE id > ? AND state = 'COMMITTED' ORDER BY id LIMIT {_PAGE}"
_BLOBS = f"""SELECT id, digest, class, size, copy FROM object_blob WHERE (digest, class) > (?, ?) AND EXISTS (
    SELECT 1 FROM object WHERE object.blob = object_blob.id AND object.blob IS NOT NULL AND state = 'COMMITTED')
ORDER BY digest, class LIMIT {_PAGE}"""


@dataclass(slots=True)
class Surveyed:
    """The lists that were written; the caller closes them, when they are kept, too."""

    manifest: Writer
    plan: Writer  # of Wanted, in the order of their digests
    manifest_sha256: str = ""
    objects: int = 0
    bytes: int = 0
    quotas: int = 0

    def close(self) -> None:
        """Let go of the lists."""
        self.manifest.close()
        self.plan.close()


def survey(tx: Transaction, at: str, folder: Path) -> Surveyed:
    """Write down all that is COMMITTED now, and where the bytes of it are; a repetition begins new lists."""
    manifest = Writer(folder)
    try:
        found = Surveyed(manifest, Writer(folder))
    except BaseException:
        manifest.close()
        raise
    try:
        manifest.add(encoded(Begin("stor-backup", 1, at)))
        _write_quotas(tx, found)
        _write_objects(tx, found)
        manifest.add(encoded(End(found.objects, found.bytes)))
        for wanted in _wanted(tx):
            found.plan.add(encoded(wanted))
        found.manifest_sha256 = manifest.finish()
        found.plan.finish()
        return found
    except BaseException:
        found.close()
        raise


def _write_quotas(tx: Transaction, found: Surveyed) -> None:
    for row in tx.execute(_QUOTAS):
        found.manifest.add(encoded(Quota(*row)))
        found.quotas += 1


def _write_objects(tx: Transaction, found: Surveyed) -> None:
    last = ""
    while page := tx.execute(_OBJECTS, (last,)):
        for row in page:
            one = rows.object_of(row)
            found.manifest.add(encoded(saved(one)))
            found.objects, found.bytes, last = found.objects + 1, found.bytes + one.size, one.id


def _wanted(tx: Transaction) -> Iterator[Wanted]:
    for digest, places in groupby(_blobs(tx), key=lambda row: row[1]):
        found = list(places)
        sources = [Source(blob, StorageClass(storage_class), copy) for blob, _, storage_class, _, copy in found]
        yield Wanted(digest.hex(), found[0][3], sources)


def _blobs(tx: Transaction) -> Iterator[Row]:
    last: tuple[bytes, str] = (b"", "")
    while page := tx.execute(_BLOBS, last):
        yield from page
        last = (page[-1][1], page[-1][2])
