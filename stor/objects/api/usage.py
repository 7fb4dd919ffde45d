"""`GET /v1/usage`: what tenants have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import UNSET, Struct, UnsetType
from twisted.internet.interfaces import IReactorTime

from stor.database.promise import Transaction
from stor.objects import cursors
from stor.objects.api.asking import asker, limit
from stor.objects.api.listing import PAGES, REFUSALS, TENANT
from stor.objects.api.places import whose
from stor.objects.core import Objects
from stor.objects.cursors import Position
from stor.objects.quotas import Quota, find
from stor.objects.records import StorageClass
from stor.objects.tally import Amount, Stored, Tally, tallies, total
from stor.web.answer import Answer, json_answer
from stor.web.call import Call
from stor.web.routes import About, Media, Route


class Room(Struct):
    """How much there is; for the quota how much there may be, null: no limit."""

    bytes: int | None
    objects: int | None


class Blobs(Struct):
    """What is stored in one class, equal bytes once."""

    bytes: int
    blobs: int


class InNamespace(Struct):
    """What a tenant has in one namespace."""

    tenant_id: str
    namespace: str
    bytes: int
    objects: int
    classes: Mapping[str, Room]


class Used(Struct):
    """The answer: of one tenant with its quota; or of all of them (`tenant_id` null), with what is `stored`."""

    tenant_id: str | None
    bytes: int
    objects: int
    quota: Room | None
    namespaces: list[InNamespace]
    next_cursor: str | None
    stored: Mapping[str, Blobs] | UnsetType = UNSET


class UsageApi:
    """One route."""

    def __init__(self, objects: Objects, clock: IReactorTime) -> None:
        self._objects, self._stored = objects, Stored(objects.database, clock)

    def routes(self) -> Iterable[Route]:
        """Offer it."""
        yield Route("GET", "/v1/usage", self.show, "objects:read", about=_ABOUT)

    async def show(self, call: Call) -> Answer:
        """Show a page of namespaces, and the sum of all."""
        tenant, most = whose(call), limit(call)
        mark = cursors.mark_of(["usage", tenant])
        cursor = call.query.get("cursor")
        start = Position("", "") if cursor is None else cursors.read(cursor, mark, str)
        used = await self._objects.database.browse(lambda tx: _used(tx, tenant, start, most, mark), asker(call))
        if tenant is None:
            amounts = await self._stored.amounts()
            used.stored = {each.value: Blobs(found.bytes, found.objects) for each, found in amounts.items()}
        return json_answer(used)


def _used(tx: Transaction, tenant: str | None, start: Position, limit: int, mark: str) -> Used:
    found = tallies(tx, tenant, (start.tenant, start.namespace), limit + 1)
    sum_of_all, quota = total(tx, tenant), None if tenant is None else find(tx, tenant)
    return Used(
        tenant,
        sum_of_all.bytes,
        sum_of_all.objects,
        room(quota),
        [_in_namespace(each) for each in found[:limit]],
        _cursor(found, limit, mark),
    )


def room(found: Amount | Quota | None) -> Room | None:
    """Show an amount or a limit."""
    return None if found is None else Room(found.bytes, found.objects)


def _cursor(found: Sequence[Tally], limit: int, mark: str) -> str | None:
    if len(found) <= limit:
        return None
    last = found[limit - 1]
    return cursors.write(Position(last.tenant, last.namespace), mark)


def _in_namespace(found: Tally) -> InNamespace:
    classes = {each.value: found.amounts.get(each, Amount()) for each in StorageClass}
    shown = {name: Room(amount.bytes, amount.objects) for name, amount in classes.items()}
    return InNamespace(found.tenant, found.namespace, found.total.bytes, found.total.objects, shown)


_ABOUT = About(
    "Count what a tenant has, by namespace and class",
    (TENANT, *PAGES),
    answers={200: Media("What there is", schema=Used), **REFUSALS},
)
