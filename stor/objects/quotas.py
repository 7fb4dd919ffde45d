"""How much each tenant may have at most; `usage` keeps to it."""

from dataclasses import dataclass

from stor.database.promise import Transaction

_SET = """INSERT INTO object_quota (tenant, bytes, objects) VALUES (?, ?, ?)
ON CONFLICT (tenant) DO UPDATE SET bytes = excluded.bytes, objects = excluded.objects"""
_GET = "SELECT tenant, bytes, objects FROM object_quota WHERE tenant = ?"
_SOME = "SELECT tenant, bytes, objects FROM object_quota WHERE tenant > ? ORDER BY tenant LIMIT ?"
_REMOVE = "DELETE FROM object_quota WHERE tenant = ? RETURNING tenant"


@dataclass(frozen=True, slots=True)
class Quota:
    """What a tenant's objects may be at most, in bytes as the tenant sees them and in number; None: no limit."""

    tenant: str
    bytes: int | None
    objects: int | None


def put(tx: Transaction, quota: Quota) -> None:
    """Limit a tenant from now on; one who has more keeps it, and can add nothing.

    Uploads whose last transaction is under way just now may not know of it yet.
    """
    tx.execute(_SET, (quota.tenant, quota.bytes, quota.objects))


def find(tx: Transaction, tenant: str) -> Quota | None:
    """Give a tenant's quota, None when it has none."""
    rows = tx.execute(_GET, (tenant,))
    return Quota(*rows[0]) if rows else None


def some(tx: Transaction, after: str, limit: int) -> list[Quota]:
    """Give the next quotas beyond the tenant `after`, by tenant."""
    return [Quota(*row) for row in tx.execute(_SOME, (after, limit))]


def remove(tx: Transaction, tenant: str) -> bool:
    """Limit a tenant no more; False when it was not."""
    return bool(tx.execute(_REMOVE, (tenant,)))
