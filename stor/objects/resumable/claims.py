"""From parts to an object, in rows: each function runs in a transaction of its caller."""

from __future__ import annotations

from dataclasses import replace

from stor.database.promise import Transaction
from stor.errors import StorError
from stor.objects.commits import Moment
from stor.objects.records import Created
from stor.objects.resumable.records import Upload
from stor.objects.resumable.rows import COLUMNS, doom_parts, find, upload_of
from stor.objects.resumable.rules import Doubtful, is_final, kept, overtaken

_WHOLE = "state = 'OPEN' AND received = length"


def claim(tx: Transaction, at: Moment, upload_id: str, node: str, until: int) -> Upload | None:
    """Have nobody else make the object until then; None when somebody does, or it is not time to try again.

    No piece under way has a say in it any more: `coming` is None. It expires when it did, but not under a claim.
    """
    found = tx.execute(
        "UPDATE object_upload SET node = ?, claimed_until = ?, tries = tries + 1"
        f" WHERE id = ? AND {_WHOLE} AND claimed_until <= ? RETURNING {COLUMNS}",
        (node, until, upload_id, at.now),
    )
    return replace(upload_of(found[0]), coming=None) if found else None


def renew(tx: Transaction, upload_id: str, node: str, until: int) -> None:
    """Go on with a claim."""
    tx.execute(
        f"UPDATE object_upload SET claimed_until = ? WHERE id = ? AND {_WHOLE} AND node = ?", (until, upload_id, node)
    )


def refuse(tx: Transaction, at: Moment, upload: Upload, node: str, error: StorError, until: int) -> Upload:
    """End a claim under which no object could be made: for ever, or until it may be tried again.

    Gives what it is now, for another may have made it; Missing.
    """
    if is_final(error):
        fail(tx, upload, error)
    else:
        _put_off(tx, upload, node, error, until, _damaged_at(upload, error, at.now))
    return find(tx, upload.id, None, now=0)  # though it may be over meanwhile


def _put_off(tx: Transaction, upload: Upload, node: str, error: StorError, until: int, damaged_at: int | None) -> None:
    tx.execute(
        "UPDATE object_upload SET error = ?, claimed_until = ?, damaged_at = ?, node = NULL"
        f" WHERE id = ? AND {_WHOLE} AND node = ?",
        (kept(error), until, damaged_at, upload.id, node),
    )


def _damaged_at(upload: Upload, error: StorError, now: int) -> int | None:
    if not isinstance(error, Doubtful):
        return None
    return now if upload.damaged_at is None else upload.damaged_at


def free_claims(tx: Transaction, node: str) -> None:
    """End the claims of a process that has died."""
    tx.execute(f"UPDATE object_upload SET claimed_until = 0, node = NULL WHERE {_WHOLE} AND node = ?", (node,))


def done(tx: Transaction, now: int, upload: Upload, made: Created, expires: int) -> None:
    """There is an object, in this very transaction; Conflict (UPLOAD_OVERTAKEN) when another one was first.

    An upload that is not whole is ended only by its piece under way, which had all the bytes.
    """
    which, values = _unchanged(upload)
    found = tx.execute(
        "UPDATE object_upload SET state = 'DONE', object = ?, digest = ?, received = ?, length = ?, coming = NULL,"
        f" error = NULL, node = NULL, expires_at = ? WHERE {which} RETURNING id",
        (
            made.object.id,
            bytes.fromhex(made.object.digest),
            made.object.size,
            made.object.size,
            expires,
            *values,
        ),
    )
    if not found:
        raise overtaken()
    doom_parts(tx, upload.id, now)


def fail(tx: Transaction, upload: Upload, error: StorError) -> None:
    """There will never be an object; said only by who could have made it (see `done`).

    Its parts stay until it expires or is removed: they were acknowledged, and we may be wrong.
    """
    which, values = _unchanged(upload)
    tx.execute(
        f"UPDATE object_upload SET state = 'FAILED', error = ?, coming = NULL, node = NULL WHERE {which}",
        (kept(error), *values),
    )


def _unchanged(upload: Upload) -> tuple[str, tuple[str, ...]]:
    """Tell the row of an upload that is still whole, or whose piece under way is still this one."""
    if upload.coming is None:
        return f"id = ? AND {_WHOLE}", (upload.id,)
    return "id = ? AND state = 'OPEN' AND coming = ?", (upload.id, upload.coming)


def waiting(tx: Transaction, now: int, limit: int) -> list[str]:
    """Name uploads of which an object could be made now, and nobody does."""
    found = tx.execute(
        f"SELECT id FROM object_upload WHERE {_WHOLE} AND claimed_until <= ? ORDER BY claimed_until LIMIT ?",
        (now, limit),
    )
    return [row[0] for row in found]
