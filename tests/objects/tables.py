"""The tables of objects without a reactor: works are run at once, and undone, so that hypothesis may have thousands."""

import tempfile
from collections import Counter
from itertools import count
from pathlib import Path

from stor.database import group
from stor.database.attempt import Attempt
from stor.database.connections import Connections
from stor.database.migrations import known, rise
from stor.database.session import WriteSession, make_file
from stor.objects import rows
from stor.objects.records import Name, Object, State, StorageClass
from stor.objects.usage import count_usage
from tests.postgres import shared

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE"
_ids = count()


class Undo(Exception):
    """Ends a work, and with it all that it did."""


class Tables:
    """An empty database of a kind."""

    def __init__(self, kind):
        self.kind = kind
        if kind == "sqlite":
            self._folder = tempfile.TemporaryDirectory()
            path = Path(self._folder.name) / "stor.db"
            make_file(path)
            self._session = WriteSession(path)
        else:
            self._connections = Connections(shared().fresh())
        rise(self.run, known(kind))

    def close(self):
        """Let go of it."""
        if self.kind == "sqlite":
            self._session.close()
            self._folder.cleanup()
        else:
            self._connections.drop_idle()

    def run(self, work):
        """Run a work and keep what it did."""
        if self.kind == "postgresql":
            return Attempt(self._connections, _BEGIN).run(work)
        (outcome,) = group.commit(self._session, [work])
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def look(self, work):
        """Run a work and keep nothing of what it did; gives what it gave."""
        found = []

        def undone(tx):
            found[:] = [work(tx)]
            raise Undo

        try:
            self.run(undone)
        except Undo:
            return found[0]
        raise AssertionError("the work was not undone")


def made(
    tenant="acme",
    namespace="photos",
    key="",
    *,
    size=1,
    state=State.COMMITTED,
    content_type="text/plain",
    metadata=None,
    at=1_000_000,
    changed=None,
    storage_class=StorageClass.HOT,
    id=None,  # noqa: A002 - an object's
):
    """Give an object without bytes."""
    object_id = f"{next(_ids):032x}" if id is None else id
    digest = "" if state is State.WRITING else "ab" * 32
    name = Name(namespace, tenant, key)
    times = (at, at if changed is None else changed)
    return Object(object_id, name, state, storage_class, digest, size, content_type, metadata or {}, *times)


def add(tx, kind, *objects):
    """Put objects into the tables, as those do that commit them, but all at once."""
    inserting, usage = Inserting(), Counter()
    for each in objects:
        rows.insert(inserting, each, slot="" if each.name.key else each.id)
        if each.state is State.COMMITTED:
            usage[each.name.tenant, each.name.namespace, each.storage_class, "bytes"] += each.size
            usage[each.name.tenant, each.name.namespace, each.storage_class, "objects"] += 1
    if objects:
        tx.many(inserting.sql, inserting.rows)
    tx.execute("UPDATE object SET slot = NULL WHERE state IN ('DELETING', 'DELETED')")
    for tenant, namespace, storage_class in {names[:3] for names in usage}:
        sums = (usage[tenant, namespace, storage_class, what] for what in ("bytes", "objects"))
        count_usage(tx, kind, Name(namespace, tenant), storage_class, *sums)


class Inserting:
    """Keeps what one statement is asked to insert, for `many`."""

    def __init__(self):
        self.sql, self.rows = "", []

    def execute(self, sql, parameters):
        """Keep it."""
        self.sql = sql
        self.rows.append(parameters)


def remove(tx, kind, gone):
    """Delete a committed object, as a client does."""
    tx.execute("UPDATE object SET state = 'DELETING', slot = NULL WHERE id = ?", (gone.id,))
    count_usage(tx, kind, gone.name, gone.storage_class, -gone.size, -1)
