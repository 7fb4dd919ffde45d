"""Rows in a SQLite file: one thread that writes for all, a few that read."""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from stor.database import group
from stor.database.group import Outcome, Work
from stor.database.lane import Lane
from stor.database.migrations import fall, known, rise
from stor.database.promise import OURSELVES, Asker, Transaction
from stor.database.session import CheckpointSession, ReadSession, WriteSession, make_file
from stor.database.writer import Writer
from stor.errors import Unavailable
from stor.threads import Threads

T = TypeVar("T")

READERS = 4
MOVED_BYTES = 2 << 20  # of the write-ahead log are worth being moved into the database, beside the writers
LOG_BYTES = 32 << 20  # the log is emptied beyond that; writers wait, but not for long: nearly all has been moved


class Sqlite(Service):
    """The `Database` promise over a file, which several processes may use at once."""

    kind: Literal["sqlite"] = "sqlite"

    def __init__(self, path: Path, reactor: Any) -> None:
        self._path = path
        self._writing = Threads("database-write", 1, reactor)
        self._reading = Threads("database-read", READERS, reactor)
        self._browsing = Lane("database-browse", reactor)
        self._moving = Threads("database-checkpoint", 1, reactor)
        self._session: WriteSession | None = None
        self._mover: CheckpointSession | None = None
        self._idle: deque[ReadSession] = deque()
        self._emptied_at = self._moved_at = 0
        self._is_moving, self._at_log = False, Lock()

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

    async def browse(self, work: Callable[[Transaction], T], asker: Asker = OURSELVES) -> T:
        """Run it in threads that nothing else needs; see `Database.browse`."""
        return await self._browsing.run(asker, self._read, work)

    async def survey(self, work: Callable[[Transaction], T]) -> T:
        """Run it as `read` does, which knows no limit; the log grows meanwhile, and writers wait a second in 16 MiB."""
        return await self.read(work)

    async def _start(self) -> None:
        self._writing.startService()
        self._reading.startService()
        self._browsing.startService()
        self._moving.startService()
        try:
            await self._writing.run(self._open)
        except BaseException:
            await self._stop()
            raise

    async def _stop(self) -> None:
        if self._writing.running:  # else the start has failed
            await self._writer.close()
            await self._browsing.stopService()
            await self._reading.stopService()
            await self._moving.stopService()
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
        self._session, self._mover = session, CheckpointSession(self._path)

    def _close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        mover, self._mover = self._mover, None
        if mover is not None:
            mover.close()
        session, self._session = self._session, None
        if session is not None:
            session.close()

    async def _commit(self, works: Sequence[Work]) -> list[Outcome]:
        outcomes, log_bytes = await self._writing.run(self._commit_now, works)
        self._look_at_log(log_bytes)
        return outcomes

    def _look_at_log(self, size: int) -> None:
        """Keep the log short: moved into the database bit by bit, and emptied when it has become long all the same."""
        self._emptied_at, self._moved_at = min(self._emptied_at, size), min(self._moved_at, size)
        if size > self._emptied_at + LOG_BYTES:  # who reads for long is waited for once in so many bytes
            Deferred.fromCoroutine(self._writing.run(self._empty_log))  # behind the answers, before the next group
        elif size > self._moved_at + MOVED_BYTES and not self._is_moving:
            self._is_moving, self._moved_at = True, size
            Deferred.fromCoroutine(self._move_log())

    async def _move_log(self) -> None:
        try:
            if self._mover is not None:
                await self._moving.run(self._move, self._mover)
        finally:
            self._is_moving = False

    def _move(self, mover: CheckpointSession) -> None:
        with self._at_log:
            mover.move_log()

    def _commit_now(self, works: Sequence[Work]) -> tuple[list[Outcome], int]:
        if self._session is None:
            raise Unavailable("the database is closed")
        return group.commit(self._session, works), self._session.log_bytes()

    def _empty_log(self) -> None:
        if self._session is not None:
            with self._at_log:  # writers wait for who moves it: or a slow disk would let it grow for ever
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
