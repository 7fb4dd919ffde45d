"""Pages of objects, over all tenants and namespaces that are asked for; see `searching.Query`.

Objects come by tenant, namespace, the value of the order, and id (for keys: what owns its key, then the others by id).
A page is read in one transaction, and the work for it is bounded: it may hold fewer objects than were asked for, or
none, and still have a position where to go on. An object that is there from the first page to the last is found once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stor.database.promise import Transaction
from stor.objects.cursors import Place, Position
from stor.objects.records import Object
from stor.objects.searching import Query, behind
from stor.objects.walking import Scope, Taken, Way

MOST = 1000
"""Objects and prefixes of one page."""

_BATCH = 200  # rows that are read at once: each may be 10 KB
_FOLDED_BATCH = 32  # at first, where they may all be folded into one prefix
_PAGE_BYTES = 1 << 20  # of a page, roughly
_UNKNOWN = 5 << 10  # of one object, until some have been weighed
_PAGE_ROWS = 12_000  # that a page's statements look at
_SCOPES = 256  # that one statement gives
_PAGE_SCOPES = 4 * _SCOPES
_OBJECT_BYTES = 512  # of an object's JSON beside key and metadata

_ALL_SCOPES = """SELECT tenant, namespace, SUM(objects) FROM object_usage WHERE (tenant, namespace) >= (?, ?)
GROUP BY tenant, namespace ORDER BY tenant, namespace LIMIT ?"""
_SCOPES_OF_ONE = """SELECT tenant, namespace, SUM(objects) FROM object_usage WHERE tenant = ? AND namespace >= ?
GROUP BY tenant, namespace ORDER BY tenant, namespace LIMIT ?"""


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects, the common prefixes of others, each in its order; and where to go on, None when there are no more.

    A prefix that several namespaces have is there once for each of them.
    """

    objects: Sequence[Object]
    prefixes: Sequence[str]
    next: Position | None


def page(tx: Transaction, kind: str, query: Query, start: Position | None, limit: int, most: int = _PAGE_BYTES) -> Page:
    """Read the page that begins at `start` (None: the beginning), of at most `limit` objects and prefixes.

    It ends with the object by which it comes to have `most` bytes as JSON, roughly.
    """
    return _Reading(tx, kind, query, limit, most).page(start)


class _Reading:
    """One page while it is read."""

    def __init__(self, tx: Transaction, kind: str, query: Query, limit: int, most: int) -> None:
        self._tx, self._query, self._way = tx, query, Way(tx, kind, query)
        self._objects: list[Object] = []
        self._prefixes: list[str] = []
        self._room, self._bytes, self._rows, self._scopes_left = limit, most, _PAGE_ROWS, _PAGE_SCOPES
        self._batch = _FOLDED_BATCH if query.delimiter else _BATCH
        self._usual = _UNKNOWN

    @property
    def _is_done(self) -> bool:
        return min(self._room, self._bytes, self._rows, self._scopes_left) <= 0

    def page(self, start: Position | None) -> Page:
        """Read it."""
        for scope, begin in self._scopes(start):
            place = begin
            if not self._is_done:
                place = self._read(scope, begin)
                if place is None:
                    continue
            return Page(self._objects, self._prefixes, Position(scope.tenant, scope.namespace, place))
        return Page(self._objects, self._prefixes, None)

    def _read(self, scope: Scope, place: Place | None) -> Place | None:
        """Read on in a scope until the page is full; None: the scope has no more."""
        while not self._is_done:
            taken = self._take(scope, place, min(self._room, self._batch, self._bytes // self._usual + 1))
            place = self._fold(taken) if self._query.delimiter else self._keep(taken)
            if place is None:
                return None
        if place is not None and place.tie is None:  # behind a prefix, and who knows whether there is anything
            return self._take(scope, place, 0).place
        return place

    def _take(self, scope: Scope, place: Place | None, most: int) -> Taken:
        taken = self._way.take(scope, place, most)
        self._rows -= 1 + taken.looked
        return taken

    def _keep(self, taken: Taken) -> Place | None:
        """Keep what comes before the page is full."""
        for kept, each in enumerate(taken.objects, 1):
            self._add(each)
            if self._bytes <= 0 and kept < len(taken.objects):
                return self._way.place_of(each)
        return taken.place

    def _add(self, found: Object) -> None:
        weight = _weight(found)
        self._objects.append(found)
        self._room -= 1
        self._bytes -= weight
        self._usual = (self._usual + weight) // 2

    def _fold(self, taken: Taken) -> Place | None:
        """Keep what has no delimiter, and of each group its prefix; give a place behind the last group."""
        group = None
        for each in taken.objects:
            if group is not None and each.name.key.startswith(group):
                continue
            group = self._group(each.name.key)
            if group is None:
                self._add(each)
            else:
                self._prefixes.append(group)
                self._room -= 1
                self._bytes -= len(group)
        self._batch = min(2 * self._batch, _BATCH) if group is None else max(self._batch // 2, 4)
        return taken.place if group is None or taken.place is None else _behind(group, taken.place)

    def _group(self, key: str) -> str | None:
        at = key.find(self._query.delimiter, len(self._query.prefix))
        return None if at < 0 else key[: at + len(self._query.delimiter)]

    # ---- Scopes

    def _scopes(self, start: Position | None) -> Iterator[tuple[Scope, Place | None]]:
        """Give the scopes from `start` on, with the place to begin at; at last one where the next page begins."""
        query = self._query
        if not query.is_settled or (query.tenant is not None and query.namespace is not None):
            scope = Scope(query.tenant or "", query.namespace or "")
            yield scope, None if start is None else start.place
            return
        for scope in self._some(start):
            is_meant = query.namespace in {None, scope.namespace}
            if self._is_done or (is_meant and scope.objects):
                is_first = start is not None and (scope.tenant, scope.namespace) == (start.tenant, start.namespace)
                yield scope, start.place if start is not None and is_first else None

    def _some(self, start: Position | None) -> Iterator[Scope]:
        """Give all scopes of the tenants that are meant, until there were too many."""
        tenant, namespace = ("", "") if start is None else (start.tenant, start.namespace)
        while True:
            scopes = self._some_at_once(tenant, namespace)
            if len(scopes) < _SCOPES:
                yield from scopes
                return
            *scopes, following = scopes
            self._scopes_left -= len(scopes)
            yield from scopes
            if self._is_done:
                yield following
                return
            tenant, namespace = following.tenant, following.namespace

    def _some_at_once(self, tenant: str, namespace: str) -> list[Scope]:
        if self._query.tenant is None:
            found = self._tx.execute(_ALL_SCOPES, (tenant, namespace, _SCOPES))
        else:
            found = self._tx.execute(_SCOPES_OF_ONE, (self._query.tenant, namespace, _SCOPES))
        return [Scope(tenant, namespace, int(objects)) for tenant, namespace, objects in found]


def _behind(group: str, place: Place) -> Place | None:
    """Give the later of two places: behind all keys of a group, and `place`; None: no key is behind the group."""
    end = behind(group)
    if end is None:
        return None
    return place if isinstance(place.value, str) and place.value >= end else Place(end)


def _weight(found: Object) -> int:
    texts = sum(len(name) + len(value) for name, value in found.metadata.items())
    return _OBJECT_BYTES + len(found.name.key) + texts
