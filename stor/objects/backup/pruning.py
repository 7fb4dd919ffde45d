"""Old backups of a folder, and the bytes that only they needed, removed."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import merge

from stor.objects.backup.format import replaced
from stor.objects.backup.lists import Reader
from stor.objects.backup.place import BLOBS, Place

_DIGITS = 64


@dataclass(slots=True)
class Pruned:
    """How much was removed."""

    backups: int = 0
    blobs: int = 0
    bytes: int = 0


def prune(place: Place, keep: int) -> Pruned:
    """Keep the newest `keep` backups, and the bytes that they need; what was left by backups that failed goes, too.

    Raises Failed or Missing, and removes no bytes, when a list of what is needed is damaged. Blocks: for threads.
    """
    index = place.index()
    kept, done = index.backups[-keep:], Pruned()
    for entry in kept:
        place.check(entry)
    done.backups = len(index.backups) - len(kept)
    place.publish(replaced(index, kept))  # first: what goes now is no backup any more
    names = {entry.at for entry in kept}
    for at, path in list(place.lists()):
        if at not in names:
            place.remove(path)
    with ExitStack() as open_lists:
        lists = [open_lists.enter_context(Reader(place.list_path(entry.at, BLOBS))) for entry in kept]
        needed = _Ascending(merge(*map(iter, lists)))
        for _, digests in place.blobs():
            for digest in digests:
                if not needed.has(digest):
                    done.blobs, done.bytes = done.blobs + 1, done.bytes + (place.size(digest) or 0)
                    place.remove(place.blob(digest))
    return done


class _Ascending:
    """Looks digests up, in ascending order, in a list that is in ascending order."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines, self._now = lines, ""

    def has(self, digest: str) -> bool:
        while self._now < digest:
            line = next(self._lines, None)
            self._now = "~" if line is None else line[:_DIGITS].decode()  # which is behind them all
        return self._now == digest
