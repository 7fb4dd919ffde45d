"""What is changed about objects that are there, in one transaction each."""

from __future__ import annotations

from dataclasses import replace

from stor.database.promise import Transaction
from stor.objects import rows
from stor.objects.commits import Moment, check_match, hold_writing, missing
from stor.objects.records import Change, Object
from stor.objects.rows import Stored
from stor.objects.usage import move_usage


def change(tx: Transaction, at: Moment, object_id: str, asked: Change, match: frozenset[str] | None) -> Object:
    """Say something else about an object; the class is not looked at."""
    found = rows.committed(tx, at.kind, object_id)
    if found is None:
        raise missing(object_id)
    check_match(found, match)
    made = _changed(found, asked, at.now)
    _update(tx, made)
    return made


def move(
    tx: Transaction, at: Moment, object_id: str, asked: Change, blob: int, stored: Stored, writing: str | None
) -> Object | None:
    """Have an object refer to the same bytes in another class, and say what else is asked for about it.

    None when it refers to another blob by now. `writing` is the row under which a copy was put; it goes, for the
    blob's row names the copy now.
    """
    if writing is not None:
        hold_writing(tx, at, writing)
    found = rows.committed(tx, at.kind, object_id)
    if found is None:
        raise missing(object_id)
    if tx.execute("SELECT blob FROM object WHERE id = ?", (object_id,)) != [(blob,)]:
        return None
    if writing is not None:
        tx.execute("DELETE FROM object WHERE id = ?", (writing,))
    fresh = rows.attach(tx, stored, at.now, at.due(stored.storage_class))
    rows.release(tx, blob, 1, at.now)
    moved = replace(_changed(found, asked, at.now), storage_class=stored.storage_class)
    tx.execute("UPDATE object SET class = ?, blob = ? WHERE id = ?", (moved.storage_class.value, fresh, object_id))
    _update(tx, moved)
    move_usage(tx, at.kind, found.name, moved.storage_class, found.size)
    return moved


def _changed(found: Object, asked: Change, now: int) -> Object:
    return replace(
        found,
        content_type=found.content_type if asked.content_type is None else asked.content_type,
        metadata=found.metadata if asked.metadata is None else asked.metadata,
        updated_at=max(now, found.updated_at),
    )


def _update(tx: Transaction, made: Object) -> None:
    tx.execute(
        "UPDATE object SET content_type = ?, metadata = ?, updated_at = ? WHERE id = ?",
        (made.content_type, rows.metadata_text(made.metadata), made.updated_at, made.id),
    )
