"""What the databases raise, as stor's errors: two tables, one meaning.

Texts of statements that failed are cut down to what holds no values of rows: the rest could be anybody's secret.
"""

import sqlite3

import psycopg

from stor.errors import Conflict, Failed, Full, StorError, Unavailable

AWAY_SECONDS = 1.0  # what we tell callers to wait for

_SQLITE_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}  # the second: no room for the log's own index
_SQLITE_AWAY = {
    sqlite3.SQLITE_BUSY: "another process is writing to the database",
    sqlite3.SQLITE_LOCKED: "another process is writing to the database",
    sqlite3.SQLITE_IOERR: "the database cannot be read or written",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened",
    sqlite3.SQLITE_PERM: "the database cannot be opened",
    sqlite3.SQLITE_READONLY: "the database cannot be written",
    sqlite3.SQLITE_NOMEM: "the database has no memory",
}
_SQLITE_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

_POSTGRES: dict[str, tuple[type[StorError], str]] = {  # by SQLSTATE, or its class
    "53100": (Full, "the database has no room left"),
    "57014": (Unavailable, "the database took too long"),
    "55P03": (Unavailable, "the database took too long"),
    "40": (Unavailable, "the database is too busy"),
    "53": (Unavailable, "the database is too busy"),
    "08": (Unavailable, "the database cannot be reached"),
    "28": (Unavailable, "the database refuses our credential"),
    "3D": (Unavailable, "the database does not exist"),
    "57": (Unavailable, "the database is going down or coming up"),
    "58": (Unavailable, "the database cannot be read or written"),
    "23": (Conflict, "the database's rules do not allow it"),
    "25006": (Failed, "a read cannot write"),
    "XX001": (Failed, "the database is damaged"),
    "XX002": (Failed, "the database is damaged"),
}


def of_sqlite(error: sqlite3.Error) -> StorError:
    """Say in our words what SQLite said."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # errors of the module itself have none
    kind = code & 0xFF
    if code in _SQLITE_FULL:
        return Full("the database has no room left")
    if kind in _SQLITE_AWAY:
        return Unavailable(_SQLITE_AWAY[kind], AWAY_SECONDS)
    if kind == sqlite3.SQLITE_CONSTRAINT:
        return Conflict(f"the database's rules do not allow it: {error}")
    if kind in _SQLITE_BROKEN:
        return Failed("the database is damaged")
    return Failed(f"SQL: {error}")


def of_postgres(error: psycopg.Error) -> StorError:
    """Say in our words what PostgreSQL, or the way to it, said."""
    state = error.sqlstate or ""
    known = _POSTGRES.get(state) or _POSTGRES.get(state[:2])
    if known is None and not state and isinstance(error, psycopg.OperationalError):
        known = (Unavailable, "the database cannot be reached")
    if known is None:
        said = error.diag.message_primary if state.startswith("42") else type(error).__name__
        return Failed(f"SQL: {state} {said}")
    kind, text = known
    if kind is Unavailable:
        return Unavailable(text, AWAY_SECONDS)
    if kind is Conflict and error.diag.constraint_name:
        return Conflict(f"{text}: {error.diag.constraint_name}")
    return kind(text)
