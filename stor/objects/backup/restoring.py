"""A backup, or what is missing of it, back into a store; what was stored is read again and compared."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from stor.database.promise import Transaction
from stor.errors import Conflict, Unavailable
from stor.objects.backup.bringing import Bringing, Bytes, bytes_of
from stor.objects.backup.comparing import Compared, Told, by_ids, compare, taken_keys
from stor.objects.backup.format import Entry, Quota, Saved, object_of
from stor.objects.backup.landing import Arrival, Landed, heal, hindrance, land
from stor.objects.backup.lists import Reader
from stor.objects.backup.manifest import checked
from stor.objects.backup.place import MANIFEST, Place
from stor.objects.backup.proving import Proved, prove
from stor.objects.backup.working import each_batch
from stor.objects.core import Objects
from stor.objects.records import Object, StorageClass
from stor.objects.rows import Stored
from stor.threads import Threads

WORKERS = 4
MOST, MOST_BYTES = 100, 8 << 20  # objects in a transaction, and bytes of small ones
_TRIES = 8  # for what others change between two looks at it
_BLOBS = "SELECT digest, class, size, damage FROM object_blob WHERE digest IN ({})"
_QUOTA = "INSERT INTO object_quota (tenant, bytes, objects) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING tenant"


@dataclass(slots=True)
class Restored:
    """What a restore did.

    `there` was there before, of which `healed` blobs were damaged in the store. `taken` could not come, as another
    object has the key, and of `lost` the bytes are not in the backup as they should be.
    """

    objects: int = 0
    bytes: int = 0
    there: int = 0
    healed: int = 0
    quotas: int = 0
    taken: Told = field(default_factory=Told)
    lost: Told = field(default_factory=Told)
    proved: Proved = field(default_factory=Proved)

    def is_whole(self, entry: Entry) -> bool:
        """Tell whether every object of the backup is in the store, with its bytes; it may have been changed since."""
        rows = self.proved.rows
        return rows.there + rows.changed.count == entry.objects and not self.proved.wrong


async def restore(objects: Objects, folder: Path, at: str | None, reactor: Any) -> Restored:
    """Make all objects of a backup that are not there, and prove that they are; may be interrupted and begun again.

    Objects keep their ids, names, classes, times and what is said about them. What has been deleted since comes back,
    bytes that are damaged in the store are healed, and nothing else that is there is changed. Raises Missing or Failed
    for a backup that is none, Full for a quota or a disk.
    """
    threads, place = Threads("restore", WORKERS * 2, reactor), Place(folder)
    threads.startService()
    try:
        await threads.run(place.open)
        entry = await threads.run(place.entry, at)
        return await _Restore(objects, place, entry, threads).run()
    finally:
        threads.afterwards(place.close)
        await threads.stopService()


async def look(objects: Objects, folder: Path, at: str | None, reactor: Any) -> tuple[Entry, Compared]:
    """Tell what a restore would find; see that the lists of the backup are whole."""
    threads, place = Threads("restore", 1, reactor), Place(folder)
    threads.startService()
    try:
        await threads.run(place.open)
        entry = await threads.run(place.entry, at)
        return entry, await objects.database.survey(partial(compare, place=place, entry=entry))
    finally:
        threads.afterwards(place.close)
        await threads.stopService()


class _Restore:
    def __init__(self, objects: Objects, place: Place, entry: Entry, threads: Threads) -> None:
        self._objects, self._place, self._entry, self._threads = objects, place, entry, threads
        self._bringing, self._done = Bringing(objects, place, threads), Restored()

    async def run(self) -> Restored:
        most = max(1, min(MOST, MOST_BYTES // max(1, self._bringing.small)))
        await self._threads.run(self._check)
        with Reader(self._place.list_path(self._entry.at, MANIFEST)) as lines:
            await each_batch(_objects(iter(lines), self._entry), most, self._restore, WORKERS, self._threads)
        await self._restore_quotas()  # last: a limit may have come after what it would refuse
        self._done.proved = await prove(self._objects, self._place, self._entry, self._threads)
        return self._done

    def _check(self) -> None:
        """Read all lines before the first is restored: a backup that makes no sense leaves no trace."""
        with Reader(self._place.list_path(self._entry.at, MANIFEST)) as lines:
            for _ in checked(iter(lines), self._entry):
                pass

    async def _restore(self, batch: Sequence[Object]) -> None:
        left = {one.id: one for one in batch}
        for _ in range(_TRIES):
            try:
                await self._restore_left(left)
            except Conflict as why:
                if why.code is not None:
                    raise
                continue  # somebody took a key between our look and our write
            if not left:
                return
        raise Unavailable("others change these objects all the time", retry_after=1.0)

    async def _restore_left(self, left: dict[str, Object]) -> None:
        """Take from `left` what is done with."""
        seen = await self._objects.database.read(partial(_look, some=list(left.values())))
        damaged = _by_bytes(one for one in left.values() if one.id in seen.damaged)
        self._note(left, seen.outcomes)
        absent = {key: one for key, one in _by_bytes(left.values()).items() if key not in seen.whole}
        small = await self._bringing.read_small([*absent.values(), *damaged.values()])
        for key, one in damaged.items():
            await self._heal(one, small.get(key))
        for key, one in absent.items():
            if key not in small and not await self._bring_large(one, left):
                self._note(left, {each.id: Landed.LOST for each in left.values() if bytes_of(each) == key})
        arrivals = [Arrival(one, small.pop(bytes_of(one), None)) for one in left.values()]
        if arrivals:
            self._note(left, await self._bringing.write(partial(land, arrivals=arrivals)))

    def _note(self, left: dict[str, Object], outcomes: Mapping[str, Landed]) -> None:
        """Count what has come to an end."""
        for object_id, outcome in outcomes.items():
            if outcome is Landed.LACKING:
                continue
            one = left.pop(object_id)
            if outcome is Landed.NEW:
                self._done.objects, self._done.bytes = self._done.objects + 1, self._done.bytes + one.size
            elif outcome is Landed.THERE:
                self._done.there += 1
            else:
                (self._done.taken if outcome is Landed.TAKEN else self._done.lost).add(one)

    async def _heal(self, one: Object, stored: Stored | None) -> None:
        """Give damaged bytes that objects refer to anew, where the backup has them."""
        if stored is not None:
            await self._bringing.write(partial(heal, arrival=Arrival(one, stored)))
            self._done.healed += 1
        elif one.size > self._bringing.small:
            self._done.healed += await self._bringing.put_large(one, heal) or 0

    async def _bring_large(self, one: Object, left: dict[str, Object]) -> bool:
        """Restore an object together with its bytes; False when the backup lacks them."""
        if one.size <= self._bringing.small:
            return False
        outcomes = await self._bringing.put_large(one, lambda tx, at, arrival: land(tx, at, [arrival]))
        self._note(left, outcomes or {})
        return outcomes is not None

    async def _restore_quotas(self) -> None:
        with Reader(self._place.list_path(self._entry.at, MANIFEST)) as lines:
            found = (line for line in checked(iter(lines), self._entry) if isinstance(line, Quota))
            await each_batch(found, MOST, self._limit, 1, self._threads)

    async def _limit(self, quotas: Sequence[Quota]) -> None:
        """A quota that is there stays."""
        self._done.quotas += await self._objects.database.write(partial(_limit, quotas=quotas))


@dataclass(frozen=True, slots=True)
class _Seen:
    """Who need not or cannot come, which of those that are there have damaged bytes, and which bytes are whole."""

    outcomes: Mapping[str, Landed]
    damaged: set[str]
    whole: set[Bytes]


def _look(tx: Transaction, some: Sequence[Object]) -> _Seen:
    known, taken = by_ids(tx, some), taken_keys(tx, some)
    hindered = {one.id: why for one in some if (why := hindrance(one, known.get(one.id), taken)) is not None}
    digests = [bytes.fromhex(one.digest) for one in some]
    whole, damaged = set[Bytes](), set[Bytes]()
    for digest, storage_class, size, damage in tx.execute(_BLOBS.format(", ".join("?" * len(digests))), digests):
        (whole if damage is None else damaged).add((digest.hex(), StorageClass(storage_class), size))
    hurt = {key for key, why in hindered.items() if why is Landed.THERE and bytes_of(known[key]) in damaged}
    return _Seen(hindered, hurt, whole)


def _limit(tx: Transaction, quotas: Sequence[Quota]) -> int:
    return sum(len(tx.execute(_QUOTA, (each.tenant_id, each.bytes, each.objects))) for each in quotas)


def _by_bytes(some: Iterable[Object]) -> dict[Bytes, Object]:
    return {bytes_of(one): one for one in some}


def _objects(lines: Iterator[bytes], entry: Entry) -> Iterator[Object]:
    return (object_of(line) for line in checked(lines, entry) if isinstance(line, Saved))
