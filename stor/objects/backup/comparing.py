"""What of a backup a store has already, seen in one transaction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from stor.database.promise import Transaction
from stor.objects import rows
from stor.objects.backup.format import Entry, Saved, object_of
from stor.objects.backup.lists import Reader, batch
from stor.objects.backup.manifest import checked
from stor.objects.backup.place import MANIFEST, Place
from stor.objects.records import Name, Object, State

MOST_TOLD = 1000  # names of each sort
_BATCH = 500
_LIVE = "SELECT COUNT(*) FROM object WHERE state IN ('WRITING', 'COMMITTED')"
_BY_ID = f"SELECT {rows.OBJECT} FROM object WHERE id IN ({{}})"
_BY_KEY = """WITH wanted(tenant, namespace, key) AS (VALUES {}) SELECT object.tenant, object.namespace, object.key
FROM wanted JOIN object ON object.tenant = wanted.tenant AND object.namespace = wanted.namespace
AND object.key = wanted.key AND object.slot = '' AND object.slot IS NOT NULL"""
_GONE = {State.DELETING, State.DELETED}


@dataclass(slots=True)
class Told:
    """Objects of one sort: how many, and the names of the first 1000."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, one: Object) -> None:
        """Count one."""
        self.count += 1
        if len(self.names) < MOST_TOLD:
            self.names.append(f"{one.name.namespace}/{one.name.tenant}/{one.name.key} {one.id}")


@dataclass(slots=True)
class Compared:
    """How a store stands to a backup.

    Of the backup's objects, `there` are as they were, `changed` are there with something else said about them, `taken`
    cannot come, for another object has their key or their id, and `absent` are the others. `strangers` are objects that
    the backup does not know.
    """

    there: int = 0
    absent: int = 0
    absent_bytes: int = 0
    strangers: int = 0
    changed: Told = field(default_factory=Told)
    taken: Told = field(default_factory=Told)


def compare(tx: Transaction, place: Place, entry: Entry) -> Compared:
    """Hold a backup against the rows."""
    found = Compared(strangers=tx.execute(_LIVE)[0][0])
    with Reader(place.list_path(entry.at, MANIFEST)) as lines:
        objects = _objects(iter(lines), entry)
        while some := batch(objects, _BATCH):
            _compare(tx, some, found)
    return found


def _objects(lines: Iterator[bytes], entry: Entry) -> Iterator[Object]:
    return (object_of(line) for line in checked(lines, entry) if isinstance(line, Saved))


def _compare(tx: Transaction, some: Sequence[Object], found: Compared) -> None:
    known = by_ids(tx, some)
    absent = [one for one in some if one.id not in known or known[one.id].state in _GONE]
    taken = taken_keys(tx, absent)
    for one in some:
        there = known.get(one.id)
        if there is not None and there.state not in _GONE:
            _judge(one, there, found)
        elif one.name in taken:
            found.taken.add(one)
        else:
            found.absent += 1
            found.absent_bytes += one.size


def _judge(one: Object, there: Object, found: Compared) -> None:
    found.strangers -= 1
    if there == one:
        found.there += 1
    elif (there.state, there.digest) == (one.state, one.digest):
        found.changed.add(one)
    else:
        found.taken.add(one)


def by_ids(tx: Transaction, some: Sequence[Object], lock: str = "") -> dict[str, Object]:
    """Give the objects that have these ids, whatever their state."""
    marks = ", ".join("?" * len(some))
    found = tx.execute(_BY_ID.format(marks) + lock, sorted(one.id for one in some))
    return {row[0]: rows.object_of(row) for row in found}


def taken_keys(tx: Transaction, some: Sequence[Object]) -> set[Name]:
    """Give those of their keys that objects own."""
    names = [one.name for one in some if one.name.key]
    if not names:
        return set()
    values = [text for name in names for text in (name.tenant, name.namespace, name.key)]
    found = tx.execute(_BY_KEY.format(", ".join(["(?, ?, ?)"] * len(names))), values)
    return {Name(namespace, tenant, key) for tenant, namespace, key in found}
