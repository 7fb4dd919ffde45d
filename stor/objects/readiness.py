"""Whether what the object store stands on can be worked with: looked at again and again, and remembered."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    TimeoutError,  # noqa: A004 - Twisted's own is what its timeouts raise
    gatherResults,
)
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from stor.database.promise import Database
from stor.errors import StorError
from stor.objects.records import StorageClass
from stor.storage.promise import Store
from stor.threads import Threads

log = Logger()

SECONDS = 5.0
"""Between two looks."""
_PATIENCE = 4.0  # until something that has not answered is not well
_REMOTE_WRITES = 12  # of so many looks at a bucket that is well one writes: each write is paid for
_PROBE = b"can this be written?"
_UNKNOWN = "not looked at yet"


class Readiness(Service):
    """Every few seconds asks the database, writes to each store, and looks how much room each folder has.

    `roots` are the folders of those stores that have one; they are not well with less than `floor_bytes` free.
    `node` names a key of our own in the stores.
    """

    def __init__(
        self,
        database: Database,
        stores: Mapping[StorageClass, Store],
        roots: Mapping[StorageClass, Path],
        floor_bytes: int,
        node: str,
        reactor: Any,
    ) -> None:
        self._database, self._floor, self._node, self._reactor = database, floor_bytes, node, reactor
        self._threads = Threads("free-space", max(len(roots), 1), reactor, waiting=4, seconds=_PATIENCE)
        self._asked: dict[str, Callable[[], Awaitable[None]]] = {"objects database": self._ask_database}
        for each, store in stores.items():
            name = f"{each} store"
            ask = partial(self._write, store) if each in roots else partial(self._write_sometimes, name, store)
            self._asked[name] = ask
        for each, root in roots.items():
            self._asked[f"{each} space"] = partial(self._look_for_room, root)
        self._found: dict[str, bool | str] = dict.fromkeys(self._asked, _UNKNOWN)
        self._looks = 0
        self._under_way: list[Deferred[None]] = []
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def checks(self) -> Iterable[tuple[str, Callable[[], bool | str]]]:
        """Give what may be asked at any time, by name: True when it was well, else why it was not."""
        return [(name, partial(self._found.__getitem__, name)) for name in self._asked]

    def startService(self) -> Deferred[None]:
        """Fire when all has been looked at once, well or not."""
        super().startService()
        self._threads.startService()
        begun = self._look()
        self._looking.start(SECONDS, now=False).addErrback(lambda why: log.failure("readiness ended", why))
        return begun

    def stopService(self) -> Deferred[None]:
        """Look no more."""
        super().stopService()
        self._looking.stop()
        for look in self._under_way:
            look.cancel()
        return self._threads.stopService()

    # ---- What is looked at

    def _look(self) -> Deferred[None]:
        self._looks += 1
        self._under_way = [Deferred.fromCoroutine(self._remember(name, ask)) for name, ask in self._asked.items()]
        return gatherResults(self._under_way).addCallback(lambda _: None)

    async def _remember(self, name: str, ask: Callable[[], Awaitable[None]]) -> None:
        found = await self._outcome(name, ask)
        if not self.running:
            return
        if found != self._found[name] and found is not True:
            log.warn("{name} is not ready: {why}", name=name, why=found)
        self._found[name] = found

    async def _outcome(self, name: str, ask: Callable[[], Awaitable[None]]) -> bool | str:
        try:
            await Deferred.fromCoroutine(_asked(ask)).addTimeout(_PATIENCE, self._reactor)
        except CancelledError:
            return "stopped"
        except TimeoutError:
            return f"no answer within {_PATIENCE:.0f} seconds"
        except StorError as why:
            return str(why) or type(why).__name__
        except Exception:  # noqa: BLE001 - whatever it is, it is not well, and the next look comes
            log.failure("{name} cannot be looked at", name=name)
            return "broken"
        return True

    async def _ask_database(self) -> None:
        await self._database.read(lambda tx: tx.execute("SELECT 1"))

    async def _write(self, store: Store) -> None:
        key = f".probe/{self._node}"
        await store.put(key, _PROBE)
        await store.delete(key)

    async def _write_sometimes(self, name: str, store: Store) -> None:
        if self._found[name] is True and self._looks % _REMOTE_WRITES:
            await store.check()
        else:
            await self._write(store)

    async def _look_for_room(self, root: Path) -> None:
        free = await self._threads.run(_free_bytes, root)
        if free < self._floor:
            raise StorError(f"{free} bytes free, less than {self._floor}")


async def _asked(ask: Callable[[], Awaitable[None]]) -> None:
    await ask()


def _free_bytes(root: Path) -> int:
    found = os.statvfs(root)
    return found.f_bavail * found.f_frsize
