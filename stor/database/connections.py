"""Connections to one PostgreSQL: dialled when needed, kept while they are good, never more than there are threads."""

import os
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from twisted.logger import Logger

from stor.database.faults import AWAY_SECONDS, of_postgres
from stor.errors import ConfigError, Unavailable
from stor.logs import redact

log = Logger()

CONNECT_SECONDS = 3
IDLE_SECONDS = 60.0  # what lay about for longer may have been forgotten by a firewall
LIFE_SECONDS = 1800.0  # a server's memory of a connection grows, and its name may lead elsewhere by now


class Line:
    """One connection, and a handle to its socket by which another thread may end it."""

    def __init__(self, db: "psycopg.Connection[tuple[Any, ...]]") -> None:
        self.db = db
        self.dialled = self.used = time.monotonic()
        self._socket = socket.socket(fileno=os.dup(db.fileno()))

    @property
    def status(self) -> TransactionStatus:
        """Whether it is idle, in a transaction, or broken (UNKNOWN)."""
        return self.db.info.transaction_status

    def stale(self) -> bool:
        """Whether it is better not used again."""
        now = time.monotonic()
        return now - self.used > IDLE_SECONDS or now - self.dialled > LIFE_SECONDS

    def cut(self) -> None:
        """Make who waits for an answer hear the end; safe from any thread, as closing is not."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()
        self.db.close()


class Connections:
    """Lends each connection to one thread at a time, the one used last first.

    A pool that dials by itself (psycopg_pool) makes everybody wait for its time-out while the server is away, and
    for its growing pauses after the server is back. Here who needs a connection dials. When that has failed, only
    one at a time tries again, a second later; all others are refused at once.
    """

    def __init__(self, url: str) -> None:
        try:
            self._password = str(conninfo_to_dict(url).get("password") or "")
        except psycopg.Error:
            raise ConfigError("the URL of the database is none that PostgreSQL knows") from None
        self._url = url
        self._idle: deque[Line] = deque()
        self._was_there = False  # when we dialled last
        self._away_until = 0.0
        self._trying = Lock()
        self.why = ""  # the server could not be reached last time; for the operator, without the password

    def __repr__(self) -> str:
        return f"<Connections idle={len(self._idle)}>"

    @contextmanager
    def lend(self) -> Iterator[Line]:
        """Lend one that should be good; one that comes back in a transaction, or broken, is not kept."""
        line = self._kept() or self._dial()
        try:
            yield line
        finally:
            if line.status == TransactionStatus.IDLE:
                line.used = time.monotonic()
                self._idle.append(line)
            else:
                line.close()

    def drop_idle(self) -> None:
        """Close what nobody uses: when the server has ended one, the others are probably gone too."""
        while (line := self._pop()) is not None:
            line.close()

    def _kept(self) -> Line | None:
        while (line := self._pop()) is not None and line.stale():
            line.close()
        return line

    def _pop(self) -> Line | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _dial(self) -> Line:
        if self._was_there:
            return self._dialled()
        if time.monotonic() < self._away_until or not self._trying.acquire(blocking=False):
            raise Unavailable("the database cannot be reached", AWAY_SECONDS)
        try:
            return self._dialled()
        finally:
            self._trying.release()

    def _dialled(self) -> Line:
        try:
            line = Line(self._connected())
        except psycopg.Error as error:
            self._away(redact(str(error), [self._password]))
            raise of_postgres(error) from None
        self._was_there = True
        return line

    def _away(self, why: str) -> None:
        self.why = why
        self._away_until = time.monotonic() + AWAY_SECONDS
        if self._was_there:  # said once
            self._was_there = False
            log.warn("the database cannot be reached: {why}", why=why)

    def _connected(self) -> "psycopg.Connection[tuple[Any, ...]]":
        return psycopg.connect(
            self._url,
            autocommit=True,  # transactions are begun and ended by us
            connect_timeout=CONNECT_SECONDS,
            application_name="stor",
            prepare_threshold=None,  # what sits between may share connections, which then lack what was prepared
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
        )
