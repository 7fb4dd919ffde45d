"""Uploads that will never end: those of a process that died, and those that nobody has heard of for long."""

from functools import partial

from stor.database.promise import Transaction
from stor.objects import rows
from stor.objects.core import Objects
from stor.objects.pace import timed
from stor.objects.rows import FOR_UPDATE, SKIP_LOCKED

_MOST = 500
_QUIET = (
    "SELECT id FROM object WHERE state = 'WRITING' AND state <> 'COMMITTED' AND updated_at <= ?"
    " ORDER BY updated_at, id LIMIT ?"
)
_LEFT = "SELECT id FROM object WHERE state = 'WRITING' AND state <> 'COMMITTED' AND node = ? ORDER BY id LIMIT ?"


@timed
def expire(tx: Transaction, kind: str, until: int, now: int, most: int) -> int:
    """Give up uploads that have not said since then that they are under way; gives how many.

    Should one of them wake up: it cannot commit without its row, and what it puts into the store is swept away.
    """
    found = tx.execute(_QUIET + SKIP_LOCKED[kind], (until, most))
    for (object_id,) in found:
        rows.give_up(tx, object_id, now)
    return len(found)


async def abandon(objects: Objects) -> int:
    """Give up what this node has left WRITING, at its start, before it takes work; gives how many uploads."""
    done = 0
    while True:
        count = await objects.database.write(partial(_leave, objects=objects))
        done += count
        if count < _MOST:
            return done


def _leave(tx: Transaction, objects: Objects) -> int:
    found = tx.execute(_LEFT + FOR_UPDATE[objects.kind], (objects.node, _MOST))
    for (object_id,) in found:
        rows.give_up(tx, object_id, objects.now())
    return len(found)
