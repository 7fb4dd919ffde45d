"""Uploads and their parts as rows: each function runs in a transaction of its caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from msgspec import json

from stor.database.promise import Row, Transaction
from stor.errors import StorError
from stor.objects.commits import Moment
from stor.objects.records import Draft, StorageClass
from stor.objects.resumable.admission import check_growth, hold_growth
from stor.objects.resumable.records import Part, State, Upload, Wanted
from stor.objects.resumable.rules import overtaken, recalled, room, unknown
from stor.objects.rows import FOR_UPDATE, SKIP_LOCKED, doom, give_up

COLUMNS = (
    "id, draft, said, state, length, received, parts, coming, object, digest, error, attempt, claimed_until, tries, "
    "damaged_at, created_at, expires_at"
)


def insert(tx: Transaction, upload: Upload) -> None:
    """Add an upload."""
    draft = upload.draft
    tx.execute(
        "INSERT INTO object_upload (id, tenant, draft, said, class, state, length, received, parts, coming,"
        " object, digest, claimed_until, tries, created_at, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            upload.id,
            draft.name.tenant,
            json.encode(draft).decode(),
            upload.said,
            draft.storage_class.value,
            upload.state.value,
            upload.length,
            upload.received,
            upload.parts,
            upload.coming,
            upload.object_id,
            None if upload.digest is None else bytes.fromhex(upload.digest),
            upload.claimed_until,
            upload.tries,
            upload.created_at,
            upload.expires_at,
        ),
    )


def find(tx: Transaction, upload_id: str, tenant: str | None, now: int) -> Upload:
    """Give an upload of this tenant (None: of any); Missing, also when its time is over."""
    return _seen(tx.execute(f"SELECT {COLUMNS} FROM object_upload WHERE id = ?", (upload_id,)), upload_id, tenant, now)


def begin(
    tx: Transaction, at: Moment, wanted: Wanted, copy: str, bounds: tuple[int, int], expires: int
) -> tuple[Upload, int | None]:
    """Give the upload a piece under way, which overtakes any other, and what it will be called; raises what forbids it.

    `bounds` are the most bytes that an object may have, and the most parts. An upload that is DONE, or whole, stays as
    it is, and has nothing under way. Gives also how many bytes the quota has room for, where the length is unknown.
    """
    hold_growth(tx, at, find(tx, wanted.upload_id, wanted.tenant, at.now))
    found = tx.execute(f"SELECT {COLUMNS} FROM object_upload WHERE id = ?{FOR_UPDATE[at.kind]}", (wanted.upload_id,))
    upload = _seen(found, wanted.upload_id, wanted.tenant, at.now)
    room(upload, wanted, *bounds)
    if upload.state is not State.OPEN or upload.is_whole:
        return replace(upload, coming=None), None
    left, length = check_growth(tx, upload, wanted), upload.length
    if wanted.length is not None and wanted.length > upload.received:  # else it is whole when the piece counts
        length = wanted.length
    if upload.coming is not None:
        doom(tx, upload.coming, upload.draft.storage_class, at.now)
    sql = "UPDATE object_upload SET coming = ?, length = ?, expires_at = ? WHERE id = ?"
    tx.execute(sql, (copy, length, expires, upload.id))
    return replace(upload, coming=copy, length=length, expires_at=expires), left


def advance(tx: Transaction, begun: Upload, part: Part | None, length: int | None, expires: int) -> Upload | None:
    """Count the piece under way, durable by now; None when it has been overtaken, or the upload is gone."""
    size = 0 if part is None else part.size
    found = tx.execute(
        "UPDATE object_upload SET received = received + ?, parts = parts + ?, length = COALESCE(length, ?),"
        " coming = NULL, expires_at = ? WHERE id = ? AND state = 'OPEN' AND coming = ? AND received = ?"
        f" RETURNING {COLUMNS}",
        (size, int(part is not None), length, expires, begun.id, begun.coming, begun.received),
    )
    if part is not None and found:
        tx.execute(
            "INSERT INTO object_upload_part (upload, start, size, copy, class, etag, digest)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                begun.id,
                part.start,
                part.size,
                part.copy,
                begun.draft.storage_class.value,
                part.etag,
                bytes.fromhex(part.digest),
            ),
        )
    return upload_of(found[0]) if found else None


def lose(tx: Transaction, at: Moment, begun: Upload) -> StorError:
    """Doom the copy of a piece that does not count; gives the reason for the client."""
    if begun.coming is not None:
        tx.execute("UPDATE object_upload SET coming = NULL WHERE id = ? AND coming = ?", (begun.id, begun.coming))
        doom(tx, begun.coming, begun.draft.storage_class, at.now)
    gone = not tx.execute("SELECT id FROM object_upload WHERE id = ?", (begun.id,))
    return unknown(begun.id) if gone else overtaken()


def parts(tx: Transaction, upload_id: str, start: int, limit: int) -> list[Part]:
    """Give the next parts from an offset on."""
    found = tx.execute(
        "SELECT start, size, copy, etag, digest FROM object_upload_part WHERE upload = ? AND start >= ?"
        " ORDER BY start LIMIT ?",
        (upload_id, start, limit),
    )
    return [Part(start, size, copy, etag, bytes(digest).hex()) for start, size, copy, etag, digest in found]


def remove(tx: Transaction, at: Moment, upload_id: str, tenant: str | None) -> None:
    """Forget an upload, and doom its bytes; an object that it became stays. Missing.

    One that is being made has lost its key at once, and cannot be committed.
    """
    find(tx, upload_id, tenant, at.now)
    _remove(tx, at, upload_id)


def expire(tx: Transaction, at: Moment, limit: int) -> int:
    """Forget some whose time is over, unless their objects are being made now; gives how many."""
    found = tx.execute(
        "SELECT id FROM object_upload WHERE expires_at <= ? AND (node IS NULL OR claimed_until <= ?)"
        f" ORDER BY expires_at LIMIT ?{SKIP_LOCKED[at.kind]}",
        (at.now, at.now, limit),
    )
    for (upload_id,) in found:
        _remove(tx, at, upload_id)
    return len(found)


def keep_alive(tx: Transaction, copies: Sequence[tuple[str, str]], expires: int) -> None:
    """Put off the end of uploads whose pieces are under way: (id, copy)."""
    tx.many(
        "UPDATE object_upload SET expires_at = ? WHERE id = ? AND coming = ?",
        [(expires, upload_id, copy) for upload_id, copy in copies],
    )


def known(tx: Transaction, places: Mapping[str, tuple[str, int]]) -> set[str]:
    """Give those copies that a row speaks of; `places` has the upload and the offset of each."""
    if not places:
        return set()
    wanted = ", ".join(["(?, ?, ?)"] * len(places))
    values = [value for copy, (upload_id, start) in places.items() for value in (upload_id, start, copy)]
    found = tx.execute(
        f"WITH wanted(upload, start, copy) AS (VALUES {wanted})"
        " SELECT wanted.copy FROM wanted JOIN object_upload_part AS part ON part.upload = wanted.upload"
        " AND part.start = wanted.start AND part.copy = wanted.copy"
        " UNION ALL SELECT wanted.copy FROM wanted JOIN object_upload ON object_upload.id = wanted.upload"
        " AND object_upload.coming = wanted.copy"
        " UNION ALL SELECT wanted.copy FROM wanted JOIN object_doomed ON object_doomed.copy = wanted.copy",
        values,
    )
    return {row[0] for row in found}


def _remove(tx: Transaction, at: Moment, upload_id: str) -> None:
    for coming, storage_class, attempt in tx.execute(
        "DELETE FROM object_upload WHERE id = ? RETURNING coming, class, attempt", (upload_id,)
    ):
        if attempt is not None:
            give_up(tx, attempt, at.now)
        if coming is not None:
            doom(tx, coming, StorageClass(storage_class), at.now)
        doom_parts(tx, upload_id, at.now)


def doom_parts(tx: Transaction, upload_id: str, due: int) -> None:
    """Nobody needs the parts of an upload any more."""
    tx.execute(
        "INSERT INTO object_doomed (copy, class, due, claimed_until) SELECT copy, class, ?, 0 FROM object_upload_part"
        " WHERE upload = ? ON CONFLICT DO NOTHING",
        (due, upload_id),
    )
    tx.execute("DELETE FROM object_upload_part WHERE upload = ?", (upload_id,))


def _seen(found: Sequence[Row], upload_id: str, tenant: str | None, now: int) -> Upload:
    upload = upload_of(found[0]) if found else None
    if upload is None or upload.expires_at <= now or tenant not in {None, upload.draft.name.tenant}:
        raise unknown(upload_id)
    return upload


def upload_of(row: Row) -> Upload:
    """Read a row of these `COLUMNS`."""
    upload_id, draft, said, state, length, received, parts, coming, object_id, digest, error, *times = row
    return Upload(
        upload_id,
        json.decode(draft, type=Draft),
        said,
        State(state),
        length,
        received,
        parts,
        coming,
        object_id,
        None if digest is None else digest.hex(),
        None if error is None else recalled(error),
        *times,
    )
