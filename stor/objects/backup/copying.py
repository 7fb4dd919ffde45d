"""The bytes that a backup needs, copied out of the store: each hashed, and kept once whatever the class."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stor.database.promise import Transaction
from stor.objects.backup.fetching import Damaged, Fetching
from stor.objects.backup.format import Wanted, wanted_of
from stor.objects.backup.hold import Hold
from stor.objects.backup.lists import Reader, room_in
from stor.objects.backup.place import Place, hashed, is_whole
from stor.objects.backup.working import each_batch
from stor.objects.core import Objects
from stor.streams.temporary import Temporary
from stor.threads import Threads

WORKERS = 8  # who copy at once
BATCH = 64  # blobs that a worker takes, and that share a sync of their folder
_INLINE_BYTES = 4 << 20  # of rows that a worker has in memory at once, and one row more
_ROWS = "SELECT id, data FROM object_blob WHERE data IS NOT NULL AND id IN ({})"


@dataclass(slots=True)
class Copied:
    """What came of it; `damaged` says for each digest why its bytes could not be saved."""

    blobs: int = 0
    bytes: int = 0
    damaged: dict[str, str] = field(default_factory=dict)


class Copying:
    """Copies what is not in the folder; with `hashing`, also what is there with other bytes than it should have."""

    def __init__(
        self, objects: Objects, place: Place, threads: Threads, hold: Hold, reactor: Any, *, hashing: bool
    ) -> None:
        self.done = Copied()
        self._objects, self._place, self._threads, self._hashing = objects, place, threads, hashing
        self._fetching = Fetching(objects, place.tmp, threads, hold, reactor)

    async def run(self, plan: Path) -> Copied:
        """Copy all; raises Full when the folder's disk is, Unavailable when the store stays away."""
        with Reader(plan) as lines:
            await each_batch(map(wanted_of, lines), BATCH, self._copy, WORKERS, self._threads)
        return self.done

    async def _copy(self, batch: list[Wanted]) -> None:
        absent = await self._threads.run(self._absent, batch)
        inline = [wanted for wanted in absent if all(source.copy is None for source in wanted.sources)]
        for some in _portions(inline):
            await self._copy_inline(some)
        for wanted in absent:
            if any(source.copy is not None for source in wanted.sources):
                await self._copy_stored(wanted)

    def _absent(self, batch: Sequence[Wanted]) -> list[Wanted]:
        """Tell what is to be copied; in a thread."""
        return [wanted for wanted in batch if not self._is_there(wanted)]

    def _is_there(self, wanted: Wanted) -> bool:
        if not self._place.has(wanted.digest, wanted.size):
            return False
        return not self._hashing or is_whole(self._place.blob(wanted.digest), wanted.digest)

    async def _copy_inline(self, some: Sequence[Wanted]) -> None:
        data = await self._objects.database.read(lambda tx: _data_of(tx, some))
        whole = await self._threads.run(self._keep, some, data)
        for wanted in some:
            if wanted.digest in whole:
                self._count(wanted)
            else:  # perhaps its bytes are in a copy by now, or it was damaged all the time
                await self._copy_stored(wanted)

    def _keep(self, some: Sequence[Wanted], data: dict[int, bytes]) -> set[str]:
        """Keep the bytes that are right, and tell which; in a thread."""
        files = list[tuple[Temporary, str]]()
        try:
            for wanted in some:
                found = (data[source.blob] for source in wanted.sources if source.blob in data)
                right = next((each for each in found if hashed(each) == wanted.digest), None)
                if right is not None:
                    with room_in(self._place.tmp):
                        files.append((Temporary(self._place.tmp), wanted.digest))
                        files[-1][0].write(right, 0)
            self._place.keep(files)
        finally:
            for file, _ in files:
                file.close()
        return {digest for _, digest in files}

    async def _copy_stored(self, wanted: Wanted) -> None:
        try:
            file = await self._fetching.fetch(wanted)
        except Damaged as why:
            self.done.damaged[wanted.digest] = str(why)
            return
        try:
            await self._threads.run(self._place.keep, [(file, wanted.digest)])
        finally:
            self._threads.afterwards(file.close)
        self._count(wanted)

    def _count(self, wanted: Wanted) -> None:
        self.done.blobs += 1
        self.done.bytes += wanted.size


def _portions(inline: Sequence[Wanted]) -> list[list[Wanted]]:
    """Divide what is read together, so that it fits in memory."""
    portions, size = list[list[Wanted]](), _INLINE_BYTES
    for wanted in inline:
        if size >= _INLINE_BYTES:
            portions.append([])
            size = 0
        portions[-1].append(wanted)
        size += wanted.size
    return portions


def _data_of(tx: Transaction, some: Sequence[Wanted]) -> dict[int, bytes]:
    blobs = [source.blob for wanted in some for source in wanted.sources]
    return dict(tx.execute(_ROWS.format(", ".join("?" * len(blobs))), blobs))
