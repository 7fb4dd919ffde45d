"""Connections to a SQLite file, each used by one thread at a time: `WriteSession` and `ReadSession`."""

import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from stor.database.faults import of_sqlite
from stor.database.promise import Row, Transaction
from stor.database.statements import Statements
from stor.errors import ConfigError, Failed, StorError

T = TypeVar("T")

BUSY_SECONDS = 4.0  # how long another process may hold what we need
_CACHED_STATEMENTS = 256


class SqliteTransaction(Statements[sqlite3.Error]):
    """Statements on one connection."""

    def __init__(self, db: sqlite3.Connection, tell: Callable[[sqlite3.Error], StorError] = of_sqlite) -> None:
        super().__init__(sqlite3.Error, tell)
        self._db = db

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one statement and give its rows."""
        with self._told():
            rows: list[Row] = self._db.execute(sql, parameters).fetchall()
            return rows

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        """Run one statement for each row of parameters; give the number of rows it changed."""
        with self._told():
            return max(0, self._db.executemany(sql, rows).rowcount)


class ReadSession:
    """Reads one state after the other; cannot write."""

    def __init__(self, path: Path) -> None:
        self._db = _connect(path)
        self._db.execute("PRAGMA query_only=ON")

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on the state as it is now."""
        transaction = SqliteTransaction(self._db, _of_read)
        transaction.execute("BEGIN")
        try:
            return transaction.run(work)
        finally:
            _rollback(self._db)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


class CheckpointSession:
    """Moves the write-ahead log into the database while others read and write."""

    def __init__(self, path: Path) -> None:
        self._db = _connect(path)

    def move_log(self) -> None:
        """Move what nobody reads from the log any more; nobody waits for it, and it waits for nobody."""
        with suppress(sqlite3.Error):  # the log is still there, and as good
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


class WriteSession:
    """One transaction after the other, each with the file's only write lock."""

    def __init__(self, path: Path) -> None:
        self._log = path.with_name(path.name + "-wal")
        self._db = _connect(path)
        self._wait(0)  # SQLite looks again only every 100 ms, and starves beside a process that always commits
        self._db.execute("PRAGMA wal_autocheckpoint=0")  # inside a commit everybody would wait for it

    def begin(self) -> None:
        """Take the write lock: looks every few milliseconds; Unavailable when it cannot be had."""
        deadline = time.monotonic() + BUSY_SECONDS
        while not self._begun(again=time.monotonic() < deadline):
            time.sleep(random.uniform(0.001, 0.004))  # noqa: S311 - no secret, only out of step with the others

    def _begun(self, again: bool) -> bool:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if again and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                return False
            raise of_sqlite(error) from None
        return True

    @property
    def begun(self) -> bool:
        """Whether a transaction is under way."""
        return self._db.in_transaction

    def apart(self, work: Callable[[Transaction], T]) -> T:
        """Run one work in a savepoint of its own; what it raises undoes it.

        When that has ended the whole transaction (`begun` tells), the reason is raised instead: always a StorError.
        """
        transaction = SqliteTransaction(self._db)
        transaction.execute("SAVEPOINT work")
        try:
            value = transaction.run(work)
            transaction.execute("RELEASE work")
            return value
        except BaseException:
            self._undo_work()
            if transaction.fault is not None and not self.begun:
                raise transaction.fault from None
            raise

    def _undo_work(self) -> None:
        if self.begun:  # a full disk may have ended all of it
            try:
                self._db.execute("ROLLBACK TO work")
                self._db.execute("RELEASE work")
            except sqlite3.Error as error:
                self.rollback()
                raise of_sqlite(error) from None

    def commit(self) -> None:
        """Make it durable."""
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise of_sqlite(error) from None

    def rollback(self) -> None:
        """Undo what is under way, if anything is."""
        _rollback(self._db)

    def log_bytes(self) -> int:
        """Tell how long the write-ahead log is."""
        try:
            return self._log.stat().st_size
        except FileNotFoundError:
            return 0

    def empty_log(self) -> None:
        """Move the write-ahead log into the database once those who read from it have ended, if they do soon.

        The passive way never begins the log anew while readers or writers follow each other without a gap; this one
        lets newcomers read from the database, and waits for the others.
        """
        self._wait(1)
        with suppress(sqlite3.Error):  # the log is still there, and as good
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._wait(0)

    def _wait(self, seconds: int) -> None:
        self._db.execute(f"PRAGMA busy_timeout={seconds * 1000}")

    def close(self) -> None:
        """Let go of the file, its log emptied."""
        self.empty_log()
        self._db.close()


def make_file(path: Path) -> None:
    """Make the file, if there is none, so that only we may read it and its name is durable."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as why:
        raise ConfigError(f"cannot open the database {path}: {why.strerror}") from None
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(
            path,
            timeout=BUSY_SECONDS,
            isolation_level=None,  # transactions are begun and ended by us
            check_same_thread=False,
            cached_statements=_CACHED_STATEMENTS,
        )
        (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA foreign_keys=ON")
    except sqlite3.Error as error:
        raise of_sqlite(error) from None
    if mode != "wal":  # said instead of raised, on some network file systems
        db.close()
        raise Failed("SQLite cannot keep a write-ahead log in the folder of the database")
    return db


def _rollback(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        with suppress(sqlite3.Error):  # then it is undone by who opens the file next
            db.execute("ROLLBACK")


def _of_read(error: sqlite3.Error) -> StorError:
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY:
        return Failed("a read cannot write")
    return of_sqlite(error)
