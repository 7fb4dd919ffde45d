"""Objects of a backup on their way into the rows, some in one transaction: all that they refer to is there by then."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from stor.database.promise import Transaction
from stor.errors import Unavailable
from stor.objects import rows
from stor.objects.backup.comparing import by_ids, taken_keys
from stor.objects.commits import Moment
from stor.objects.records import Name, Object, State, StorageClass
from stor.objects.rows import FOR_UPDATE, Stored
from stor.objects.usage import count_usage

_REFER = """UPDATE object_blob SET refs = refs + 1, idle_since = NULL
WHERE digest = ? AND class = ? AND size = ? AND damage IS NULL RETURNING id"""
_TOMBSTONE = "DELETE FROM object WHERE id = ? AND state IN ('DELETING', 'DELETED') RETURNING state, blob"
_UPLOAD = "DELETE FROM object WHERE id = ? AND state = 'WRITING' RETURNING id"


class Landed(Enum):
    """What came of an object."""

    NEW = "new"
    THERE = "there"
    TAKEN = "taken"  # its key, or its id, is another's
    LACKING = "lacking"  # there are no bytes that it could refer to
    LOST = "lost"  # its bytes are not in the backup as they should be


@dataclass(frozen=True, slots=True)
class Arrival:
    """An object, and its bytes if they are not there; `upload` is the row under which their copy was put."""

    object: Object
    stored: Stored | None = None
    upload: str | None = None

    @property
    def order(self) -> tuple[str, StorageClass, bool]:
        """Everybody takes blobs in this order, and who brings bytes comes before who only refers to them."""
        return self.object.digest, self.object.storage_class, self.stored is None


def land(tx: Transaction, at: Moment, arrivals: Sequence[Arrival]) -> dict[str, Landed]:
    """Make them objects, with their own ids and times; says for each id what came of it."""
    objects = [arrival.object for arrival in arrivals]
    known = by_ids(tx, objects, f" ORDER BY id{FOR_UPDATE[at.kind]}")
    taken = taken_keys(tx, objects)
    outcomes, grown = dict[str, Landed](), Counter[tuple[str, str, StorageClass]]()
    numbers = Counter[tuple[str, str, StorageClass]]()
    for arrival in sorted(arrivals, key=lambda one: one.order):
        one = arrival.object
        outcomes[one.id] = _land(tx, at, arrival, known.get(one.id), taken)
        if outcomes[one.id] is Landed.NEW:
            whose = (one.name.tenant, one.name.namespace, one.storage_class)
            grown[whose] += one.size
            numbers[whose] += 1
    for whose in sorted(numbers):  # last, and in one order: others wait for these rows
        tenant, namespace, storage_class = whose
        count_usage(tx, at.kind, Name(namespace, tenant), storage_class, grown[whose], numbers[whose])
    return outcomes


def heal(tx: Transaction, at: Moment, arrival: Arrival) -> int:
    """Put fresh bytes in the place of damaged ones; who refers to them does so still. Gives how many blobs."""
    blob = _attach(tx, at, arrival)
    if blob is not None:
        rows.release(tx, blob, 1, at.now)
    return 1


def hindrance(one: Object, known: Object | None, taken: set[Name]) -> Landed | None:
    """Say why an object need not, or cannot come; `known` is who has its id, `taken` are keys that are owned."""
    if known is not None and known.state in {State.WRITING, State.COMMITTED}:
        return Landed.THERE if (known.state, known.digest) == (one.state, one.digest) else Landed.TAKEN
    return Landed.TAKEN if one.name in taken else None


def _land(tx: Transaction, at: Moment, arrival: Arrival, known: Object | None, taken: set[Name]) -> Landed:
    one = arrival.object
    hindered = hindrance(one, known, taken)
    if hindered is not None:
        return hindered
    blob = _attach(tx, at, arrival)
    if blob is None:
        return Landed.LACKING
    if known is not None:
        _bury(tx, at, known)
    rows.insert(tx, one, slot="" if one.name.key else one.id, blob=blob)
    return Landed.NEW


def _attach(tx: Transaction, at: Moment, arrival: Arrival) -> int | None:
    stored = arrival.stored
    if stored is None:
        one = arrival.object
        found = tx.execute(_REFER, (bytes.fromhex(one.digest), one.storage_class.value, one.size))
        return found[0][0] if found else None
    if arrival.upload is not None and not tx.execute(_UPLOAD, (arrival.upload,)):
        raise Unavailable("an upload took too long and was given up; begin again")
    return rows.attach(tx, stored, at.now, at.due(stored.storage_class))


def _bury(tx: Transaction, at: Moment, known: Object) -> None:
    """Remove what is left of an object that was deleted since: its reference is counted down now if it was not yet."""
    for state, blob in tx.execute(_TOMBSTONE, (known.id,)):
        if state == State.DELETING and blob is not None:
            rows.release(tx, blob, 1, at.now)
