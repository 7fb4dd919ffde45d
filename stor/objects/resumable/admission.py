"""Whether an upload may begin: what is certain to be refused at its end is refused before its first byte."""

from __future__ import annotations

from stor.database.promise import Transaction
from stor.errors import Full, TooMany
from stor.objects import commits
from stor.objects.commits import Moment
from stor.objects.resumable.records import Plan, Upload, Wanted
from stor.objects.usage import check_room, hold_room, room

RETRY_SECONDS = 60.0
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(?, 7))"  # SQLite has one writer at a time
_OPEN = "SELECT COUNT(*) FROM object_upload WHERE tenant = ? AND state <> 'DONE' AND state = 'OPEN'"


def admit(tx: Transaction, at: Moment, plan: Plan, most: int, here: int) -> int | None:
    """Raise what forbids an upload: its key (as `commits.foresee`), too many that are not finished, or the quota.

    At most `most` of one tenant; what they announced counts as used (Full, TooLarge: QUOTA_EXCEEDED), and so do the
    parts that are kept of those that failed. `here` bytes come with it. Gives how many may come, where nobody has said
    the length and there is a quota.
    """
    tenant = plan.draft.name.tenant
    if at.kind == "postgresql":
        tx.execute(_LOCK, (tenant,))  # so that the next one counts this one
    ((unfinished,),) = tx.execute(_OPEN, (tenant,))
    if unfinished >= most:
        raise TooMany(f"at most {most} unfinished uploads of a tenant: finish or delete some", RETRY_SECONDS)
    owner = commits.foresee(tx, at, plan.draft, plan.length)
    replaced = owner if plan.draft.wish.match is not None else None
    size, freed = here if plan.length is None else plan.length, 0 if replaced is None else replaced.size
    hold_room(tx, at.kind, tenant)
    check_room(tx, tenant, size - freed, int(replaced is None))
    return room(tx, tenant) if plan.length is None else None


def hold_growth(tx: Transaction, at: Moment, upload: Upload) -> None:
    """Have nobody take the room of which an upload of unknown length may want more; before its row is locked."""
    if upload.length is None:
        hold_room(tx, at.kind, upload.draft.name.tenant)


def check_growth(tx: Transaction, upload: Upload, wanted: Wanted) -> int | None:
    """Raise Full or TooLarge (QUOTA_EXCEEDED) where a piece, or a length that is said now, goes beyond the quota.

    Gives how many bytes may come, where nobody has said the length and there is a quota.
    """
    if upload.length is not None:
        return None
    tenant, size = upload.draft.name.tenant, wanted.announced or 0
    if wanted.length is not None:
        size = wanted.length - upload.received
    check_room(tx, tenant, size, 0)
    return room(tx, tenant) if wanted.length is None else None


def used_up(left: int) -> Full:
    """Give the error for more bytes than the quota had room for."""
    context = {"quota": "bytes", "room": str(left)}
    return Full("the tenant's quota of bytes is used up", code="QUOTA_EXCEEDED", context=context)
