"""Bytes of one blob out of the store, into a temporary file, hashed on the way."""

from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater

from stor.database.promise import Transaction
from stor.errors import Failed, Missing, StorError, Unavailable
from stor.objects.backup.format import Source, Wanted
from stor.objects.backup.hold import Hold
from stor.objects.backup.lists import room_in
from stor.objects.backup.place import hashed
from stor.objects.core import Objects
from stor.objects.outage import unless_away
from stor.objects.records import StorageClass
from stor.storage.promise import Store
from stor.streams.stream import Body
from stor.streams.temporary import Temporary
from stor.threads import Threads

_TRIES = 6  # for a store that is away for a moment
_PAUSE = 0.5  # seconds, doubled after each try: 15 in all
_NOW = "SELECT copy, damage, data FROM object_blob WHERE id = ?"


class Damaged(StorError):
    """The bytes are nowhere as they should be."""


class Fetching:
    """Takes bytes from whichever place has them whole."""

    def __init__(self, objects: Objects, folder: Path, threads: Threads, hold: Hold, reactor: Any) -> None:
        self._objects, self._folder, self._threads = objects, folder, threads
        self._hold, self._reactor = hold, reactor

    async def fetch(self, wanted: Wanted) -> Temporary:
        """Give a file with the bytes, not yet synced; Damaged with the reason when no place has them."""
        why = ""
        for source in wanted.sources:
            try:
                return await self._from(source, wanted)
            except Damaged as wrong:
                why += f"{', ' if why else ''}{source.storage_class}: {wrong}"
        self._hold.check()  # or they were only removed under our hands
        raise Damaged(why)

    async def _from(self, source: Source, wanted: Wanted) -> Temporary:
        """Take bytes from where they were, or where they are by now: fresh ones may have replaced them."""
        copy, wrong = source.copy, Damaged("the bytes in the database have another hash")
        for _ in range(_TRIES):
            if copy is not None:
                try:
                    return await self._copied(source.storage_class, copy, wanted)
                except Damaged as why:
                    wrong = why
            now = await self._objects.database.read(partial(_now, blob=source.blob))
            if now.data is not None and hashed(now.data) == wanted.digest:
                return (await self._threads.run(_Filling, self._folder, now.data)).file
            if now.damage is not None:
                raise Damaged(now.damage)
            if now.copy in {None, copy}:
                raise wrong
            copy = now.copy
        raise wrong

    async def _copied(self, storage_class: StorageClass, copy: str, wanted: Wanted) -> Temporary:
        """Copy, again while the store is away for a moment; Damaged when these alone cannot be read."""
        for attempt in range(_TRIES):
            try:
                return await self._copied_once(self._objects.stores[storage_class], copy, wanted)
            except Missing:
                raise Damaged("the copy is not in its store") from None
            except Failed as why:  # it has become shorter
                raise Damaged(str(why)) from None
            except Unavailable as why:
                away = why
            await deferLater(self._reactor, _PAUSE * 2**attempt)
        await unless_away(self._objects, storage_class, away)
        raise Damaged(f"the copy cannot be read: {away}")

    async def _copied_once(self, store: Store, copy: str, wanted: Wanted) -> Temporary:
        found = await store.get(copy)
        try:
            filling = await self._threads.run(_Filling, self._folder)
            try:
                await self._pour(found.body, filling)
                filling.check(wanted)
            except BaseException:
                self._threads.afterwards(filling.close)
                raise
        finally:
            if not isinstance(found.body, bytes):
                found.body.close()
        return filling.file

    async def _pour(self, body: Body, filling: "_Filling") -> None:
        if isinstance(body, bytes):
            await self._threads.run(filling.add, body)
            return
        while piece := await body.read():
            await self._threads.run(filling.add, piece)


class _Filling:
    """A file that is filled; for threads."""

    def __init__(self, folder: Path, data: bytes = b"") -> None:
        self._folder = folder
        with room_in(folder):
            self.file = Temporary(folder)
        self.size, self.sha = 0, sha256()
        try:
            self.add(data)
        except BaseException:
            self.close()
            raise

    def add(self, piece: bytes) -> None:
        self.sha.update(piece)
        with room_in(self._folder):
            self.file.write(piece, self.size)
        self.size += len(piece)

    def check(self, wanted: Wanted) -> None:
        if (self.size, self.sha.hexdigest()) != (wanted.size, wanted.digest):
            raise Damaged("the copy has another hash")

    def close(self) -> None:
        self.file.close()


@dataclass(frozen=True, slots=True)
class _Now:
    """A blob's row; all None when it is gone."""

    copy: str | None = None
    damage: str | None = None
    data: bytes | None = None


def _now(tx: Transaction, blob: int) -> _Now:
    found = tx.execute(_NOW, (blob,))
    return _Now(*found[0]) if found else _Now()
