"""The objects of a tree: looked at, put on a condition, read."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import md5

import msgspec

from stor.blobs.layout import Layout
from stor.blobs.rules import Entry
from stor.blobs.stored import Stored, metadata, stored
from stor.errors import Missing, PreconditionFailed, Unavailable
from stor.storage.promise import ABSENT, Found, Info, Store
from stor.streams import Body
from stor.streams.spool import Spool
from stor.threads import Threads

LOOKS = 5
"""At an object that changes while we read it."""
_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class Hint:
    """What an index of the older software says about a path; believed only where it agrees with the object."""

    md5: str
    is_deleted: bool
    version: int | None
    modified: int | None


class Files:
    """Objects by path. An entry is what the object says; `known` fills in what older software left out."""

    def __init__(self, store: Store, layout: Layout, threads: Threads) -> None:
        self.store, self.layout, self._threads = store, layout, threads
        self.hint: Callable[[str], Awaitable[Hint | None]] = no_hint
        """Asked about paths that are not known, when their objects do not say all."""

    async def look(self, path: str, known: Entry | None) -> Entry | None:
        """Give what is there now, live or a tombstone; None when nothing is."""
        for _ in range(LOOKS):
            try:
                return await self.understood(path, await self.store.head(self.layout.file(path)), known)
            except Missing:
                return None
            except PreconditionFailed:
                continue  # it changed while its md5 was computed
        raise Unavailable("this file changes too often", 1.0)

    async def understood(self, path: str, info: Info, known: Entry | None) -> Entry:
        """Give the entry of an object, reading its bytes when nothing else tells their md5; PreconditionFailed then."""
        said = stored(info)
        hint = None if known is not None or said.is_whole else await self.hint(path)
        if hint is not None:
            said = _hinted(said, hint)
        entry = said.entry(path, known)
        if entry is None:
            said = msgspec.structs.replace(said, md5=await self._md5(path, info.etag))
            entry = (said if hint is None else _hinted(said, hint)).entry(path, known)
        if entry is None:
            raise AssertionError("an object whose md5 is known has an entry")
        return entry

    async def put(self, entry: Entry, body: bytes | Spool, encoding: str | None, over: Entry | None) -> Entry:
        """Put it where `over` is now (None: nothing), and give the entry its etag; PreconditionFailed if it is not."""
        info = await self.store.put(
            self.layout.file(entry.path),
            body,
            content_type=entry.content_type,
            metadata=metadata(entry, encoding),
            when=ABSENT if over is None else over.etag,
        )
        return msgspec.structs.replace(entry, etag=info.etag)

    async def open(self, path: str, start: int = 0, stop: int | None = None, *, etag: str | None = None) -> Found:
        """Give stored bytes of the current object."""
        return await self.store.get(self.layout.file(path), start, stop, etag=etag)

    async def stamp(self, entry: Entry, version: int) -> Entry:
        """Put what is there again as it is, but with another version; PreconditionFailed when it has changed."""
        found = await self.open(entry.path, etag=entry.etag)
        encoding = stored(found.info).encoding
        body = await self.spooled(found.body)
        stamped = msgspec.structs.replace(entry, version=version)
        try:
            return await self.put(stamped, body, encoding, over=entry)
        finally:
            if not isinstance(body, bytes):
                body.discard()

    async def spooled(self, body: Body) -> bytes | Spool:
        """Take a body out of the store so that it can be put again; a stream is closed."""
        if isinstance(body, bytes):
            return body
        spool = self.store.spool(_UNLIMITED)
        try:
            while piece := await body.read():
                if (room := spool.write(piece)) is not None:
                    await room
            await spool.finish()
        except BaseException:
            spool.discard()
            raise
        finally:
            body.close()
        return spool

    async def _md5(self, path: str, etag: str) -> str:
        body, digest = (await self.open(path, etag=etag)).body, md5(usedforsecurity=False)
        if isinstance(body, bytes):
            digest.update(body)
            return digest.hexdigest()
        try:
            while piece := await body.read():
                await self._threads.run(digest.update, piece)
        finally:
            body.close()
        return digest.hexdigest()


async def no_hint(path: str) -> Hint | None:
    """Know nothing."""
    return None


def _hinted(said: Stored, hint: Hint) -> Stored:
    """Fill in what is missing from the older index, where the object does not contradict it."""
    nothing_said = said.md5 is None and said.is_deleted is None
    if nothing_said and hint.is_deleted and not said.size:
        said = msgspec.structs.replace(said, is_deleted=True, md5=hint.md5)
    elif nothing_said and hint.md5 == said.etag:
        said = msgspec.structs.replace(said, md5=hint.md5)
    if said.md5 != hint.md5 or bool(said.is_deleted) != hint.is_deleted:
        return said
    known = None if said.is_deleted else hint.modified  # a tombstone's age is the object's: it must not be gone at once
    return msgspec.structs.replace(said, version=said.version or hint.version, modified=said.modified or known)
