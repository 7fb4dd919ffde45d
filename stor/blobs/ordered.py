"""Rows in the order of their paths, sorted only when somebody asks."""

from bisect import bisect_left
from collections.abc import Mapping
from operator import itemgetter

from stor.blobs.view import Row

FEW = 64
"""Changes that are put in their places one by one; with more of them the lists are made anew."""


class Sorted:
    """Rows by path: a change costs nothing but its note, until the next look."""

    def __init__(self) -> None:
        self._paths: list[str] = []
        self._rows: list[Row] = []
        self._changed: dict[str, Row | None] = {}  # None: it is gone

    def reset(self, rows: Mapping[str, Row]) -> None:
        """Hold these."""
        self._changed = {}
        self._paths = sorted(rows)
        self._rows = [rows[path] for path in self._paths]

    def put(self, row: Row) -> None:
        """Hold this one for its path."""
        self._changed[row.entry.path] = row

    def purge(self, path: str) -> None:
        """Hold none for the path."""
        self._changed[path] = None

    def below(self, namespace: str) -> list[Row]:
        """Give those of a namespace, all of them for none, as a list of the caller's own."""
        self._settle()
        if not namespace:
            return self._rows.copy()
        start = bisect_left(self._paths, namespace + "/")
        return self._rows[start : bisect_left(self._paths, namespace + "0", start)]  # "0" is what follows "/"

    def _settle(self) -> None:
        changed, self._changed = self._changed, {}
        if len(changed) <= FEW:
            for path, row in changed.items():
                self._place(path, row)
        else:
            self._merge(changed)

    def _merge(self, changed: Mapping[str, Row | None]) -> None:
        """Make the lists anew out of what lies between the changes: no path that stays is compared or sorted again."""
        paths, rows, at = list[str](), list[Row](), 0
        for path, row in sorted(changed.items(), key=itemgetter(0)):
            place = bisect_left(self._paths, path, at)
            paths += self._paths[at:place]
            rows += self._rows[at:place]
            if row is not None:
                paths.append(path)
                rows.append(row)
            at = place + (place < len(self._paths) and self._paths[place] == path)
        self._paths, self._rows = paths + self._paths[at:], rows + self._rows[at:]

    def _place(self, path: str, row: Row | None) -> None:
        at = bisect_left(self._paths, path)
        end = at + (at < len(self._paths) and self._paths[at] == path)
        self._paths[at:end] = [] if row is None else [path]
        self._rows[at:end] = [] if row is None else [row]
