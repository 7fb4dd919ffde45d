"""Rows in a SQLite file: one thread that writes for all, a few that read."""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from stor.database import group
from stor.database.group import Outcome, Work
from stor.database.migrations import fall, known, rise
from stor.database.promise import Transaction
from stor.database.session import ReadSession, WriteSession, make_file
from stor.database.writer import Writer
from stor.errors import Unavailable
from stor.threads import Threads

T = TypeVar("T")

READERS = 4
LOG_BYTES = 16 << 20  # the write-ahead log is emptied beyond that


class Sqlite(Service):
    """The `Database` promise over a file, which several processes may use at once."""

    kind: Literal["sqlite"] = "sqlite"

    def __init__(self, path: Path, reactor: Any) -> None:
        self._path = path
        self._writing = Threads("database-write", 1, reactor)
        self._reading = Threads("database-read", READERS, reactor)
        self._session: WriteSession | None = None
        self._idle: deque[ReadSession] = deque()
        self._emptied_at = 0

    def __repr__(self) -> str:
        return f"<Sqlite {self._path}>"

    def startService(self) -> Deferred[None]:
        """Fires when the file is there and has the shape that we know; ConfigError, Failed or Unavailable."""
        super().startService()
        self._writer = Writer(self._commit)
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Fires when all that came is done, and the file can be copied without its log."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run it in the next group; see `Database.write`."""
        if self._session is None:
            raise Unavailable("the database is closed")
        value: T = await self._writer.write(work)
        return value

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run it on the state as it is when a thread is free; see `Database.read`."""
        if self._session is None:
            raise Unavailable("the database is closed")
        return await self._reading.run(self._read, work)

    async def _start(self) -> None:
        self._writing.startService()
        self._reading.startService()
        try:
            await self._writing.run(self._open)
        except BaseException:
            await self._stop()
            raise

    async def _stop(self) -> None:
        if self._writing.running:  # else the start has failed
            await self._writer.close()
            await self._reading.stopService()
            await self._writing.run(self._close)
            await self._writing.stopService()

    def _open(self) -> None:
        make_file(self._path)
        session = WriteSession(self._path)
        try:
            rise(lambda work: _alone(session, work), known(self.kind))
        except BaseException:
            session.close()
            raise
        self._session = session

    def _close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        session, self._session = self._session, None
        if session is not None:
            session.close()

    async def _commit(self, works: Sequence[Work]) -> list[Outcome]:
        outcomes, log_bytes = await self._writing.run(self._commit_now, works)
        self._emptied_at = min(self._emptied_at, log_bytes)
        if log_bytes > self._emptied_at + LOG_BYTES:  # who reads for long is waited for once in so many bytes
            Deferred.fromCoroutine(self._writing.run(self._empty_log))  # behind the answers, before the next group
        return outcomes

    def _commit_now(self, works: Sequence[Work]) -> tuple[list[Outcome], int]:
        if self._session is None:
            raise Unavailable("the database is closed")
        return group.commit(self._session, works), self._session.log_bytes()

    def _empty_log(self) -> None:
        if self._session is not None:
            self._session.empty_log()
            self._emptied_at = self._session.log_bytes()

    def _read(self, work: Callable[[Transaction], T]) -> T:
        try:
            session = self._idle.pop()
        except IndexError:  # at most one for each thread
            session = ReadSession(self._path)
        try:
            return session.read(work)
        finally:
            self._idle.append(session)


def down(path: Path, to: int) -> None:
    """Take a database that nobody uses back to migration number `to`; blocks."""
    session = WriteSession(path)
    try:
        fall(lambda work: _alone(session, work), known(Sqlite.kind), to)
    finally:
        session.close()


def _alone(session: WriteSession, work: Callable[[Transaction], T]) -> T:
    """Run one work in a transaction of its own; raises what it raised."""
    (outcome,) = group.commit(session, [work])
    if outcome.error is not None:
        raise outcome.error
    value: T = outcome.value
    return value
