"""The file-per-object protocol as it is usually built: PostgreSQL for rows, a file for each content, no grouping.

An upload is three commits and two fsyncs, in this order: a row that says WRITING; the file, its fsync, its rename and
the fsync of its folder; the row of the content; the object's row, COMMITTED. It runs on uvicorn with uvloop and
httptools, as ASGI without a framework; each request is worked on by one thread of a pool, with a connection of its
own: that was half as fast again as asynchronous connections.

usage: replay.py PORT FOLDER, the database's URL in the environment (DATABASE_URL)
"""

import asyncio
import hashlib
import os
import sys
import threading
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import uvicorn

THREADS = 16
SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    id UUID PRIMARY KEY, key TEXT NOT NULL UNIQUE, state TEXT NOT NULL, hash TEXT, size BIGINT,
    content_type TEXT NOT NULL, created_at TIMESTAMPTZ NOT NULL DEFAULT now(), updated_at TIMESTAMPTZ);
CREATE TABLE IF NOT EXISTS blobs (hash TEXT PRIMARY KEY, size BIGINT NOT NULL, refs BIGINT NOT NULL, path TEXT NOT NULL)
"""
RESERVE = "INSERT INTO objects (id, key, state, content_type) VALUES (%s, %s, 'WRITING', %s)"
CONTENT = """
INSERT INTO blobs (hash, size, refs, path) VALUES (%s, %s, 1, %s)
ON CONFLICT (hash) DO UPDATE SET refs = blobs.refs + 1
"""
COMMIT = "UPDATE objects SET state = 'COMMITTED', hash = %s, size = %s, updated_at = now() WHERE id = %s"
FIND = """
SELECT blobs.path, objects.content_type FROM objects JOIN blobs ON blobs.hash = objects.hash
WHERE objects.key = %s AND objects.state = 'COMMITTED'
"""

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Files:
    """Contents as files below `root`, each under its hash."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for number in range(256):
            (root / "sha256" / f"{number:02x}").mkdir(parents=True, exist_ok=True)
        (root / "tmp").mkdir(exist_ok=True)

    def keep(self, body: bytes, digest: str) -> str:
        """Write a file, durably; give its path."""
        temporary, folder = self._root / "tmp" / uuid.uuid4().hex, self._root / "sha256" / digest[:2]
        path = folder / digest
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, body)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)  # noqa: PTH104 - the reference does not do more than it must
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        return str(path)


class Uploads:
    """Objects in PostgreSQL; each thread has a connection."""

    def __init__(self, root: Path, url: str) -> None:
        self._files, self._url, self._local = Files(root), url, threading.local()
        self._execute(SCHEMA)

    def put(self, key: str, body: bytes) -> tuple[int, bytes]:
        """Keep it, durably; each statement is a transaction."""
        number, digest = str(uuid.uuid4()), hashlib.sha256(body).hexdigest()
        self._execute(RESERVE, number, key, "application/octet-stream")
        path = self._files.keep(body, digest)
        self._execute(CONTENT, digest, len(body), path)
        self._execute(COMMIT, digest, len(body), number)
        return 201, f'{{"id":"{number}","content_hash":"sha256:{digest}"}}'.encode()

    def get(self, key: str) -> tuple[int, bytes]:
        """Give its bytes."""
        found = self._execute(FIND, key).fetchone()
        return (404, b"") if found is None else (200, Path(found[0]).read_bytes())

    def _execute(self, sql: str, *values: object) -> psycopg.Cursor[tuple[str, str]]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = psycopg.connect(self._url, autocommit=True)
        return connection.execute(sql, values, prepare=True) if values else connection.execute(sql)


class Service:
    """`PUT /objects/{key}` and `GET /objects/{key}`, as an ASGI application."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads, self._threads = uploads, ThreadPoolExecutor(THREADS)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        key, loop = scope["path"].removeprefix("/objects/"), asyncio.get_running_loop()
        if scope["method"] == "PUT":
            body = await _all(receive)
            status, said = await loop.run_in_executor(self._threads, self._uploads.put, key, body)
        else:
            status, said = await loop.run_in_executor(self._threads, self._uploads.get, key)
        length = (b"content-length", str(len(said)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [length]})
        await send({"type": "http.response.body", "body": said})


async def _all(receive: Receive) -> bytes:
    pieces = []
    more = True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)


def main() -> None:
    """Serve until a signal."""
    service = Service(Uploads(Path(sys.argv[2]), os.environ["DATABASE_URL"]))
    quick = {"loop": "uvloop", "http": "httptools", "lifespan": "off", "access_log": False, "log_level": "warning"}
    uvicorn.run(service, host="127.0.0.1", port=int(sys.argv[1]), **quick)


if __name__ == "__main__":
    main()
