"""What is done to objects in one transaction each: all that changes who refers to which bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from stor.database.promise import Transaction
from stor.errors import Conflict, Missing, PreconditionFailed, Unavailable
from stor.objects import rows
from stor.objects.records import Created, Draft, Name, Object, State, StorageClass
from stor.objects.rows import FOR_UPDATE, Stored
from stor.objects.rules import MICROSECONDS
from stor.objects.usage import check_room, count_usage, room

_ANY = "*"


@dataclass(frozen=True, slots=True)
class Moment:
    """On which kind of database it is, and when, in microseconds since 1970; `lingers` of doomed copies alike."""

    kind: str
    now: int
    lingers: Mapping[StorageClass, int]

    def due(self, storage_class: StorageClass) -> int:
        """Give from when on a copy that is doomed now may be removed."""
        return self.now + self.lingers[storage_class]


def missing(object_id: str) -> Missing:
    """Give the error for an object that nobody can see."""
    return Missing("there is no such object", code="OBJECT_NOT_FOUND", context={"id": object_id})


def check_match(found: Object, match: frozenset[str] | None) -> None:
    """Raise PreconditionFailed unless the object is one of those that are meant."""
    if match is not None and _ANY not in match and found.etag not in match:
        raise PreconditionFailed("the object has other bytes by now", context={"etag": found.etag})


def hold_writing(tx: Transaction, at: Moment, object_id: str) -> int:
    """Lock the row of an upload, and give the size that it announced; Unavailable when it was given up."""
    held = tx.execute(f"SELECT size FROM object WHERE id = ? AND state = 'WRITING'{FOR_UPDATE[at.kind]}", (object_id,))
    if not held:
        raise Unavailable("the upload took too long and was given up", retry_after=1.0)
    return int(held[0][0])


def commit_small(tx: Transaction, at: Moment, draft: Draft, object_id: str, stored: Stored) -> Created:
    """Make an object of bytes that are kept in its blob's row: it is WRITING only inside this transaction."""
    owner = _settle(tx, at, draft, object_id, stored.digest)
    if owner is not None and draft.wish.match is None:
        _heal(tx, at, owner, stored)
        return Created(owner, is_new=False)
    blob = rows.attach(tx, stored, at.now, at.due(stored.storage_class))
    return _insert(tx, at, draft, object_id, stored, blob, owner)


def foresee(tx: Transaction, at: Moment, draft: Draft, announced: int | None) -> Object | None:
    """Raise what is certain already, whatever `announced` bytes these will be; gives who owns the key now."""
    owner = _owner(tx, at, draft)
    if owner is None or owner.state is State.WRITING or draft.wish.absent or draft.wish.match is not None:
        _judge(draft, owner)
    elif announced is not None and announced != owner.size:
        raise _taken(owner)
    if announced is not None and owner is None and not draft.upload:
        check_room(tx, draft.name.tenant, announced)
    return owner


def reserve(
    tx: Transaction, at: Moment, draft: Draft, object_id: str, copy: str | None, announced: int | None, node: str
) -> int | None:
    """Write down that an upload is under way, and where its bytes will be if that is known; takes a free key.

    Raises now what is certain already: nobody should send gigabytes for nothing. Gives how many bytes there is room
    for, when that was not announced and there is a quota.
    """
    owner = foresee(tx, at, draft, announced)
    made = _object(draft, object_id, State.WRITING, "", announced or 0, at.now)
    slot = "" if draft.name.key and owner is None else object_id
    rows.insert(tx, made, slot=slot, node=node, copy=copy)
    if draft.upload:  # so that it counts once, and can be given up with its upload
        tx.execute("UPDATE object_upload SET attempt = ? WHERE id = ?", (object_id, draft.upload))
    return room(tx, draft.name.tenant) if announced is None and copy is None else None


def give_up_key(tx: Transaction, at: Moment, name: Name) -> bool:
    """Remove the upload that has taken a key and is WRITING; False when there is none."""
    owner = rows.owner(tx, at.kind, name)
    return owner is not None and owner.state is State.WRITING and rows.give_up(tx, owner.id, at.now)


def name_copy(tx: Transaction, at: Moment, draft: Draft, object_id: str, copy: str, size: int) -> None:
    """Write down where the bytes of an upload will be, and how many: before anything is put there."""
    announced = hold_writing(tx, at, object_id)
    if size > announced and draft.wish.match is None and not draft.upload:
        check_room(tx, draft.name.tenant, size - announced)
    tx.execute("UPDATE object SET copy = ?, size = ?, updated_at = ? WHERE id = ?", (copy, size, at.now, object_id))


def commit_large(tx: Transaction, at: Moment, draft: Draft, object_id: str, stored: Stored) -> Created:
    """Make an object of bytes that are durable under their copy's name; its row must still be WRITING.

    Who took so long that the row was removed cannot commit: the copy is another's to remove by now.
    """
    hold_writing(tx, at, object_id)
    owner = _settle(tx, at, draft, object_id, stored.digest)
    if owner is not None and draft.wish.match is None:
        if _heal(tx, at, owner, stored):
            tx.execute("DELETE FROM object WHERE id = ?", (object_id,))  # the blob's row names the copy now
        else:
            rows.give_up(tx, object_id, at.now)
        return Created(owner, is_new=False)
    blob = rows.attach(tx, stored, at.now, at.due(stored.storage_class))
    made = _object(draft, object_id, State.COMMITTED, stored.digest, stored.size, _later(at.now, owner))
    tx.execute(
        "UPDATE object SET slot = ?, state = 'COMMITTED', blob = ?, digest = ?, size = ?, created_at = ?,"
        " updated_at = ?, node = NULL, copy = NULL WHERE id = ?",
        (_slot(made), blob, bytes.fromhex(stored.digest), stored.size, made.created_at, made.updated_at, object_id),
    )
    _count(tx, at, made, owner, draft.upload)
    return Created(made, is_new=True)


def adopt(tx: Transaction, at: Moment, draft: Draft, object_id: str, digest: str) -> Created:
    """Make an object of bytes that its own tenant holds already, in the class that is asked for if they are there."""
    held = tx.execute(
        "SELECT object_blob.id, object_blob.class, object_blob.size FROM object_blob JOIN object"
        " ON object.blob = object_blob.id AND object.blob IS NOT NULL"
        " WHERE object_blob.digest = ? AND object_blob.damage IS NULL AND object.tenant = ?"
        " AND object.state = 'COMMITTED'"
        " ORDER BY CASE WHEN object_blob.class = ? THEN 0 ELSE 1 END LIMIT 1",
        (bytes.fromhex(digest), draft.name.tenant, draft.storage_class.value),
    )
    for blob, storage_class, size in held:
        if not tx.execute(f"SELECT id FROM object_blob WHERE id = ?{FOR_UPDATE[at.kind]}", (blob,)):
            break  # it went in between
        owner = _settle(tx, at, draft, object_id, digest)
        if owner is not None and draft.wish.match is None:
            return Created(owner, is_new=False)
        rows.refer(tx, blob)
        stored = Stored(digest, StorageClass(storage_class), size)
        made = replace(draft, storage_class=stored.storage_class)
        return _insert(tx, at, made, object_id, stored, blob, owner)
    raise _not_held()


def held_size(tx: Transaction, tenant: str, digest: str) -> int:
    """Give the size of bytes that a tenant holds; Missing when it holds none such."""
    held = tx.execute(
        "SELECT object_blob.size FROM object_blob JOIN object"
        " ON object.blob = object_blob.id AND object.blob IS NOT NULL"
        " WHERE object_blob.digest = ? AND object_blob.damage IS NULL AND object.tenant = ?"
        " AND object.state = 'COMMITTED'"
        " LIMIT 1",
        (bytes.fromhex(digest), tenant),
    )
    if not held:
        raise _not_held()
    return int(held[0][0])


def _not_held() -> Missing:
    return Missing("no object of this tenant has these bytes: send them", code="CONTENT_NOT_FOUND")


def delete(tx: Transaction, at: Moment, object_id: str, match: frozenset[str] | None) -> None:
    """Hide an object for ever and free its key; its reference is counted down by the collector."""
    found = rows.committed(tx, at.kind, object_id)
    if found is None:
        raise missing(object_id)
    check_match(found, match)
    _retire(tx, at, found)
    count_usage(tx, at.kind, found.name, found.storage_class, -found.size, -1)


def _settle(tx: Transaction, at: Moment, draft: Draft, object_id: str, digest: str) -> Object | None:
    """Decide whose the key is; raises when it cannot be ours.

    Gives None when it is free. Else who has it: with the same bytes, so that nothing is to be done; or, where the wish
    is to replace, who had it.
    """
    owner = _owner(tx, at, draft)
    if owner is not None and owner.id == object_id:
        return None
    _judge(draft, owner)
    if owner is None:
        return None
    if draft.wish.match is not None:
        _retire(tx, at, owner)
    elif owner.digest != digest:
        raise _taken(owner)
    return owner


def _heal(tx: Transaction, at: Moment, owner: Object, stored: Stored) -> bool:
    """Have an object's bytes be the fresh ones, for the others may be damaged; False when they are of another class."""
    if owner.storage_class is not stored.storage_class:
        return False
    blob = rows.attach(tx, stored, at.now, at.due(stored.storage_class))
    rows.release(tx, blob, 1, at.now)  # there is no reference more than before
    return True


def _owner(tx: Transaction, at: Moment, draft: Draft) -> Object | None:
    """Give who has the key, and lock its row; Conflict without a code when that must be asked again.

    PostgreSQL gives nobody to who had to wait for an owner's row until another owner was there.
    """
    if not draft.name.key:
        return None
    owner = rows.owner(tx, at.kind, draft.name)
    if owner is None and draft.wish.match is not None and rows.owned(tx, [draft.name], at.kind):
        raise Conflict("the key has just got another owner")
    return owner


def _judge(draft: Draft, owner: Object | None) -> None:
    """Raise what the wish and the owner's state forbid, whatever the bytes are."""
    wish = draft.wish
    if owner is None:
        if wish.match is not None:
            raise PreconditionFailed("If-Match: the key is free")
        return
    if owner.state is State.WRITING:
        if wish.match is not None:
            raise PreconditionFailed("If-Match: the key has no bytes yet")
        raise Conflict("another upload of this key is under way", code="KEY_BEING_WRITTEN")
    if wish.absent:
        raise PreconditionFailed("If-None-Match: the key is taken", context={"id": owner.id, "etag": owner.etag})
    check_match(owner, wish.match)


def _taken(owner: Object) -> Conflict:
    context = {"id": owner.id, "etag": owner.etag}
    return Conflict("the key is taken by other bytes; to replace them send If-Match", code="KEY_TAKEN", context=context)


def _retire(tx: Transaction, at: Moment, found: Object) -> None:
    tx.execute(
        "UPDATE object SET state = 'DELETING', slot = NULL, updated_at = ? WHERE id = ?",
        (max(at.now, found.updated_at), found.id),
    )


def _insert(
    tx: Transaction, at: Moment, draft: Draft, object_id: str, stored: Stored, blob: int, replaced: Object | None
) -> Created:
    made = _object(draft, object_id, State.COMMITTED, stored.digest, stored.size, _later(at.now, replaced))
    rows.insert(tx, made, slot=_slot(made), blob=blob)
    _count(tx, at, made, replaced, draft.upload)
    return Created(made, is_new=True)


def _later(now: int, replaced: Object | None) -> int:
    """Give a time whose second is another than that of what is replaced: HTTP dates tell no less apart."""
    if replaced is None:
        return now
    return max(now, (replaced.updated_at // MICROSECONDS + 1) * MICROSECONDS)


def _count(tx: Transaction, at: Moment, made: Object, replaced: Object | None, upload: str) -> None:
    """Count what came and what went: last, for others may wait for these rows."""
    size, objects = made.size, 1
    if replaced is not None and replaced.storage_class is made.storage_class:
        size, objects = size - replaced.size, 0
    elif replaced is not None:
        count_usage(tx, at.kind, replaced.name, replaced.storage_class, -replaced.size, -1)
    count_usage(tx, at.kind, made.name, made.storage_class, size, objects, upload)


def _slot(made: Object) -> str:
    return "" if made.name.key else made.id


def _object(draft: Draft, object_id: str, state: State, digest: str, size: int, now: int) -> Object:
    return Object(
        object_id,
        draft.name,
        state,
        draft.storage_class,
        digest,
        size,
        draft.content_type,
        draft.metadata,
        now,
        now,
    )
