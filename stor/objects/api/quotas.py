"""`/v1/quotas`: how much each tenant may have; said by administrators of all tenants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.json import Decoder

from stor.errors import Forbidden, Missing
from stor.objects import cursors, quotas
from stor.objects.api.asking import asker, body, limit
from stor.objects.api.listing import PAGES, REFUSALS
from stor.objects.api.places import check_own, whose
from stor.objects.api.shapes import Error
from stor.objects.core import Objects
from stor.objects.cursors import Position
from stor.objects.quotas import Quota
from stor.objects.records import Name
from stor.objects.rules import check_tenant
from stor.web.answer import Answer, json_answer
from stor.web.call import Call
from stor.web.routes import About, Media, Route

RULE = "/v1/quotas"
BODY_BYTES = 4096
Limit = Annotated[int, Meta(ge=0, le=2**63 - 1)] | None


class Wanted(Struct, forbid_unknown_fields=True):
    """The body of `PUT`; what is null or left out has no limit."""

    bytes: Limit = None
    objects: Limit = None


class Shown(Struct):
    """A tenant's quota."""

    tenant_id: str
    bytes: int | None
    objects: int | None


class Page(Struct):
    """Some quotas, by tenant."""

    quotas: list[Shown]
    next_cursor: str | None


_decoder = Decoder(Wanted)


class QuotasApi:
    """Four routes: a tenant sees its own quota, and only who is of no tenant changes one."""

    def __init__(self, objects: Objects) -> None:
        self._database = objects.database

    def routes(self) -> Iterable[Route]:
        """Offer them."""
        one = f"{RULE}/<path:tenant>"
        yield Route("GET", RULE, self.list, "objects:read", about=_LIST)
        yield Route("GET", one, self.show, "objects:read", about=_GET)
        yield Route("PUT", one, self.put, "admin", sink=BODY_BYTES, about=_PUT)
        yield Route("DELETE", one, self.remove, "admin", about=_DELETE)

    async def list(self, call: Call) -> Answer:
        """Show a page of quotas, to who is of one tenant its own."""
        tenant, most = whose(call), limit(call)
        if tenant is not None:
            found = await self._database.read(lambda tx: quotas.find(tx, tenant))
            return json_answer(Page([] if found is None else [_shown(found)], None))
        mark, cursor = cursors.mark_of(["quotas"]), call.query.get("cursor")
        after = "" if cursor is None else cursors.read(cursor, mark, str).tenant
        some = await self._database.browse(lambda tx: quotas.some(tx, after, most + 1), asker(call))
        return json_answer(_page(some, most, mark))

    async def show(self, call: Call, tenant: str) -> Answer:
        """Show one."""
        check_own(call, _name(tenant))
        found = await self._database.read(lambda tx: quotas.find(tx, tenant))
        if found is None:
            raise _missing()
        return json_answer(_shown(found))

    async def put(self, call: Call, tenant: str) -> Answer:
        """Set one."""
        _check_admin(call, tenant)
        wanted = body(call, _decoder)
        quota = Quota(tenant, wanted.bytes, wanted.objects)
        await self._database.write(lambda tx: quotas.put(tx, quota))
        return json_answer(_shown(quota))

    async def remove(self, call: Call, tenant: str) -> Answer:
        """Remove one."""
        _check_admin(call, tenant)
        if not await self._database.write(lambda tx: quotas.remove(tx, tenant)):
            raise _missing()
        return Answer(204)


def _name(tenant: str) -> Name:
    check_tenant(tenant)
    return Name("", tenant)


def _check_admin(call: Call, tenant: str) -> None:
    """An administrator of one tenant could otherwise give it what it likes."""
    check_own(call, _name(tenant))
    if call.principal is None or call.principal.tenant is not None:
        raise Forbidden("quotas are set by administrators of all tenants")


def _page(found: Sequence[Quota], limit: int, mark: str) -> Page:
    following = cursors.write(Position(found[limit - 1].tenant, ""), mark) if len(found) > limit else None
    return Page([_shown(each) for each in found[:limit]], following)


def _shown(found: Quota) -> Shown:
    return Shown(found.tenant, found.bytes, found.objects)


def _missing() -> Missing:
    return Missing("this tenant has no quota", code="QUOTA_NOT_FOUND")


_ABSENT: dict[int, str | Media] = {404: Media("The tenant has no quota", schema=Error)}
_LIST = About("List quotas", PAGES, answers={200: Media("A page of quotas", schema=Page), **REFUSALS})
_GET = About("Show a tenant's quota", answers={200: Media("The quota", schema=Shown), **_ABSENT, **REFUSALS})
_PUT = About(
    "Set a tenant's quota",
    body=Media("What it may have at most", schema=Wanted),
    answers={200: Media("The quota", schema=Shown), **REFUSALS},
)
_DELETE = About("Remove a tenant's quota", answers={204: "Removed", **_ABSENT, **REFUSALS})
