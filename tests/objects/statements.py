"""Transactions of PostgreSQL that stop before each statement and before their commit.

There several transactions are under way at once, and each statement sees what others have committed by then: so each
statement is a step of its own. Who waits for another's lock is known from the server.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import psycopg
from twisted.internet import reactor
from twisted.internet.defer import DeferredLock

from stor.database.promise import Row, Transaction
from tests.objects.interleaving import SECONDS, Point, Schedule
from tests.objects.pausing import name_of

_BLOCKED = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted)"
_SOON = "ALTER DATABASE {} SET deadlock_timeout = '20ms'"


class Locks:
    """Tells which operation waits for a lock, by the server's own word."""

    def __init__(self, url: str) -> None:
        self._server = psycopg.connect(url, autocommit=True)
        name = self._server.info.dbname
        self._server.execute(_SOON.format(name).encode())  # for connections that are made from now on
        self.sessions: dict[str, int] = {}

    def blocked(self, who: str) -> bool:
        """Tell whether the statement that it sent waits for another's lock."""
        if who not in self.sessions:
            return False
        found = self._server.execute(_BLOCKED, (self.sessions[who],)).fetchone()
        return bool(found and found[0])

    def close(self) -> None:
        """Leave the server."""
        self._server.close()


class StatementDatabase:
    """A database whose writes stop within; `who` is the operation that it belongs to, which has one connection."""

    def __init__(self, database: Any, schedule: Schedule, locks: Locks, who: str) -> None:
        self.kind = database.kind
        self._database, self._schedule, self._locks, self._who = database, schedule, locks, who
        self._step, self._turn = schedule.step_of(who), DeferredLock()

    async def read(self, work: Any) -> Any:
        """A read sees one state: it is a single step."""
        async with self._step(f"read {name_of(work)}"):
            return await self._database.read(work)

    async def write(self, work: Any) -> Any:
        await self._turn.acquire()
        try:
            return await self._database.write(partial(self._run, work))
        finally:
            self._turn.release()

    def _run(self, work: Callable[[Transaction], Any], transaction: Transaction) -> Any:
        """In a thread, with a connection of its own."""
        if not self._schedule.runs(self._who):
            return work(transaction)
        ((pid,),) = transaction.execute("SELECT pg_backend_pid()")
        self._locks.sessions[self._who] = pid
        try:
            value = work(_Stopping(transaction, self._stop))
            self._stop("COMMIT")
            return value
        finally:
            del self._locks.sessions[self._who]

    def _stop(self, label: str) -> None:
        go = threading.Event()
        reactor.callFromThread(self._schedule.stand, Point(self._who, label, go.set))
        if not go.wait(SECONDS):
            raise RuntimeError(f"{self._who} was not let go")


class _Stopping:
    def __init__(self, transaction: Transaction, stop: Callable[[str], None]) -> None:
        self._transaction, self._stop = transaction, stop

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        self._stop(_short(sql))
        return self._transaction.execute(sql, parameters)

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        self._stop(_short(sql))
        return self._transaction.many(sql, rows)


def _short(sql: str) -> str:
    return " ".join(sql.split())[:60]


def locks_of(case: Any, url: str) -> Locks:
    """Give the locks of a database, until the test ends."""
    locks = Locks(url)
    case.addCleanup(locks.close)
    return locks
