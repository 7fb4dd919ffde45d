"""Operations of several processes on the same bytes, in every order of their steps; what must hold after each."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from stor.errors import Missing, StorError
from stor.objects import collector, ownership, rows, sweeper
from stor.objects.core import Objects, Settings
from stor.objects.records import Change, Created, Draft, Name, StorageClass, Wish
from stor.streams import whole
from tests.objects.interleaving import Order, Schedule, explore
from tests.objects.pausing import PausingDatabase, PausingStore
from tests.objects.rooms import LARGE, QUICK, SMALL, Room, body_of, collect, invariants, places, put, started
from tests.objects.statements import Locks, StatementDatabase, locks_of
from tests.postgres import PostgresServer

OURS, THEIRS = "acme", "umbrella"


class World:
    """One run: processes over the same places, and what was acknowledged to their callers."""

    def __init__(self, room: Room, number: int, size: int, schedule: Schedule, locks: Locks | None) -> None:
        self.room, self.objects, self.schedule = room, room.objects, schedule
        self.body = body_of(f"run {number}", size)
        self._number, self._locks = number, locks
        self._processes: list[Objects] = []
        self.kept: dict[str, bytes] = {}  # what each object has that nobody has begun to delete
        self.leaving: dict[str, bytes] = {}
        self.bearable: set[str | None] = set()  # codes of errors that who reads what is kept may get
        self.rivals: set[str] = set()  # of these one has replaced the others
        self.may_stray = False  # an upload that was given up may leave a file, until files are looked for
        self.judge: Callable[[Mapping[str, Any]], None] = lambda outcomes: None

    async def process(self, who: str, settings: Settings = QUICK) -> Objects:
        """Give the objects of a process of its own, whose steps are those of the operation `who`."""
        step = self.schedule.step_of(who)
        real = self.room.database
        database = (
            StatementDatabase(real, self.schedule, self._locks, who) if self._locks else PausingDatabase(real, step)
        )
        stores = {each: PausingStore(each, store, step) for each, store in self.room.stores.items()}
        objects = Objects(database, stores, settings, who, self.room.metrics, reactor)
        self._processes.append(objects)
        self.schedule.beginning.add(who)
        await objects.startService()
        self.schedule.beginning.discard(who)
        return objects

    def name(self, key: str = "", tenant: str = OURS) -> Name:
        """Give a name that no other run has."""
        return Name("race", tenant, f"{self._number}/{key}" if key else "")

    async def upload(self, who: str, name: Name, data: bytes | None = None, **draft: Any) -> Created | StorError:
        """Upload; what is refused is given back."""
        data = self.body if data is None else data
        try:
            made = await put(await self.process(who), name, data, **draft)
        except StorError as refusal:
            return refusal
        self.kept[made.object.id] = data
        return made

    async def replace(self, who: str, name: Name, old: Created, data: bytes) -> Created | StorError:
        """Upload over what has these bytes."""
        self.leave(old.object.id)
        made = await self.upload(who, name, data, wish=Wish(match=frozenset({old.object.etag})))
        if not isinstance(made, StorError):
            self.leaving.pop(old.object.id, None)
        return made

    async def delete(self, who: str, object_id: str) -> StorError | None:
        """Delete; one that is refused has changed nothing."""
        self.leave(object_id)
        try:
            await (await self.process(who)).delete(object_id)
        except StorError as refusal:
            return refusal
        return None

    async def adopt(self, who: str, name: Name, digest: str) -> Created | StorError:
        """Make an object of bytes that are there."""
        try:
            made = await (await self.process(who)).adopt(Draft(name), digest)
        except StorError as refusal:
            return refusal
        self.kept[made.object.id] = self.body
        return made

    async def move(self, who: str, object_id: str, target: StorageClass) -> StorError | None:
        """Move to another class; readers see no difference."""
        try:
            await (await self.process(who)).change(object_id, Change(storage_class=target))
        except StorError as refusal:
            return refusal
        return None

    async def read(self, who: str, object_id: str) -> bytes | StorError:
        """Read in two steps; who was kept all the while must be found, and nobody gets wrong bytes."""
        kept, expected = object_id in self.kept, self.kept.get(object_id, self.leaving.get(object_id))
        objects = await self.process(who)
        try:
            found = await objects.find(object_id)
            body = await objects.open(found)
            async with self.schedule.step_of(who)("bytes"):
                data = await whole(body, 1 << 30)
        except StorError as refusal:
            if kept and object_id in self.kept and refusal.code not in self.bearable:
                raise AssertionError(f"not found: {refusal!r}") from refusal
            return refusal
        assert data == expected, "wrong bytes"
        return data

    async def read_key(self, who: str, name: Name, allowed: list[bytes]) -> bytes:
        """Read what a key has, which is one of these; who finds its bytes gone looks the key up again."""
        objects = await self.process(who)
        while True:
            found = await objects.find_key(name)
            with suppress(Missing):
                data = await whole(await objects.open(found), 1 << 30)
                assert data in allowed, "wrong bytes"
                return data

    async def collect(self, who: str) -> None:
        """Collect what nothing refers to."""
        await self._collect(await self.process(who))

    async def expire(self, who: str) -> None:
        """Collect, and give up what is WRITING, as if the time-out had passed."""
        await self._collect(await self.process(who, replace(QUICK, upload_seconds=-1.0)))

    async def sweep(self, who: str) -> None:
        """Look for files without a row, and collect them."""
        objects = await self.process(who)
        for each in StorageClass:
            await sweeper.sweep(objects, each)
        await self._collect(objects)

    async def _collect(self, objects: Objects) -> None:
        try:
            await collector.Collector(objects, collector.GcSettings(), self.room.metrics, reactor).run(grace=0.0)
        except StorError as why:
            raise AssertionError(f"the collector could not go on: {why!r}") from why

    async def damage(self) -> None:
        """Have what is stored of these bytes be others, behind everybody's back."""
        wrong, digest = bytes(len(self.body)), sha256(self.body).digest()

        def spoil(transaction: Any) -> Any:
            transaction.execute("UPDATE object_blob SET data = ? WHERE digest = ? AND copy IS NULL", (wrong, digest))
            return transaction.execute("SELECT copy, class FROM object_blob WHERE digest = ?", (digest,))

        for copy, storage_class in await self.room.database.write(spoil):
            if copy is not None:
                await self.room.stores[StorageClass(storage_class)].put(copy, wrong)

    def leave(self, object_id: str) -> None:
        """It is about to be deleted, or replaced."""
        if object_id in self.kept:
            self.leaving[object_id] = self.kept.pop(object_id)

    async def check(self) -> None:
        """See that all holds, now and after a collection; then forget everything, for the next run."""
        for each in self._processes:
            await each.stopService()
        if not self.may_stray:
            await invariants(self.objects)
        await self._check_rivals()
        await self._check_kept()
        await collect(self.objects)
        await self._check_collected()
        await self._check_kept()
        await self._forget()

    async def _forget(self) -> None:
        def empty(transaction: Any) -> None:
            transaction.execute("DELETE FROM object")
            transaction.execute("DELETE FROM object_blob")
            transaction.execute("DELETE FROM object_usage")

        await self.room.database.write(empty)
        for store in self.room.stores.values():
            async for page in store.list():
                for each in page:
                    if each.key != ownership.KEY:
                        await store.delete(each.key)

    async def _check_rivals(self) -> None:
        if not self.rivals:
            return
        found = await self.room.database.read(partial(rows.by_ids, keys=list(self.rivals), kind=self.objects.kind))
        assert len(found) == 1, f"of {self.rivals} there are {list(found)}"
        for replaced in self.rivals - set(found):
            self.leave(replaced)

    async def _check_kept(self) -> None:
        for object_id, data in self.kept.items():
            try:
                found = await self.objects.find(object_id)
                there = await whole(await self.objects.open(found), 1 << 30)
            except StorError as why:
                raise AssertionError(f"acknowledged, and not to be had: {why!r}") from why
            assert there == data, "wrong bytes"

    async def _check_collected(self) -> None:
        """See that no byte is stored that no object refers to."""

        def unwanted(transaction: Any) -> list[Any]:
            idle = transaction.execute("SELECT id, digest FROM object_blob WHERE refs = 0")
            return [*idle, *transaction.execute("SELECT copy FROM object_doomed")]

        await invariants(self.objects)  # each file has a row
        left = await self.room.database.read(unwanted)
        assert left == [], f"left over: {left}"


def in_memory(case: TestCase) -> Path:
    """Make a folder on a disk that needs no time; what a real one keeps is shown elsewhere."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="stor-test-", dir=memory if memory.is_dir() else None))
    case.addCleanup(shutil.rmtree, path, ignore_errors=True)
    return path


class QuickPostgres(PostgresServer):
    """Does not wait for its disk: it is the order of things that counts here."""

    def argv(self) -> list[str]:
        return [*super().argv(), "--fsync=off"]  # the last word counts


@cache
def quick() -> QuickPostgres:
    """Give the server of these tests, started for the first and closed after the last."""
    server = QuickPostgres()
    atexit.register(server.close)
    server.start()
    return server


Scenario = Callable[[World], Any]


class RaceCase(TestCase):
    """Runs scenarios: each prepares something in a `World`, and gives the operations by their names."""

    timeout = 300
    backend = "sqlite+folder"
    by_statement = False  # PostgreSQL's transactions are interleaved, too
    preemptions: int | None = None
    sizes = (SMALL, LARGE)

    async def setUp(self) -> None:
        at = places(self, self.backend, in_memory(self))
        if "://" in at.database:
            at = replace(at, database=quick().fresh())
        self.locks = locks_of(self, at.database) if self.by_statement else None
        self.room = await started(self, Room(at))
        self.runs = 0

    async def race(self, scenario: Scenario, *sizes: int) -> None:
        """Run it in every order, for bodies of each of these sizes, or of the class's."""
        for size in sizes or self.sizes:
            await explore(partial(self._one, scenario, size), preemptions=self.preemptions)

    async def _one(self, scenario: Scenario, size: int, order: Order) -> None:
        self.runs += 1
        schedule = Schedule(order, self.locks.blocked) if self.locks else Schedule(order)
        world = World(self.room, self.runs, size, schedule, self.locks)
        outcomes = await schedule.run(**await scenario(world))
        for outcome in outcomes.values():
            if isinstance(outcome, BaseException) and not isinstance(outcome, StorError):
                raise outcome
        world.judge(outcomes)
        await world.check()
