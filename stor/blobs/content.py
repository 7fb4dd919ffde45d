"""A body on its way into the store: its md5, and smaller when it is to be compressed."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import md5

from stor.blobs.compression import Packed, pack
from stor.blobs.rules import Condition
from stor.blobs.writing import Content
from stor.streams.spool import Spool
from stor.threads import Threads

_INLINE = 256 * 1024  # bytes whose md5 is not worth a thread


class Packer:
    """Makes bodies ready to be put."""

    def __init__(self, spool: Callable[[int], Spool], threads: Threads, *, compressed: bool) -> None:
        self._spool, self._threads, self._compressed = spool, threads, compressed

    @asynccontextmanager
    async def ready(
        self, body: bytes | Spool, condition: Condition, content_type: str | None
    ) -> AsyncIterator[Content]:
        """Give what is to be put; at the end the body, and what was made of it, are discarded."""
        packed = Packed(body, None)
        try:
            digest = await self._md5(body)
            if self._compressed:
                packed = await pack(body, self._spool, self._threads)
            size = len(body) if isinstance(body, bytes) else body.size
            yield Content(condition, packed.body, packed.encoding, digest, size, content_type)
        finally:
            discard(body)
            discard(packed.body)

    async def _md5(self, body: bytes | Spool) -> str:
        if not isinstance(body, bytes):
            return body.digests["md5"]
        if len(body) <= _INLINE:
            return md5(body, usedforsecurity=False).hexdigest()
        return (await self._threads.run(md5, body, usedforsecurity=False)).hexdigest()


def discard(body: bytes | Spool) -> None:
    """Let go of a body that is not needed any more."""
    if not isinstance(body, bytes):
        body.discard()
