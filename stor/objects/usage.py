"""How much each tenant has, counted in the transaction that changes it, and what it may have at most.

Where several connections write, each counts in a row of its own (`shard`), so that they need not wait for each other;
what a tenant has is the sum. Only who has a quota pays for it: its writers come one after the other. What resumable
uploads have, and are to have, counts for all but themselves: they get what they were promised.
"""

from collections.abc import Sequence

from stor.database.promise import Row, Transaction
from stor.errors import Full, TooLarge
from stor.objects.records import Name, StorageClass
from stor.objects.rows import SKIP_LOCKED

_SHARD = {"sqlite": "0", "postgresql": "pg_backend_pid() % 16"}
_COUNT = """INSERT INTO object_usage (tenant, namespace, class, shard, bytes, objects) VALUES (?, ?, ?, {shard}, ?, ?)
ON CONFLICT (tenant, namespace, class, shard) DO UPDATE SET bytes = object_usage.bytes + excluded.bytes,
objects = object_usage.objects + excluded.objects
RETURNING EXISTS (SELECT 1 FROM object_quota WHERE object_quota.tenant = object_usage.tenant)"""
_COUNT_IN = {kind: _COUNT.format(shard=shard) for kind, shard in _SHARD.items()}
_LIMITS = "SELECT bytes, objects FROM object_quota WHERE tenant = ?"
_LOCKED_LIMITS = {"sqlite": _LIMITS, "postgresql": f"{_LIMITS} FOR UPDATE"}
# Said so that the index of what is not COMMITTED is used.
_COMING = """SELECT SUM(size), COUNT(*) FROM object WHERE state = 'WRITING' AND state <> 'COMMITTED' AND tenant = ?
AND id NOT IN (SELECT attempt FROM object_upload WHERE tenant = ? AND state <> 'DONE' AND attempt IS NOT NULL)"""
# Of those that failed there are only parts; an upload of unknown length has what came.
_UNFINISHED = """SELECT SUM(CASE WHEN state = 'OPEN' THEN COALESCE(length, received) ELSE received END),
SUM(CASE WHEN state = 'OPEN' THEN 1 ELSE 0 END) FROM object_upload WHERE tenant = ? AND state <> 'DONE'"""
_USED = "SELECT SUM(bytes), SUM(objects) FROM object_usage WHERE tenant = ?"
_EMPTY = """SELECT tenant, namespace, class FROM object_usage GROUP BY tenant, namespace, class
HAVING SUM(bytes) = 0 AND SUM(objects) = 0 LIMIT ?"""
_SHARDS = "SELECT shard, bytes, objects FROM object_usage WHERE tenant = ? AND namespace = ? AND class = ?"
_REMOVE = "DELETE FROM object_usage WHERE tenant = ? AND namespace = ? AND class = ? AND shard = ?"


def count_usage(
    tx: Transaction, kind: str, name: Name, storage_class: StorageClass, size: int, objects: int, upload: str = ""
) -> None:
    """Count what the tenant has up or down; where it grows beyond the tenant's quota, Full or TooLarge.

    TooLarge when it could not be kept even if the tenant had nothing else. For a replaced object count the
    difference. What unfinished uploads are to have is not there for others, only for what is an `upload` itself.
    Best called last in a transaction: others of a tenant with a quota wait for its end.
    """
    if _counted(tx, kind, name, storage_class, size, objects) and (size > 0 or objects > 0):
        limits = _held_limits(tx, kind, name.tenant)
        if limits is not None:
            used, number = _sums(tx, _USED, name.tenant)
            bytes_, objects_ = (0, 0) if upload else _sums(tx, _UNFINISHED, name.tenant)
            _judge(limits, (used + bytes_ - size, number + objects_ - objects), (size, objects))


def move_usage(tx: Transaction, kind: str, name: Name, target: StorageClass, size: int) -> None:
    """Count one object of another class to class `target`; a quota has no say in it, the sum is the same."""
    for storage_class in StorageClass:  # everybody in one order, so that nobody waits for each other
        sign = 1 if storage_class is target else -1
        _counted(tx, kind, name, storage_class, sign * size, sign)


def check_room(tx: Transaction, tenant: str, size: int, objects: int = 1) -> None:
    """Raise now what `count_usage` would raise for so much more; makes nobody wait, keeps no room.

    What is on its way counts as if it were here already.
    """
    for limits in tx.execute(_LIMITS, (tenant,)):
        _judge(limits, _used_soon(tx, tenant), (size, objects))


def hold_room(tx: Transaction, kind: str, tenant: str) -> None:
    """Have nobody else count beside us to the end of the transaction, where the tenant has a quota.

    So what `check_room` has seen still holds when something that counts is written.
    """
    _held_limits(tx, kind, tenant)


def room(tx: Transaction, tenant: str) -> int | None:
    """Give how many bytes more a tenant may have, with what is on its way; None without a quota of bytes."""
    for most, _ in tx.execute(_LIMITS, (tenant,)):
        return None if most is None else max(0, int(most) - _used_soon(tx, tenant)[0])
    return None


def _used_soon(tx: Transaction, tenant: str) -> tuple[int, int]:
    sums = _sums(tx, _USED, tenant), _sums(tx, _COMING, tenant, tenant), _sums(tx, _UNFINISHED, tenant)
    return sum(each[0] for each in sums), sum(each[1] for each in sums)


def _sums(tx: Transaction, sql: str, *parameters: str) -> tuple[int, int]:
    ((size, objects),) = tx.execute(sql, parameters)
    return int(size or 0), int(objects or 0)


def empty(tx: Transaction, limit: int) -> Sequence[Row]:
    """Name at most `limit` tenants, namespaces and classes that are counted, and of which there is nothing."""
    return tx.execute(_EMPTY, (limit,))


def forget(tx: Transaction, kind: str, names: Sequence[Row]) -> None:
    """Remove the counts of those that `empty` named, where there still is nothing; waits for nobody.

    Rows whose sum is nothing can go, whoever counts in another one meanwhile: all sums stay as they are.
    """
    for each in names:
        shards = tx.execute(_SHARDS + SKIP_LOCKED[kind], each)
        if sum(row[1] for row in shards) == sum(row[2] for row in shards) == 0:
            tx.many(_REMOVE, [(*each, shard) for shard, *_ in shards])


def _counted(tx: Transaction, kind: str, name: Name, storage_class: StorageClass, size: int, objects: int) -> bool:
    """Count, and tell whether the tenant has a quota."""
    row = (name.tenant, name.namespace, storage_class.value, size, objects)
    ((is_limited,),) = tx.execute(_COUNT_IN[kind], row)
    return bool(is_limited)


def _held_limits(tx: Transaction, kind: str, tenant: str) -> Row | None:
    """Whoever holds the row of the quota sees all that was counted before, and nobody counts beside it."""
    found = tx.execute(_LOCKED_LIMITS[kind], (tenant,))
    return found[0] if found else None


def _judge(limits: Row, used: tuple[int, int], asked: tuple[int, int]) -> None:
    for sort, limit, there, more in zip(("bytes", "objects"), limits, used, asked, strict=True):
        if limit is None or more <= 0 or there + more <= limit:
            continue
        context = {"quota": sort, "limit": str(limit), "used": str(there), "asked": str(more)}
        if more > limit:
            raise TooLarge(f"more {sort} than the tenant's whole quota", code="QUOTA_EXCEEDED", context=context)
        raise Full(f"the tenant's quota of {sort} is used up", code="QUOTA_EXCEEDED", context=context)
