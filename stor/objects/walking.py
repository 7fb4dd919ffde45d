"""One way through the objects of one scope: along an index, some at a time, never more than a window at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stor.database.promise import Transaction
from stor.objects.cursors import Place
from stor.objects.records import Object
from stor.objects.rows import OBJECT, object_of
from stor.objects.searching import Clause, Order, Query, ends, filters

WINDOW = 2000
"""Rows that one statement looks at, where not each of them may be what is looked for."""

_COMMITTED = Clause("state = 'COMMITTED'")


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose objects and in which namespace, and how many there are, None: not known; for the unsettled there is one."""

    tenant: str = ""
    namespace: str = ""
    objects: int | None = None


@dataclass(frozen=True, slots=True)
class _Index:
    """The columns that sort objects, behind those that are the same for all of a scope; and for which rows it is.

    SQLite takes a partial index only for a query that says the same of its rows, word for word.
    """

    value: str
    tie: str
    rows: Clause


_BY = {
    Order.KEY: _Index("key", "slot", Clause("slot IS NOT NULL")),
    Order.CREATED: _Index("created_at", "id", _COMMITTED),
    Order.SIZE: _Index("size", "id", _COMMITTED),
}
_UNSETTLED = _Index("updated_at", "id", Clause("state <> 'COMMITTED'"))


@dataclass(frozen=True, slots=True)
class Taken:
    """Objects in their order, where to go on (None: the scope has no more), and how many rows were looked at."""

    objects: Sequence[Object]
    place: Place | None
    looked: int


class Way:
    """The objects that a query finds, in its order; reads in the transaction that is given."""

    def __init__(self, tx: Transaction, kind: str, query: Query) -> None:
        self._tx, self._query = tx, query
        self._index = _BY[query.order] if query.is_settled else _UNSETTLED
        self._low, self._high = ends(query)
        self._filters = filters(query, kind)
        sign = " DESC" if query.descending else ""
        self._order = f" ORDER BY {self._index.value}{sign}, {self._index.tie}{sign}"

    def take(self, scope: Scope, place: Place | None, most: int) -> Taken:
        """Give the next objects from `place` on (None: the beginning), at most `most` of them."""
        within = [*self._scope(scope), *self._near(place)]
        end = self._window_end(within) if self._filters else None
        within += self._far() if end is None else [self._until(end)]
        if self._query.is_settled:
            within.append(_COMMITTED)
        rows = self._select(OBJECT, [*within, *self._filters], most + 1)
        objects = [object_of(row) for row in rows[:most]]
        looked = self._looked(scope, len(rows))
        if len(rows) > most:
            return Taken(objects, self.place_of(objects[-1]) if objects else place, looked)
        return Taken(objects, end, looked)

    def place_of(self, found: Object) -> Place:
        """Give the place behind an object."""
        if not self._query.is_settled:
            return Place(found.updated_at, found.id)
        if self._query.order is Order.KEY:
            return Place(found.name.key, "" if found.name.key else found.id)
        return Place(found.size if self._query.order is Order.SIZE else found.created_at, found.id)

    # ---- Statements

    def _select(self, columns: str, clauses: Sequence[Clause], limit: int, offset: int = 0) -> list[tuple[object, ...]]:
        where = " AND ".join(clause.sql for clause in clauses)
        parameters = [value for clause in clauses for value in clause.parameters]
        sql = f"SELECT {columns} FROM object WHERE {where}{self._order} LIMIT ? OFFSET ?"
        return self._tx.execute(sql, (*parameters, limit, offset))

    def _window_end(self, within: Sequence[Clause]) -> Place | None:
        """Give the place of the window's last row, from the index alone; None when there are less rows than that."""
        columns = f"{self._index.value}, {self._index.tie}"
        for value, tie in self._select(columns, [*within, *self._far()], 1, WINDOW - 1):
            return Place(value, tie)  # type: ignore[arg-type]  # rows are of any type
        return None

    def _looked(self, scope: Scope, found: int) -> int:
        if not self._filters:
            return found
        return WINDOW if scope.objects is None else min(WINDOW, scope.objects)

    # ---- Conditions

    def _scope(self, scope: Scope) -> list[Clause]:
        if not self._query.is_settled:
            return [self._index.rows, *self._unsettled()]
        return [Clause("tenant = ? AND namespace = ?", (scope.tenant, scope.namespace)), self._index.rows]

    def _unsettled(self) -> list[Clause]:
        """Of one tenant only its own rows, or places where windows end would tell of others."""
        state, tenant = Clause("state = ?", (self._query.state.value,)), self._query.tenant
        return [state] if tenant is None else [Clause("tenant = ?", (tenant,)), state]

    def _near(self, place: Place | None) -> list[Clause]:
        """One bound and no second one, or SQLite may seek by the wrong one of them."""
        sign = "<" if self._query.descending else ">"
        if place is not None and place.tie is not None:
            return [Clause(f"({self._index.value}, {self._index.tie}) {sign} (?, ?)", (place.value, place.tie))]
        if self._query.descending:
            return self._below(self._high if place is None else place.value)
        return self._from(self._low if place is None else place.value)

    def _far(self) -> list[Clause]:
        return self._from(self._low) if self._query.descending else self._below(self._high)

    def _until(self, end: Place) -> Clause:
        sign = ">=" if self._query.descending else "<="
        return Clause(f"({self._index.value}, {self._index.tie}) {sign} (?, ?)", (end.value, end.tie))

    def _from(self, value: str | int | None) -> list[Clause]:
        return [] if value is None else [Clause(f"{self._index.value} >= ?", (value,))]

    def _below(self, value: str | int | None) -> list[Clause]:
        return [] if value is None else [Clause(f"{self._index.value} < ?", (value,))]
