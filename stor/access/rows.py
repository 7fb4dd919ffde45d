"""API keys as rows: every statement about them, each to be run in a transaction."""

from collections.abc import Iterable

from stor.access.key import Key
from stor.database.promise import Row, Transaction

_COLUMNS = (
    "id, digest, name, tenant, permissions, created_by, created_at, expires_at, last_used_at, revoked_at, revision"
)
_LIVE = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)"
BATCH = 1000


def insert(transaction: Transaction, key: Key) -> None:
    """Add a key; its id must be new."""
    transaction.execute(
        f"INSERT INTO api_keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
        (
            key.id,
            key.digest,
            key.name,
            key.tenant,
            " ".join(sorted(key.permissions)),
            key.created_by,
            key.created_at,
            key.expires_at,
            key.last_used_at,
            key.revoked_at,
            _next_revision(transaction),
        ),
    )


def revoke(transaction: Transaction, key_id: str, now: int) -> None:
    """Revoke a key that is not revoked yet."""
    transaction.execute(
        "UPDATE api_keys SET revoked_at = ?, revision = ? WHERE id = ? AND revoked_at IS NULL",
        (now, _next_revision(transaction), key_id),
    )


def used(transaction: Transaction, times: Iterable[tuple[str, int]]) -> None:
    """Note when keys were used last; what another process has noted later stays."""
    transaction.many(
        "UPDATE api_keys SET last_used_at = ? WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)",
        [(time, key_id, time) for key_id, time in times],
    )


def count_live(transaction: Transaction, now: int) -> int:
    """Give how many keys could be used now."""
    rows = transaction.execute(f"SELECT count(*) FROM api_keys WHERE {_LIVE}", (now,))  # noqa: S608 - a constant
    return int(rows[0][0])


def get(transaction: Transaction, key_id: str) -> Key | None:
    """Give one key, revoked or not."""
    rows = transaction.execute(f"SELECT {_COLUMNS} FROM api_keys WHERE id = ?", (key_id,))  # noqa: S608 - a constant
    return _key(rows[0]) if rows else None


def page(transaction: Transaction, tenant: str | None, after: tuple[int, str], limit: int) -> list[Key]:
    """Give keys in the order of their creation, those of one tenant (None: all) beyond (created_at, id)."""
    rows = transaction.execute(
        f"SELECT {_COLUMNS} FROM api_keys WHERE (created_at, id) > (?, ?)"  # noqa: S608 - constants
        + ("" if tenant is None else " AND tenant = ?")
        + " ORDER BY created_at, id LIMIT ?",
        (*after, *([] if tenant is None else [tenant]), limit),
    )
    return [_key(row) for row in rows]


def revision(transaction: Transaction) -> int:
    """Give the number of the last change."""
    return int(transaction.execute("SELECT revision FROM api_keys_revision")[0][0])


def live(transaction: Transaction, now: int) -> list[Key]:
    """Give all keys that could be used now."""
    rows = transaction.execute(f"SELECT {_COLUMNS} FROM api_keys WHERE {_LIVE}", (now,))  # noqa: S608 - constants
    return [_key(row) for row in rows]


def changed(transaction: Transaction, since: int) -> tuple[list[Key], int]:
    """Give the next keys that changed after revision `since`, a batch at most, and the revision reached."""
    rows = transaction.execute(
        f"SELECT {_COLUMNS} FROM api_keys WHERE revision > ? ORDER BY revision LIMIT ?",  # noqa: S608 - a constant
        (since, BATCH),
    )
    return [_key(row) for row in rows], rows[-1][-1] if rows else since


def _next_revision(transaction: Transaction) -> int:
    rows = transaction.execute("UPDATE api_keys_revision SET revision = revision + 1 RETURNING revision")
    return int(rows[0][0])


def _key(row: Row) -> Key:
    key_id, digest, name, tenant, permissions, *rest, _ = row
    return Key(key_id, digest, name, tenant, frozenset(permissions.split()), *rest)
