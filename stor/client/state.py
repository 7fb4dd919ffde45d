"""What a folder remembers between syncs, in `.stor-sync/state.db`: what was agreed on, md5s, and files on their way."""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from stor.client.paths import KEPT
from stor.client.plan import Base
from stor.client.tree import Stamp
from stor.errors import Conflict, Failed

_VERSION = 1
_WAIT = 10.0  # seconds, for somebody who looks into the file
_SCHEMA = """
CREATE TABLE remotes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE base (remote INTEGER NOT NULL, path TEXT NOT NULL, md5 TEXT NOT NULL, version INTEGER,
    PRIMARY KEY (remote, path)) WITHOUT ROWID;
CREATE TABLE seen (path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL,
    inode INTEGER NOT NULL, md5 TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE moves (name TEXT PRIMARY KEY, path TEXT NOT NULL, wanted TEXT, expected TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Move:
    """A file in `tmp` that is about to change places with `path`.

    `wanted` is the md5 of what we put there, `expected` of what we take away; None where there is no such thing.
    """

    name: str
    path: str
    wanted: str | None
    expected: str | None


class State:
    """The memory of one folder about one remote; any thread may call."""

    def __init__(self, database: sqlite3.Connection, remote: str) -> None:
        self._database, self._lock = database, Lock()
        with self._changing():
            database.execute("INSERT OR IGNORE INTO remotes (name) VALUES (?)", (remote,))
        self._remote: int = database.execute("SELECT id FROM remotes WHERE name = ?", (remote,)).fetchone()[0]

    def close(self) -> None:
        """Let go of it; what was said is kept."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._database:
            yield self._database

    def base(self) -> dict[str, Base]:
        """Give what was agreed on, for each path."""
        with self._lock:
            rows = self._database.execute("SELECT path, md5, version FROM base WHERE remote = ?", (self._remote,))
            return {path: Base(md5, version) for path, md5, version in rows}

    def record(self, agreed: Mapping[str, Base | None]) -> None:
        """Remember what both sides have now, None: no file. A power cut may take it back, which is safe."""
        rows = [(self._remote, path, base.md5, base.version) for path, base in agreed.items() if base is not None]
        gone = [(self._remote, path) for path, base in agreed.items() if base is None]
        with self._changing() as database:
            database.executemany("INSERT OR REPLACE INTO base VALUES (?, ?, ?, ?)", rows)
            database.executemany("DELETE FROM base WHERE remote = ? AND path = ?", gone)

    def seen(self) -> dict[str, tuple[Stamp, str]]:
        """Give the md5s of files that were read, with the stamps they had."""
        with self._lock:
            rows = self._database.execute("SELECT path, size, mtime, ctime, inode, md5 FROM seen")
            return {path: (Stamp(*rest), md5) for path, *rest, md5 in rows}

    def remember(self, read: Iterable[tuple[str, Stamp, str]], gone: Iterable[str]) -> None:
        """Keep the md5s of files that were read, and forget those that are gone."""
        rows = [(path, stamp.size, stamp.mtime, stamp.ctime, stamp.inode, md5) for path, stamp, md5 in read]
        with self._changing() as database:
            database.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?)", rows)
            database.executemany("DELETE FROM seen WHERE path = ?", [(path,) for path in gone])

    def begin(self, move: Move) -> None:
        """Write down a move before it is made; durable, so that it is known whose file an unknown one in `tmp` is."""
        with self._lock:
            self._database.execute("PRAGMA synchronous = FULL")
            try:
                with self._database:
                    row = (move.name, move.path, move.wanted, move.expected)
                    self._database.execute("INSERT OR REPLACE INTO moves VALUES (?, ?, ?, ?)", row)
            finally:
                self._database.execute("PRAGMA synchronous = NORMAL")

    def end(self, name: str) -> None:
        """Forget a move: `tmp` has no file of this name any more."""
        with self._changing() as database:
            database.execute("DELETE FROM moves WHERE name = ?", (name,))

    def moves(self) -> list[Move]:
        """Give the moves that an interruption left."""
        with self._lock:
            return [Move(*row) for row in self._database.execute("SELECT name, path, wanted, expected FROM moves")]


def opened(root: Path, remote: str) -> State:
    """Open the memory of a folder, made when there is none; Failed when it is damaged or of a later stor."""
    file = root / KEPT / "state.db"
    with _explained(file), ExitStack() as stack:
        database = stack.enter_context(closing(sqlite3.connect(file, check_same_thread=False, timeout=_WAIT)))
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        _check(database, file)
        state = State(database, remote)
        stack.pop_all()
        return state


def borrowed(root: Path, remote: str) -> State:
    """Give a copy in memory, for a dry run; empty when nothing was ever synced."""
    file = root / KEPT / "state.db"
    with _explained(file), ExitStack() as stack:
        database = stack.enter_context(closing(sqlite3.connect(":memory:", check_same_thread=False)))
        if file.exists():
            where = f"{file.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(where, uri=True, timeout=_WAIT)) as source:
                source.backup(database)
        _check(database, file)
        state = State(database, remote)
        stack.pop_all()
        return state


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as why:
        raise Failed(f"{file}: {why}; move {file.parent} away, and the next sync agrees anew") from None


def _check(database: sqlite3.Connection, file: Path) -> None:
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    elif version != _VERSION:
        raise Failed(f"{file} is of a later stor")


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the folder for one sync; Conflict when another one has it, Failed when there is no such folder."""
    try:
        for folder in (root / KEPT, root / KEPT / "tmp"):
            folder.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(root / KEPT / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as why:
        raise Failed(f"{root}: {why.strerror}") from None
    try:
        _claim(lock, root)
        yield
    finally:
        os.close(lock)


def _claim(lock: int, root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(f"another sync of {root} is under way") from None
