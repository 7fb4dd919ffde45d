"""Who a caller is, what they may do, and what they may give to others."""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from stor.errors import BadRequest, Forbidden

PERMISSIONS = frozenset(
    {
        "objects:read",
        "objects:write",
        "objects:delete",
        "blobs:read",
        "blobs:write",
        "catalog:read",
        "catalog:write",
        "volume:read",
        "volume:write",
        "volume:format",
        "keys:manage",
        "admin",
    }
)
EVERYTHING = frozenset({"admin"})
TENANT_CHARACTERS = 128
NOBODYS = ""  # what belongs to no tenant in particular
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # controls, line ends, half characters
_INCLUDED_IN = {"volume:format": "volume:write"}


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody we know by `name`, what they may do, and the only `tenant` they may do it in.

    None: in all of them, and in what is NOBODYS; NOBODYS: only there.
    """

    name: str
    permissions: frozenset[str]
    tenant: str | None = None

    def may(self, permission: str) -> bool:
        """Tell whether this permission was given, by itself or with a greater one; `admin` has them all."""
        held = self.permissions
        return permission in held or "admin" in held or _INCLUDED_IN.get(permission) in held

    def reaches(self, tenant: str | None) -> bool:
        """Tell whether what belongs to `tenant` (None: to all of them) is within reach."""
        return self.tenant is None or self.tenant == tenant


def check_grant(giver: Principal, permissions: AbstractSet[str], tenant: str | None) -> None:
    """Raise Forbidden when this is more than `giver` holds, or lies outside the giver's tenant.

    An administrator of one tenant stays in it: otherwise the tenant would confine nobody who can make keys.
    """
    if not giver.reaches(tenant):
        raise Forbidden("a key can only be made for one's own tenant")
    if missing := beyond(giver, permissions):
        raise Forbidden(f"a key cannot be given what its creator does not hold: {', '.join(missing)}")


def beyond(giver: Principal, permissions: AbstractSet[str]) -> list[str]:
    """Name those of `permissions` that `giver` does not hold."""
    return sorted(permission for permission in permissions if not giver.may(permission))


def check_permissions(permissions: AbstractSet[str]) -> None:
    """Raise BadRequest for words that are no permissions, and for none at all."""
    if unknown := sorted(permissions - PERMISSIONS):
        raise BadRequest(f"no such permission: {unknown[0][:64]}; there are {', '.join(sorted(PERMISSIONS))}")
    if not permissions:
        raise BadRequest("at least one permission is needed")


def is_tenant(text: object) -> bool:
    """Tell whether this names a tenant: 1 to 128 characters, none of them a control character."""
    return isinstance(text, str) and is_plain(text, TENANT_CHARACTERS)


def is_plain(text: str, most: int) -> bool:
    """Tell whether a text is one line of 1 to `most` characters that can be logged and stored as UTF-8."""
    return 0 < len(text) <= most and not _UNFIT.search(text)
