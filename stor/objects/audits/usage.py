"""Usage: what the counters say of a tenant's namespace is the sum of what is committed there."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from stor.database.promise import Transaction
from stor.objects.audits.inquiry import Check, Inquiry

_NEXT_COUNTED = (
    "SELECT tenant, namespace FROM object_usage WHERE (tenant, namespace) > (?, ?) ORDER BY tenant, namespace LIMIT 1"
)
_NEXT_COMMITTED = (
    "SELECT tenant, namespace FROM object WHERE state = 'COMMITTED' AND (tenant, namespace) > (?, ?)"
    " ORDER BY tenant, namespace LIMIT 1"
)
# How much the counters are too high. Every transaction that changes what is committed counts it too; so whatever goes
# on, in one state this is what some mistake has left behind, and it can be taken off at any later time.
_EXCESS = """SELECT class, SUM(bytes), SUM(objects) FROM (
SELECT class, bytes, objects FROM object_usage WHERE tenant = ? AND namespace = ?
UNION ALL SELECT class, -size, -1 FROM object WHERE tenant = ? AND namespace = ? AND state = 'COMMITTED'
) AS entries GROUP BY class HAVING SUM(bytes) <> 0 OR SUM(objects) <> 0 ORDER BY class"""
_TAKE_OFF = """INSERT INTO object_usage (tenant, namespace, class, shard, bytes, objects) VALUES (?, ?, ?, 0, ?, ?)
ON CONFLICT (tenant, namespace, class, shard) DO UPDATE SET bytes = object_usage.bytes + excluded.bytes,
objects = object_usage.objects + excluded.objects"""
_REPAIRS = "SELECT position FROM object_round WHERE name = 'usage-repairs'"
_FIRST = "INSERT INTO object_round (name, position, updated_at) VALUES ('usage-repairs', '0', 0) ON CONFLICT DO NOTHING"
_REPAIR = (
    "UPDATE object_round SET position = ?, updated_at = ? WHERE name = 'usage-repairs' AND position = ? RETURNING name"
)

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Excess:
    """Counters that are too high: (class, bytes, objects); and how many repairs there had been in that state."""

    entries: Sequence[tuple[str, int, int]]
    repairs: str


async def audit_usage(inquiry: Inquiry) -> None:
    """Sum up every namespace of every tenant; wrong counters are put right."""
    database = inquiry.objects.database
    after = ("", "")
    while place := await database.read(partial(_next, after=after)):
        excess = await database.survey(partial(_excess, place=place))
        while inquiry.repair and excess.entries:
            now = inquiry.objects.now()
            if await database.write(partial(_take_off, place=place, excess=excess, now=now)):
                break
            excess = await database.survey(partial(_excess, place=place))  # another fsck was faster, perhaps here
        for storage_class, size, objects in excess.entries:
            text = f"is counted too high by {size} bytes and {objects} objects"
            subject = f"{place[1]} of {place[0]}, {storage_class}"
            inquiry.note(Check.USAGE, subject, text, repaired=inquiry.repair)
        after = place


def _next(tx: Transaction, after: Place) -> Place | None:
    found = [*tx.execute(_NEXT_COUNTED, after), *tx.execute(_NEXT_COMMITTED, after)]
    return min(((tenant, namespace) for tenant, namespace in found), default=None)


def _excess(tx: Transaction, place: Place) -> Excess:
    entries = [(str(each), int(size), int(objects)) for each, size, objects in tx.execute(_EXCESS, (*place, *place))]
    repairs = tx.execute(_REPAIRS)
    return Excess(entries, repairs[0][0] if repairs else "0")


def _take_off(tx: Transaction, place: Place, excess: Excess, now: int) -> bool:
    """Take it off, unless another fsck has repaired something since it was measured: that could have been this."""
    tx.execute(_FIRST)
    if not tx.execute(_REPAIR, (str(int(excess.repairs) + 1), now, excess.repairs)):
        return False
    tx.many(_TAKE_OFF, [(*place, storage_class, -size, -objects) for storage_class, size, objects in excess.entries])
    return True
