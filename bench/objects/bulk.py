"""Many objects in a stopped stor's database at once, as uploads would have left them."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import time

import psycopg

from bench.objects.peer import content, key_of
from bench.objects.peers import Stor, StorPostgres
from stor.objects.ids import copy_name, new_id
from stor.storage import keys, trailer

OBJECT = (
    "id, tenant, namespace, key, slot, state, class, blob, digest, size, content_type, metadata, created_at, updated_at"
)
BLOB = "id, digest, class, size, refs, copy, etag, checked_at, data"
USAGE = "tenant, namespace, class, shard, bytes, objects"
TYPE = "application/octet-stream"
SIZE = 1024


@dataclass(frozen=True)
class Bulk:
    """So many objects of 1 KiB, COMMITTED or (so the collector's) DELETING; their bytes in rows, or in a `folder`.."""

    count: int
    state: str = "COMMITTED"
    folder: Path | None = None

    def blobs(self) -> Iterator[tuple[object, ...]]:
        """Give the rows of BLOB; with a folder, write their files first, as the store does but for the fsync."""
        now = _now()
        for number in range(1, self.count + 1):
            body = _body(number)
            digest = sha256(body)
            copy = None if self.folder is None else copy_name(digest.hexdigest())
            if copy is not None:
                self._write(copy, body)
            data = body if copy is None else None
            yield (number, digest.digest(), "hot", SIZE, 1, copy, "" if copy is None else "bulk", now, data)

    def objects(self) -> Iterator[tuple[object, ...]]:
        """Give the rows of OBJECT."""
        began = _now() - self.count
        slot = "" if self.state == "COMMITTED" else None
        for number in range(1, self.count + 1):
            digest, when = sha256(_body(number)).digest(), began + number
            name = ("bench", "bench", key_of("bulk", number))
            yield (new_id(), *name, slot, self.state, "hot", number, digest, SIZE, TYPE, "{}", when, when)

    def usage(self) -> Iterator[tuple[object, ...]]:
        """Give the rows of USAGE."""
        if self.state == "COMMITTED":
            yield ("bench", "bench", "hot", 0, self.count * SIZE, self.count)

    def tables(self) -> Iterator[tuple[str, str, Iterator[tuple[object, ...]]]]:
        """Give each table, its columns and its rows."""
        yield "object_blob", BLOB, self.blobs()
        yield "object", OBJECT, self.objects()
        yield "object_usage", USAGE, self.usage()

    def _write(self, copy: str, body: bytes) -> None:
        assert self.folder is not None
        path = self.folder / keys.path_of(copy).decode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body + trailer.write(SIZE, None, {}))


def preload(stor: Stor, bulk: Bulk) -> None:
    """Start it once, so that its database has its shape; stop it, and put all in; it is not running afterwards."""
    stor.start()
    stor.stop()
    if isinstance(stor, StorPostgres):
        _postgres(stor.url, bulk)
    else:
        _sqlite(stor.data / "stor.db", bulk)


def _sqlite(path: Path, bulk: Bulk) -> None:
    db = sqlite3.connect(path)
    for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000"):  # a crash costs us nothing
        db.execute(f"PRAGMA {setting}")
    insert: Callable[[str, str], str] = "INSERT INTO {} ({}) VALUES ({})".format
    for table, columns, rows in bulk.tables():
        db.executemany(insert(table, columns, ", ".join("?" * (columns.count(",") + 1))), rows)
    db.commit()
    db.execute("PRAGMA journal_mode = WAL")
    db.close()


def _postgres(url: str, bulk: Bulk) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        with db.transaction(), db.cursor() as cursor:
            for table, columns, rows in bulk.tables():
                with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
            db.execute("SELECT setval(pg_get_serial_sequence('object_blob', 'id'), %s)", (bulk.count,))
        db.execute("VACUUM ANALYZE")
        db.execute("CHECKPOINT")


def _body(number: int) -> bytes:
    return content(key_of("bulk", number))


def _now() -> int:
    return int(time() * 1_000_000)
