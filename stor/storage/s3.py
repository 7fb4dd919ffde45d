"""Keys in an S3 bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from stor.errors import ConfigError, Missing, PreconditionFailed, Unavailable
from stor.storage import keys
from stor.storage.asking import Asker
from stor.storage.boto import Boto, BucketSettings
from stor.storage.listing import in_order, level_by_level
from stor.storage.objects import Objects
from stor.storage.probe import Abilities, abilities
from stor.storage.promise import Absent, Condition, Found, Info, Listed, Unfinished
from stor.storage.scratch import Scratch
from stor.storage.turns import Turns
from stor.streams.spool import Spool
from stor.threads import Threads

__all__ = ["Bucket", "BucketSettings"]

_SPOOLERS = 4
_RENEW_SECONDS = 60.0  # a role's credentials are good for minutes at least when boto3 renews them
log = Logger()


class Bucket(Service):
    """A `Store` in a bucket that many processes may share; temporary files are in `folder`.

    The calls that come often go over connections of our own in the reactor: no thread is held by a server that
    hangs. boto3 does the others. `conditional` and `conditional_delete` say whether the server compares; where it
    does not, this process does, and then it must be the only one that writes.
    """

    conditional = False
    conditional_delete = False

    def __init__(self, settings: BucketSettings, folder: Path, reactor: Any) -> None:
        self._settings, self._reactor = settings, reactor
        self._scratch = Scratch(folder.absolute())
        self._spools = Threads("spools", _SPOOLERS, reactor, seconds=60.0)
        self._boto = Boto(settings, reactor)
        self._asker: Asker | None = None
        self._can, self._turns = Abilities(), Turns()
        self._renewal = LoopingCall(self._renew)
        self._renewal.clock = reactor

    def startService(self) -> Deferred[None]:
        """Find out what the server can; fails with ConfigError (no such bucket, no credentials) or Unavailable."""
        super().startService()
        self._spools.startService()
        self._boto.startService()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            await self._spools.run(self._scratch.open)
        except OSError as why:
            raise ConfigError(f"cannot keep temporary files: {why.strerror}") from None
        self._asker = Asker(self._settings, await self._boto.open(), self._reactor)
        self._asker.startService()
        self._asker.credentials = await self._boto.credentials()
        self._objects = Objects(self._asker, self._boto, self._spools)
        await self._asker.open()
        self._can = await abilities(self._objects, self._boto, self._settings.probe_prefix)
        self.conditional, self.conditional_delete = self._can.put, self._can.delete
        self._objects.conditional_parts = self._can.parts
        if not self._settings.access_key:
            self._renewal.start(_RENEW_SECONDS, now=False)

    async def _renew(self) -> None:
        assert self._asker is not None  # noqa: S101 - it renews what was started
        try:
            self._asker.credentials = await self._boto.credentials()
        except Exception:  # noqa: BLE001 - the old ones may be good for a while
            log.failure("the credentials for S3 could not be renewed")

    def stopService(self) -> Deferred[None]:
        """Cut what is under way."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._renewal.running:
            self._renewal.stop()
        if self._asker is not None:
            await self._asker.stopService()
        self._spools.afterwards(self._scratch.close)
        await self._spools.stopService()
        await self._boto.stopService()

    def spool(self, limit: int, digests: Sequence[str] = ("md5",)) -> Spool:
        """Give a place for a body on its way in, from which `put` sends it; TooLarge beyond `limit` bytes."""
        return Spool(self._scratch.path, limit, self._spools, digests)

    async def put(
        self,
        key: str,
        body: bytes | Spool,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        when: Condition = None,
    ) -> Info:
        """Keep the body whole under the key, or nothing of it. The spool, finished, is used up by a success.

        `modified` is the time of the server's answer, a second's part early or late.
        """
        keys.check(key)
        keys.check_metadata(content_type, metadata or {})
        if when is not None and isinstance(body, Spool) and body.file is not None:
            await self._compare(key, when)  # a condition that fails now needs no upload
        if when is None or self._can.put:
            info = await self._objects.put(key, body, content_type, metadata, when)
        else:
            async with self._turns.of(key):
                await self._compare(key, when)
                info = await self._objects.put(key, body, content_type, metadata)
        if isinstance(body, Spool):
            body.discard()
        return info

    async def get(self, key: str, start: int = 0, stop: int | None = None, *, etag: str | None = None) -> Found:
        """Give bytes `start` to `stop`; 64 KiB of them are given whole, more at the pace of their reader."""
        keys.check(key)
        return await self._objects.get(key, start, stop, etag)

    async def head(self, key: str) -> Info:
        """Give what is known, without the bytes."""
        keys.check(key)
        return await self._objects.head(key)

    async def delete(self, key: str, *, when: str | None = None) -> None:
        """Remove the key; one that is not there is no error unless `when` is given."""
        keys.check(key)
        if when is None or self._can.delete:
            await self._objects.delete(key, when)
            return
        async with self._turns.of(key):
            await self._compare(key, when)
            await self._objects.delete(key)

    async def copy(self, source: str, target: str, *, etag: str) -> Info:
        """Copy within the bucket, at the server."""
        keys.check(source)
        keys.check(target)
        if not self._can.copy and (await self._objects.head(source)).etag != etag:
            raise PreconditionFailed("the key has another state")
        await self._objects.copy(source, target, etag)
        return await self._objects.head(target)

    def list(self, prefix: str = "", after: str = "") -> AsyncIterator[Sequence[Listed]]:
        """Give pages of up to 1000 keys that begin with `prefix`, in UTF-8 order, from the first one beyond `after`."""
        return (in_order if self._can.order else level_by_level)(self._boto, prefix, after)

    async def unfinished(self, prefix: str = "") -> AsyncIterator[Sequence[Unfinished]]:
        """Give pages of up to 1000 uploads in parts that have not ended."""
        page, marker = await self._boto.unfinished(prefix, {})
        while page or marker:
            if page:
                yield page
            page, marker = await self._boto.unfinished(prefix, marker) if marker else ([], {})

    async def abandon(self, one: Unfinished) -> None:
        """Have the server forget an upload in parts."""
        await self._boto.abandon(one)

    async def check(self) -> None:
        """Raise Unavailable when the bucket does not answer within 0.8 s."""
        if self._asker is None:
            raise Unavailable("the bucket has not been opened yet")
        await self._asker.check()

    async def _compare(self, key: str, when: str | Absent) -> None:
        """Raise PreconditionFailed when the condition does not hold now."""
        try:
            etag = (await self._objects.head(key)).etag
        except Missing:
            if isinstance(when, Absent):
                return
            raise PreconditionFailed("the key does not exist") from None
        if etag != when:
            raise PreconditionFailed("the key has another state")
