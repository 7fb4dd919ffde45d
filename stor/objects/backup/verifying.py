"""Whether a folder of backups is as it was written; needs no server."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from os import cpu_count
from pathlib import Path

from stor.errors import Failed, Missing
from stor.objects.backup.format import Entry, Saved
from stor.objects.backup.lists import Reader
from stor.objects.backup.manifest import checked, digest_of
from stor.objects.backup.place import BLOBS, MANIFEST, Place, is_whole

MOST_TOLD = 1000  # of each sort of trouble


@dataclass(slots=True)
class Verified:
    """What was looked at, and what is wrong: at most 1000 words of it, and how much in all."""

    backups: int = 0
    objects: int = 0
    blobs: int = 0
    bytes: int = 0
    wrong: list[str] = field(default_factory=list)
    faults: int = 0

    def blame(self, what: str) -> None:
        """Note a fault."""
        self.faults += 1
        if len(self.wrong) < MOST_TOLD:
            self.wrong.append(what)


def verify(folder: Path) -> Verified:
    """Read everything that the backups of a folder need. Blocks; raises Missing where there is no backup at all."""
    with closing(Place(folder)) as place:
        place.open()
        entries, found = place.index().backups, Verified()
        if not entries:
            raise Missing(f"{folder} holds no backup")
        with ThreadPoolExecutor(cpu_count()) as pool:
            for blobs, size, wrong in pool.map(lambda digests: _hash_all(place, digests), _portions(place)):
                found.blobs, found.bytes = found.blobs + blobs, found.bytes + size
                for digest in wrong:
                    found.blame(f"blob {digest} has other bytes")
        for entry in entries:
            _look_at(place, entry, found)
        return found


def _portions(place: Place) -> Iterator[list[str]]:
    for _, digests in place.blobs():
        yield digests


def _hash_all(place: Place, digests: list[str]) -> tuple[int, int, list[str]]:
    wrong, size = list[str](), 0
    for digest in digests:
        there = place.size(digest)
        size += there or 0
        if there is None or not is_whole(place.blob(digest), digest):
            wrong.append(digest)
    return len(digests), size, wrong


def _look_at(place: Place, entry: Entry, found: Verified) -> None:
    """See that the lists of a backup are whole, and that there is what they name."""
    found.backups += 1
    try:
        place.check(entry)
        for line in _blob_lines(place, entry):
            if place.size(line) is None:
                found.blame(f"{entry.at}: blob {line} is missing")
        with Reader(place.list_path(entry.at, MANIFEST)) as lines:
            _count_objects(place, entry, iter(lines), found)
    except (Failed, Missing) as why:
        found.blame(f"{entry.at}: {why}")


def _blob_lines(place: Place, entry: Entry) -> Iterator[str]:
    with Reader(place.list_path(entry.at, BLOBS)) as lines:
        yield from map(digest_of, lines)


def _count_objects(place: Place, entry: Entry, lines: Iterator[bytes], found: Verified) -> None:
    lacking = 0
    for line in checked(lines, entry):
        if isinstance(line, Saved):
            found.objects += 1
            lacking += not place.has(line.digest, line.size_bytes)
    if lacking:
        told = f" ({entry.damaged} blobs were damaged already when it was made)" if entry.damaged else ""
        found.blame(f"{entry.at}: the bytes of {lacking} objects are missing{told}")
