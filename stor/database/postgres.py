"""Rows in a PostgreSQL: a few threads, each with a connection."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from stor.database.attempt import Attempt
from stor.database.connections import Connections
from stor.database.faults import AWAY_SECONDS
from stor.database.lane import Lane
from stor.database.migrations import fall, known, rise
from stor.database.promise import OURSELVES, Asker, Transaction
from stor.errors import Unavailable
from stor.threads import Threads

T = TypeVar("T")

CONNECTIONS = 8
MOST_WAITING = 4096
SECONDS = 5.0  # for a call, its place in the queue and all its attempts
_MILLISECONDS = int(SECONDS * 1000)
_MIGRATION_LOCK = 0x73746F72  # a number that everybody who migrates agrees on

# The limits hold for one transaction, so they are right behind a proxy that shares connections, too.
_LIMITS = (
    f"; SET LOCAL statement_timeout = {_MILLISECONDS}; SET LOCAL idle_in_transaction_session_timeout = {_MILLISECONDS}"
)
# Each statement sees what was committed before it; a server that is told not to wait for its disk waits for ours.
_WRITE = f"""BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE{_LIMITS};
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"""
_READ = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{_LIMITS}"
_SURVEY = """BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '60s';
SET LOCAL idle_in_transaction_session_timeout = '60s'"""
_MIGRATE = f"""BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '60s'; SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"""


class Postgres(Service):
    """The `Database` promise over a server; one that is away is used again as soon as it is back.

    A `write` sees, with each statement, what others have committed before that statement: a value that is read and
    then written must be read by the statement that writes (`UPDATE … SET n = n + 1 … RETURNING n`, which also locks
    the row), on either database.
    """

    kind: Literal["postgresql"] = "postgresql"

    def __init__(self, url: str, reactor: Any) -> None:
        self._connections = Connections(url)
        self._threads = Threads("database", CONNECTIONS, reactor, waiting=MOST_WAITING, seconds=SECONDS)
        self._browsing = Lane("database-browse", reactor, seconds=SECONDS)
        self._migrating = Threads("database-migration", 1, reactor)
        self._surveying = Threads("database-survey", 1, reactor)

    def __repr__(self) -> str:
        return "<Postgres>"

    def startService(self) -> Deferred[None]:
        """Fires when the database has the shape that we know; ConfigError, or Unavailable with the reason."""
        super().startService()
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Fires when all that came is done."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run it in a transaction; see `Database.write`. After Unavailable it may have been done all the same."""
        return await self._call(_WRITE, work)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run it on the state as it is when a thread is free; see `Database.read`."""
        return await self._call(_READ, work)

    async def browse(self, work: Callable[[Transaction], T], asker: Asker = OURSELVES) -> T:
        """Run it on connections that nothing else needs; see `Database.browse`."""
        attempt = Attempt(self._connections, _READ)
        try:
            return await self._browsing.run(asker, attempt.run, work)
        except Unavailable:
            attempt.cut()
            raise

    async def survey(self, work: Callable[[Transaction], T]) -> T:
        """Run it on one state, for as long as it takes; no statement of it may take a minute. See `Database.survey`."""
        if not self._surveying.running:
            raise Unavailable("the database is closed")
        attempt = Attempt(self._connections, _SURVEY)
        try:
            return await self._surveying.run(attempt.run, work)
        except BaseException:
            attempt.cut()  # who waited for it may have left
            raise

    async def _call(self, begin: str, work: Callable[[Transaction], T]) -> T:
        if not self._threads.running:
            raise Unavailable("the database is closed")
        attempt = Attempt(self._connections, begin)
        try:
            return await self._threads.run(attempt.run, work)
        except Unavailable:
            attempt.cut()  # perhaps it only took too long, and its thread still waits
            raise

    async def _start(self) -> None:
        self._migrating.startService()
        try:
            await self._migrating.run(rise, self._migrate, known(self.kind))
        except Unavailable as away:
            raise Unavailable(f"{away}: {self._connections.why}", AWAY_SECONDS) from None
        finally:
            await self._migrating.stopService()
        self._threads.startService()
        self._surveying.startService()
        self._browsing.startService()

    def _migrate(self, work: Callable[[Transaction], bool]) -> bool:
        return Attempt(self._connections, _MIGRATE).run(work)

    async def _stop(self) -> None:
        if self._threads.running:  # else the start has failed
            await self._browsing.stopService()
            await self._threads.stopService()
            await self._surveying.stopService()
        self._connections.drop_idle()


def down(url: str, to: int) -> None:
    """Take a database that nobody uses back to migration number `to`; blocks."""
    connections = Connections(url)
    try:
        fall(lambda work: Attempt(connections, _MIGRATE).run(work), known(Postgres.kind), to)
    finally:
        connections.drop_idle()
