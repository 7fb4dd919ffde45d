"""What the collector does to rows, each a transaction: deletions are settled, idle blobs condemned, old rows forgotten.

Locks are taken on objects by id, then on blobs by id; rows that somebody else has locked are left to the next run.
"""

from collections import Counter
from collections.abc import Mapping

from stor.database.promise import Transaction
from stor.errors import Failed
from stor.objects.pace import timed
from stor.objects.records import StorageClass
from stor.objects.rows import DOOM, RELEASE, SKIP_LOCKED

# `state <> 'COMMITTED'` and `idle_since IS NOT NULL` are said so that SQLite may use the indexes that have them.
_DELETING = (
    "SELECT id, blob FROM object WHERE state = 'DELETING' AND state <> 'COMMITTED' AND updated_at <= ?"
    " ORDER BY updated_at, id LIMIT ?"
)
_SETTLE = "UPDATE object SET state = 'DELETED', blob = NULL, updated_at = ? WHERE id = ? AND state = 'DELETING'"
_IDLE = (
    "SELECT id, copy, class FROM object_blob WHERE idle_since IS NOT NULL AND idle_since <= ? AND refs = 0"
    " AND NOT EXISTS (SELECT 1 FROM object_hold WHERE until > ?) ORDER BY idle_since LIMIT ?"
)
_CONDEMN = "DELETE FROM object_blob WHERE id = ? AND refs = 0 AND idle_since <= ?"
_DELETED = (
    "SELECT id FROM object WHERE state = 'DELETED' AND state <> 'COMMITTED' AND updated_at <= ?"
    " ORDER BY updated_at, id LIMIT ?"
)
_FORGET = "DELETE FROM object WHERE id = ? AND state = 'DELETED'"


@timed
def settle(tx: Transaction, kind: str, until: int, now: int, most: int) -> int:
    """Take the references of objects that were deleted until then from their blobs; gives how many objects."""
    found = tx.execute(_DELETING + SKIP_LOCKED[kind], (until, most))
    _all(tx.many(_SETTLE, [(now, object_id) for object_id, _ in found]), len(found))
    counts = Counter(blob for _, blob in found if blob is not None)
    tx.many(RELEASE, [(counts[blob], counts[blob], now, blob) for blob in sorted(counts)])
    return len(found)


@timed
def condemn(tx: Transaction, kind: str, until: int, now: int, due: Mapping[StorageClass, int], most: int) -> int:
    """Remove blobs that have been idle since then or longer, and doom their copies; gives how many blobs.

    They are locked by the first statement, and the second looks again: an upload that attaches itself to such a blob
    comes before the lock, and then it is not idle, or after the removal, and then it makes a new one. None is condemned
    while there is a hold: who has put it there finds the bytes of all that its next transaction sees.
    """
    found = tx.execute(_IDLE + SKIP_LOCKED[kind], (until, now, most))
    _all(tx.many(_CONDEMN, [(blob, until) for blob, _, _ in sorted(found)]), len(found))
    tx.many(DOOM, [(copy, each, due[StorageClass(each)]) for _, copy, each in found if copy is not None])
    return len(found)


@timed
def forget(tx: Transaction, kind: str, until: int, most: int) -> int:
    """Remove the rows of objects that have been DELETED since then or longer; gives how many."""
    found = tx.execute(_DELETED + SKIP_LOCKED[kind], (until, most))
    _all(tx.many(_FORGET, found), len(found))
    return len(found)


def _all(changed: int, wanted: int) -> None:
    """See that what we have locked was ours to change; else nothing of the transaction is kept."""
    if changed != wanted:
        raise Failed(f"{wanted} rows were locked, and {changed} of them changed")
