"""Bytes that are here already, into the body of an object, at its pace."""

from hashlib import sha256

from stor.errors import Failed, Missing, PreconditionFailed
from stor.objects.resumable.records import Part
from stor.objects.resumable.rules import Doubtful
from stor.storage.promise import Store
from stor.streams.sink import Sink
from stor.streams.spool import Spool
from stor.threads import Threads


async def pour_spool(spool: Spool, body: Sink, threads: Threads) -> None:
    """Copy a finished spool, which stays as it is."""
    if spool.data is not None:
        body.write(spool.data)
        return
    pieces = spool.read_chunks()
    while piece := await threads.run(next, pieces, b""):
        await _write(body, piece)


async def pour_part(store: Store, part: Part, body: Sink, threads: Threads) -> None:
    """Copy a part; Doubtful when it is gone, was touched since it was put, or has other bytes.

    That is known when all of it has been copied: then `body` must not be used.
    """
    try:
        size, digest = await _pour(store, part, body, threads)
    except (Missing, PreconditionFailed, Failed):  # the last: it was cut off, or a store says what we do not know
        raise Doubtful(part.start) from None
    if (size, digest) != (part.size, part.digest):
        raise Doubtful(part.start)


async def _pour(store: Store, part: Part, body: Sink, threads: Threads) -> tuple[int, str]:
    """Give the size of what the store has, and the digest of as much as was copied."""
    found = await store.get(part.copy, etag=part.etag)
    source, digest = found.body, sha256()
    if isinstance(source, bytes):
        digest.update(source)
        await _write(body, source)
        return len(source), digest.hexdigest()
    try:
        if found.info.size == part.size:
            while piece := await source.read():
                await threads.run(digest.update, piece)
                await _write(body, piece)
    finally:
        source.close()
    return found.info.size, digest.hexdigest()


async def _write(body: Sink, piece: bytes) -> None:
    room = body.write(piece)
    if room is not None:
        await room
