"""What is looked for: which objects and in which order, and what a database asks of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from stor.objects.records import State, StorageClass

_LAST = chr(0x10FFFF)
_CONTAINS = {"sqlite": "instr(key, ?) > 0", "postgresql": "strpos(key, ?) > 0"}
_METADATA = {  # a name that is not in quotes SQLite takes for a path; rules.check_metadata lets no quotes into names
    "sqlite": """metadata ->> ('$."' || ? || '"') = ?""",
    "postgresql": "CAST(metadata AS jsonb) ->> CAST(? AS text) = ?",
}


class Order(StrEnum):
    """By what objects are sorted, each within its tenant and namespace."""

    KEY = "key"  # by its UTF-8 bytes; what has none comes first, by id
    CREATED = "created_at"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers from `least` to `most`, both of them included; None: no end."""

    least: int | None = None
    most: int | None = None


ANY = Span()


@dataclass(frozen=True, slots=True)
class Query:
    """Which objects, in which order; None and "" ask for nothing. Times are microseconds since 1970.

    Only objects by key can be folded at a `delimiter`. Those in another state than COMMITTED come by the time of their
    last change, whatever `order` says.
    """

    tenant: str | None = None
    namespace: str | None = None
    order: Order = Order.KEY
    descending: bool = False
    state: State = State.COMMITTED
    prefix: str = ""
    delimiter: str = ""
    key_contains: str = ""
    content_type: str | None = None
    storage_class: StorageClass | None = None
    size: Span = ANY
    created: Span = ANY
    updated: Span = ANY
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether it is about what readers see."""
        return self.state is State.COMMITTED

    @property
    def value_kind(self) -> type[str] | type[int]:
        """Of which kind the values are that it sorts by."""
        return str if self.order is Order.KEY and self.is_settled else int


@dataclass(frozen=True, slots=True)
class Clause:
    """A condition in SQL; names of columns are those of `object`."""

    sql: str
    parameters: tuple[object, ...] = ()


def ends(query: Query) -> tuple[str | int | None, str | int | None]:
    """Give where the query's objects begin in its order, and the first value behind their end; None: no end."""
    if not query.is_settled:
        return None, None
    if query.order is Order.KEY:
        return query.prefix or None, behind(query.prefix)
    span = query.size if query.order is Order.SIZE else query.created
    return span.least, None if span.most is None else span.most + 1


def behind(prefix: str) -> str | None:
    """Give the least text greater than all that begin with `prefix`, in the order of UTF-8; None: there is none."""
    rest = prefix.rstrip(_LAST)
    if not rest:
        return None
    last = ord(rest[-1]) + 1
    return rest[:-1] + ("\ue000" if last == 0xD800 else chr(last))  # no text has the halves between


def filters(query: Query, kind: str) -> list[Clause]:
    """Give what is asked of each object beyond where it stands in its order."""
    return [*_of_name(query, kind), *_of_rest(query), *(Clause(_METADATA[kind], pair) for pair in query.metadata)]


def _of_name(query: Query, kind: str) -> Iterator[Clause]:
    if not query.is_settled and query.namespace is not None:  # these are not kept by namespace
        yield Clause("namespace = ?", (query.namespace,))
    if query.prefix and (query.order is not Order.KEY or not query.is_settled):
        yield Clause("key >= ?", (query.prefix,))
        if (end := behind(query.prefix)) is not None:
            yield Clause("key < ?", (end,))
    if query.key_contains:
        yield Clause(_CONTAINS[kind], (query.key_contains,))


def _of_rest(query: Query) -> Iterator[Clause]:
    if query.content_type is not None:
        yield Clause("content_type = ?", (query.content_type,))
    if query.storage_class is not None:
        yield Clause("class = ?", (query.storage_class.value,))
    yield from _within("updated_at", query.updated)
    if query.order is not Order.SIZE or not query.is_settled:
        yield from _within("size", query.size)
    if query.order is not Order.CREATED or not query.is_settled:
        yield from _within("created_at", query.created)


def _within(column: str, span: Span) -> Iterator[Clause]:
    if span.least is not None:
        yield Clause(f"{column} >= ?", (span.least,))
    if span.most is not None:
        yield Clause(f"{column} <= ?", (span.most,))
