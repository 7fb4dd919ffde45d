"""Rows of blobs: `refs` are counted, who has none is idle, and bytes are in one place."""

from dataclasses import dataclass
from functools import partial

from stor.database.promise import Transaction
from stor.objects.audits.inquiry import Check, Inquiry
from stor.objects.rows import FOR_UPDATE

_PAGE = 500
_COUNT = (
    "SELECT COUNT(*) FROM object WHERE object.blob = {blob} AND object.blob IS NOT NULL"
    " AND object.state IN ('COMMITTED', 'DELETING')"
)
# Whoever changes an object and the count does both in one transaction, so in one state both are right or wrong.
_BLOBS = f"""SELECT page.id, page.digest, page.refs, page.idle, page.places, page.damage,
({_COUNT.format(blob="page.id")}) FROM (SELECT id, digest, refs, damage,
CASE WHEN idle_since IS NULL THEN 0 ELSE 1 END AS idle,
CASE WHEN copy IS NULL THEN 0 ELSE 1 END + CASE WHEN data IS NULL THEN 0 ELSE 1 END AS places
FROM object_blob WHERE id > ? ORDER BY id LIMIT ?) AS page ORDER BY page.id"""
_LOCK = "SELECT id FROM object_blob WHERE id = ?"
_RECOUNT = f"UPDATE object_blob SET refs = ({_COUNT.format(blob='object_blob.id')}) WHERE id = ?"
_IDLE = "UPDATE object_blob SET idle_since = CASE WHEN refs > 0 THEN NULL ELSE COALESCE(idle_since, ?) END WHERE id = ?"


@dataclass(frozen=True, slots=True)
class _Blob:
    id: int
    digest: bytes
    refs: int
    idle: int
    places: int
    damage: str | None
    objects: int


async def audit_references(inquiry: Inquiry) -> None:
    """Count the references of every blob; a wrong count is put right."""
    after = 0
    while page := await inquiry.objects.database.read(partial(_page, after=after)):
        for blob in page:
            await _look(inquiry, blob)
        after = page[-1].id


async def _look(inquiry: Inquiry, blob: _Blob) -> None:
    subject = f"sha256:{blob.digest.hex()} (blob {blob.id})"
    if blob.refs != blob.objects or (blob.refs == 0) != bool(blob.idle):
        if inquiry.repair:
            objects = inquiry.objects
            await objects.database.write(partial(_recount, kind=objects.kind, blob_id=blob.id, now=objects.now()))
        since = "since some time" if blob.idle else "not"
        text = f"counts {blob.refs} references and is {since} idle; {blob.objects} objects refer to it"
        inquiry.note(Check.REFERENCES, subject, text, repaired=inquiry.repair)
    if blob.damage is not None:
        inquiry.note(Check.BYTES, subject, f"is known to be damaged: {blob.damage}")
    elif blob.places != 1:
        inquiry.note(Check.BYTES, subject, f"has its bytes in {blob.places} places")


def _page(tx: Transaction, after: int) -> list[_Blob]:
    return [_Blob(*row) for row in tx.execute(_BLOBS, (after, _PAGE))]


def _recount(tx: Transaction, kind: str, blob_id: int, now: int) -> None:
    """Whoever has changed the count waits for its end before our lock, and whoever is about to waits for ours.

    So the second statement counts just those objects that have been counted, or should have been.
    """
    tx.execute(_LOCK + FOR_UPDATE[kind], (blob_id,))
    tx.execute(_RECOUNT, (blob_id,))
    tx.execute(_IDLE, (now, blob_id))
