"""`POST /v1/objects/search`: a page of what fits a description."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from msgspec.json import Decoder

from stor.errors import BadRequest
from stor.objects.api.asking import LIMIT, asker, body, checked_limit, part_of_key, tenant
from stor.objects.api.listing import REFUSALS, Listed, answer, start_of
from stor.objects.core import Objects
from stor.objects.records import StorageClass
from stor.objects.rules import check_content_type, check_metadata, namespace_of
from stor.objects.searching import Order, Query, Span
from stor.web.answer import Answer
from stor.web.call import Call
from stor.web.routes import About, Media, Route

BODY_BYTES = 64 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST_BYTES = 2**63 - 2  # so that one more is still a number for the database


class Sizes(Struct, forbid_unknown_fields=True):
    """Bytes, from `min` to `max`, both included."""

    min: int | None = None
    max: int | None = None


class Times(Struct, forbid_unknown_fields=True):
    """Later than `after` and earlier than `before`; without an offset they are in UTC."""

    after: datetime | None = None
    before: datetime | None = None


class Wanted(Struct, forbid_unknown_fields=True):
    """The body: all of it may be left out, and all that is said must hold."""

    namespace: str | None = None
    tenant: str | None = None
    tenant_id: str | None = None
    key_contains: str = ""
    content_type: str | None = None
    storage_class: StorageClass | None = None
    size: Sizes | None = None
    created: Times | None = None
    updated: Times | None = None
    metadata: Mapping[str, str] | None = None
    sort: Order = Order.KEY
    descending: bool = False
    limit: int = LIMIT
    cursor: str | None = None


_decoder = Decoder(Wanted)


class SearchingApi:
    """One route."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def routes(self) -> Iterable[Route]:
        """Offer it."""
        yield Route("POST", "/v1/objects/search", self.search, "objects:read", sink=BODY_BYTES, about=_ABOUT)

    async def search(self, call: Call) -> Answer:
        """Show a page."""
        wanted = body(call, _decoder)
        query = _query(call, wanted)
        call.topic = query.namespace or ""
        start, most = start_of(query, wanted.cursor), checked_limit(wanted.limit)
        return await answer(self._objects, query, start, most, asker(call))


def _query(call: Call, wanted: Wanted) -> Query:
    if wanted.content_type is not None:
        check_content_type(wanted.content_type)
    metadata = wanted.metadata or {}
    check_metadata(metadata)
    return Query(
        tenant(call, _named(wanted)),
        None if wanted.namespace is None else namespace_of(wanted.namespace),
        wanted.sort,
        wanted.descending,
        key_contains=part_of_key("key_contains", wanted.key_contains),
        content_type=wanted.content_type,
        storage_class=wanted.storage_class,
        size=_sizes(wanted.size),
        created=_times(wanted.created),
        updated=_times(wanted.updated),
        metadata=tuple(sorted(metadata.items())),
    )


def _named(wanted: Wanted) -> str | None:
    named = {wanted.tenant, wanted.tenant_id} - {None}
    if len(named) > 1:
        raise BadRequest("tenant and tenant_id name different tenants")
    return next(iter(named), None)


def _sizes(said: Sizes | None) -> Span:
    if said is None:
        return Span()
    if any(size is not None and not 0 <= size <= _MOST_BYTES for size in (said.min, said.max)):
        raise BadRequest("sizes are numbers of bytes, from 0")
    return Span(said.min, said.max)


def _times(said: Times | None) -> Span:
    if said is None:
        return Span()
    after = None if said.after is None else _microseconds(said.after) + 1
    return Span(after, None if said.before is None else _microseconds(said.before) - 1)


def _microseconds(moment: datetime) -> int:
    """Count since 1970."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


_ABOUT = About(
    "Search objects",
    body=Media("What they must be like", schema=Wanted),
    answers={200: Media("A page of objects", schema=Listed), **REFUSALS},
)
