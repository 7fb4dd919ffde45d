"""`GET /v1/objects`: pages, or all as lines."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import TypeVar

from msgspec import Struct, json

from stor.database.promise import Asker, Transaction
from stor.errors import BadRequest
from stor.objects import cursors
from stor.objects.api.asking import asker, limit, namespace, part_of_key
from stor.objects.api.places import whose
from stor.objects.api.shapes import Error, Shown, shown
from stor.objects.core import Objects
from stor.objects.cursors import Position
from stor.objects.listing import MOST, Page, page
from stor.objects.records import State
from stor.objects.rules import check_content_type
from stor.objects.searching import Order, Query
from stor.web.answer import JSON_HEADERS, Answer
from stor.web.call import Call
from stor.web.routes import About, Media, Parameter, Route

E = TypeVar("E", Order, State)

NDJSON = "application/x-ndjson"
_PIECE_BYTES = 1 << 17  # of one read, roughly: what is kept for each reader that stands still
_MOST_BYTES = 1 << 20  # that a stream gives at once
_HEADERS = ((b"content-type", NDJSON.encode()), (b"cache-control", b"no-store"))


class Listed(Struct):
    """A page; `common_prefixes` stand for the objects whose keys begin with them. No `next_cursor`: that was all."""

    objects: list[Shown]
    common_prefixes: list[str]
    next_cursor: str | None


class Group(Struct):
    """A line for objects whose keys begin alike."""

    common_prefix: str


class ListingApi:
    """One route."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def routes(self) -> Iterable[Route]:
        """Offer it."""
        yield Route("GET", "/v1/objects", self.list, "objects:read", about=_ABOUT)

    async def list(self, call: Call) -> Answer:
        """Show a page, or stream all from the cursor on."""
        query = _query(call)
        call.topic = query.namespace or ""
        start = start_of(query, call.query.get("cursor"))
        if _wants_lines(call):
            lines = Lines(self._objects, query, start)
            await lines.begin(asker(call))
            return Answer(200, _HEADERS, lines)
        return await answer(self._objects, query, start, limit(call), asker(call))


def start_of(query: Query, cursor: str | None) -> Position | None:
    """Read the cursor of a query; BadRequest when it was not given for it."""
    return None if cursor is None else cursors.read(cursor, cursors.mark_of(query), query.value_kind)


async def answer(objects: Objects, query: Query, start: Position | None, limit: int, asker: Asker) -> Answer:
    """Read a page and answer with it; written as JSON where it was read, not on the reactor."""

    def work(tx: Transaction) -> bytes:
        found = page(tx, objects.kind, query, start, limit)
        following = None if found.next is None else cursors.write(found.next, cursors.mark_of(query))
        prefixes = list(dict.fromkeys(found.prefixes))
        return json.encode(Listed([shown(each) for each in found.objects], prefixes, following))

    return Answer(200, JSON_HEADERS, await objects.database.browse(work, asker))


class Lines:
    """All objects from a position on, one in a line; each piece is read, and written as JSON, when it is asked for."""

    length: int | None = None

    def __init__(self, objects: Objects, query: Query, start: Position | None) -> None:
        self._objects, self._query, self._position = objects, query, start
        self._asker = Asker()
        self._is_over = False
        self._rest = b""

    async def begin(self, asker: Asker) -> None:
        """Read the first lines, while it is not too late for an answer that says why they cannot be had."""
        await self._fill(asker)
        self._asker = asker._replace(patience=inf)  # who was let in is not put out

    async def read(self) -> bytes:
        """Give some lines, or a part of them."""
        await self._fill(self._asker)
        piece, self._rest = self._rest[:_MOST_BYTES], self._rest[_MOST_BYTES:]
        return piece

    def close(self) -> None:
        """Read no more."""
        self._is_over, self._rest = True, b""

    async def _fill(self, asker: Asker) -> None:
        while not self._rest and not self._is_over:
            self._rest, self._position = await self._objects.database.browse(self._piece, asker)
            self._is_over = self._is_over or self._position is None

    def _piece(self, tx: Transaction) -> tuple[bytes, Position | None]:
        found = page(tx, self._objects.kind, self._query, self._position, MOST, _PIECE_BYTES)
        return _written(found), found.next


def _written(found: Page) -> bytes:
    lines: list[Shown | Group] = [shown(each) for each in found.objects]
    lines += map(Group, found.prefixes)
    return json.Encoder().encode_lines(lines)


def _query(call: Call) -> Query:
    fields = call.query
    query = Query(
        whose(call),
        namespace(call),
        _choice(Order, "order", fields.get("order", Order.KEY.value)),
        state=_choice(State, "status", fields.get("status", State.COMMITTED.value)),
        prefix=part_of_key("prefix", fields.get("prefix", "")),
        delimiter=part_of_key("delimiter", fields.get("delimiter", "")),
        content_type=fields.get("content_type"),
    )
    if query.content_type is not None:
        check_content_type(query.content_type)
    if query.delimiter and (query.order is not Order.KEY or not query.is_settled):
        raise BadRequest("a delimiter goes with order=key and status=COMMITTED")
    if "order" in fields and not query.is_settled:
        raise BadRequest("an order goes with status=COMMITTED; others come by the time of their last change")
    return query


def _choice(kind: type[E], name: str, said: str) -> E:
    try:
        return kind(said)
    except ValueError:
        raise BadRequest(f"{name} is one of {', '.join(kind)}") from None


def _wants_lines(call: Call) -> bool:
    said = call.query.get("format")
    if said not in {None, "json", "ndjson"}:
        raise BadRequest("format is json or ndjson")
    if said is not None:
        return said == "ndjson"
    kinds = (call.header("accept") or "").lower().split(",")
    return NDJSON in {kind.partition(";")[0].strip() for kind in kinds}


REFUSALS: dict[int, str | Media] = {
    400: Media("A field or a cursor that makes no sense", schema=Error),
    401: Media("No credential, or a refused one", schema=Error),
    403: Media("Not with this credential, or not for this tenant", schema=Error),
    429: Media("Too often, or too many at once", schema=Error),
    503: Media("The database is away", schema=Error),
}
PAGES = (
    Parameter("limit", "query", "1 to 1000, by default 50"),
    Parameter("cursor", "query", "The `next_cursor` of the page before"),
)
TENANT = Parameter("tenant", "query", "Whose, for a credential of all tenants; left out, everybody's")
_ABOUT = About(
    "List objects",
    (
        TENANT,
        Parameter("namespace", "query", "Left out, all of them"),
        Parameter("prefix", "query", "What their keys begin with"),
        Parameter("delimiter", "query", "Fold keys that go on behind it into `common_prefixes`"),
        Parameter("status", "query", "COMMITTED (by default), WRITING, DELETING or DELETED"),
        Parameter("content_type", "query", "Exactly this one"),
        Parameter("order", "query", "key (by default), created_at or size"),
        Parameter("format", "query", "ndjson: all of them, one in a line; as Accept: application/x-ndjson"),
        *PAGES,
    ),
    answers={200: Media("A page of objects", schema=Listed), **REFUSALS},
)
