"""Keys in a folder of this machine."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from stor.storage import keys
from stor.storage.files import Files, Opened
from stor.storage.promise import Condition, Found, Info, Listed, Unfinished
from stor.streams.file import FilePart
from stor.streams.spool import Spool
from stor.threads import Threads

_READERS, _WRITERS, _SPOOLERS = 8, 16, 4  # threads of their own: a write that hangs stops no read
_READ_SECONDS, _WRITE_SECONDS = 10.0, 60.0
_CHECK_SECONDS = 0.8
_PAGE = 1000
_CLEAR_SECONDS = 600.0  # between two looks for what processes have left that died


class Directory(Service):
    """A `Store` in a folder that several processes of one machine may share.

        data/    the keys, as `stor.storage.keys` writes them; each file: the bytes, then `stor.storage.trailer`
        locks/   who changes a key holds one of these
        tmp/     what is on its way, in a folder for each process

    Its etags say when a key got its state, so they tell apart what has the same bytes.
    """

    conditional = True
    conditional_delete = True

    def __init__(self, folder: Path, reactor: Any) -> None:
        self._files = Files(folder)
        self._reads = Threads("reads", _READERS, reactor, seconds=_READ_SECONDS)
        self._writes = Threads("writes", _WRITERS, reactor, seconds=_WRITE_SECONDS)
        self._spools = Threads("spools", _SPOOLERS, reactor, seconds=_WRITE_SECONDS)
        self._checks = Threads("checks", 1, reactor, waiting=16, seconds=_CHECK_SECONDS)
        self._pools = (self._checks, self._spools, self._writes, self._reads)
        self._clearing = LoopingCall(lambda: self._writes.afterwards(self._files.scratch.clear))
        self._clearing.clock = reactor

    def startService(self) -> Deferred[None]:
        """Make the folders and clear what dead processes left; raises ConfigError where that cannot be."""
        super().startService()
        for pool in self._pools:
            pool.startService()
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """End what is under way."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        await self._writes.run(self._files.open)
        if self.running:
            self._clearing.start(_CLEAR_SECONDS, now=False)

    async def _stop(self) -> None:
        if self._clearing.running:
            self._clearing.stop()
        self._writes.afterwards(self._files.scratch.close)
        for pool in self._pools:
            await pool.stopService()

    def spool(self, limit: int, digests: Sequence[str] = ("md5",)) -> Spool:
        """Give a place for a body on its way in, from which `put` need not copy; TooLarge beyond `limit` bytes."""
        return Spool(self._files.scratch.path, limit, self._spools, digests)

    async def put(
        self,
        key: str,
        body: bytes | Spool,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        when: Condition = None,
    ) -> Info:
        """Keep the body whole under the key, or nothing of it. The spool, finished, is used up by a success."""
        metadata = metadata or {}
        keys.check(key)
        keys.check_metadata(content_type, metadata)
        if isinstance(body, bytes):
            return await self._writes.run(self._files.put_bytes, key, body, content_type, metadata, when)
        if body.file is not None:
            file, size = body.file, body.size
            info = await self._writes.run(self._files.put_file, key, file, size, content_type, metadata, when)
        elif body.data is not None:
            info = await self._writes.run(self._files.put_bytes, key, body.data, content_type, metadata, when)
        else:
            raise ValueError("a body is a spool that is finished, and was not used up or discarded")
        body.discard()
        return info

    async def get(self, key: str, start: int = 0, stop: int | None = None, *, etag: str | None = None) -> Found:
        """Give bytes `start` to `stop`; 64 KiB of them are given whole, more as a `FilePart`."""
        keys.check(key)
        found = await self._reads.run(self._files.get, key, start, stop, etag)
        if isinstance(found, Opened):
            return Found(found.info, FilePart(found.file, found.start, found.stop, self._reads))
        return Found(*found)

    async def head(self, key: str) -> Info:
        """Give what is known, without the bytes."""
        keys.check(key)
        return await self._reads.run(self._files.head, key)

    async def delete(self, key: str, *, when: str | None = None) -> None:
        """Remove the key; one that is not there is no error unless `when` is given."""
        keys.check(key)
        await self._writes.run(self._files.delete, key, when)

    async def copy(self, source: str, target: str, *, etag: str) -> Info:
        """Copy within the store; on file systems that can share blocks none are copied."""
        keys.check(source)
        keys.check(target)
        return await self._writes.run(self._files.copy, source, target, etag)

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[Sequence[Listed]]:
        """Give pages of up to 1000 keys that begin with `prefix`, in UTF-8 order, from the first one beyond `after`."""
        scan = self._files.scan(prefix, after)
        while page := await self._reads.run(scan.take, _PAGE):
            yield page

    async def unfinished(self, prefix: str = "") -> AsyncIterator[Sequence[Unfinished]]:
        """Give nothing: what a dead process left of a put is a temporary file, and those are cleared."""
        for page in list[Sequence[Unfinished]]():
            yield page

    async def abandon(self, one: Unfinished) -> None:
        """Nothing is put in parts here."""

    async def check(self) -> None:
        """Raise Unavailable when the disk does not answer within 0.8 s."""
        await self._checks.run(self._files.check)
