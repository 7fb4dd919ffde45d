"""One work on PostgreSQL, from BEGIN to COMMIT, and again where that is safe."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from stor.database.connections import Connections, Line
from stor.database.faults import AWAY_SECONDS, of_postgres
from stor.database.marks import marked
from stor.database.promise import Row, Transaction
from stor.database.statements import Statements
from stor.errors import StorError, Unavailable

T = TypeVar("T")

MOST_ATTEMPTS = 6
_STEPPED_ON = {"40001", "40P01"}  # serialization failure, deadlock: the other one went on, so we may try again


class PostgresTransaction(Statements[psycopg.Error]):
    """Statements on one connection."""

    def __init__(self, line: Line) -> None:
        super().__init__(psycopg.Error, of_postgres)
        self._line, self._cursor = line, line.db.cursor()

    def begin(self, how: str) -> None:
        """Begin; `how` may be several statements, which go in one packet."""
        with self._told():
            self._cursor.execute(how.encode(), prepare=False)

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one statement and give its rows."""
        with self._told():
            cursor = self._cursor.execute(marked(sql), parameters)
            return cursor.fetchall() if cursor.description else []

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        """Run one statement for each row of parameters; give the number of rows it changed."""
        with self._told():
            self._cursor.executemany(marked(sql), rows)
            return max(0, self._cursor.rowcount)

    def commit(self) -> None:
        """Make it durable."""
        with self._told():
            self._cursor.execute("COMMIT", prepare=False)

    def roll_back(self) -> None:
        """Undo it; on a connection that is lost the server has."""
        with suppress(psycopg.Error):
            self._cursor.execute("ROLLBACK", prepare=False)

    @property
    def stepped_on(self) -> bool:
        """Whether it failed only because others were faster."""
        return self.error is not None and self.error.sqlstate in _STEPPED_ON

    @property
    def lost(self) -> bool:
        """Whether it failed because the connection ended."""
        return self.error is not None and self._line.status == TransactionStatus.UNKNOWN


class Attempt:
    """A call's work in its thread; who waits for it may give it up."""

    def __init__(self, connections: Connections, begin: str) -> None:
        self._connections, self._begin = connections, begin
        self._lock = Lock()
        self._line: Line | None = None
        self._unwanted = False

    def cut(self) -> None:
        """End it, should it still be under way; from another thread."""
        with self._lock:
            self._unwanted = True
            if self._line is not None:
                self._line.cut()

    def run(self, work: Callable[[Transaction], T]) -> T:
        """Run the work until it is done, or should not be tried again."""
        for attempt in range(1, MOST_ATTEMPTS):
            try:
                return self._once(work)
            except _Again:
                time.sleep(random.uniform(0, 0.01 * attempt))  # noqa: S311 - no secret, only out of step
        try:
            return self._once(work)
        except _Again as again:
            raise again.why from None

    def _once(self, work: Callable[[Transaction], T]) -> T:
        with self._connections.lend() as line, self._held(line):
            transaction = PostgresTransaction(line)
            try:
                transaction.begin(self._begin)
                value = transaction.run(work)
            except BaseException:
                self._judge(transaction)
                raise
            self._commit(transaction)
            return value

    def _judge(self, transaction: PostgresTransaction) -> None:
        """Undo it; raise `_Again` when it was not the work's fault."""
        transaction.roll_back()
        if transaction.lost:
            self._connections.drop_idle()
        if transaction.fault is not None and (transaction.lost or transaction.stepped_on):
            raise _Again(transaction.fault) from None

    def _commit(self, transaction: PostgresTransaction) -> None:
        try:
            transaction.commit()
        except StorError as fault:
            if transaction.stepped_on:
                raise _Again(fault) from None
            if transaction.lost:
                raise Unavailable("the database was lost; whether it wrote is not known", AWAY_SECONDS) from None
            raise

    @contextmanager
    def _held(self, line: Line) -> Iterator[None]:
        with self._lock:
            if self._unwanted:
                raise Unavailable("the database took too long", AWAY_SECONDS)
            self._line = line
        try:
            yield
        finally:
            with self._lock:
                self._line = None


class _Again(Exception):
    """Nothing was done, and another attempt may do it."""

    def __init__(self, why: StorError) -> None:
        super().__init__()
        self.why = why
