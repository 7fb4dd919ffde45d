"""Many at once on few contents, for a while: what was acknowledged stays readable until its own delete."""

import os
import random
from collections import Counter
from secrets import token_hex

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from stor.errors import Conflict, Missing, PreconditionFailed
from stor.objects.collector import Collector, GcSettings
from stor.objects.fsck import fsck
from stor.objects.records import Change, Name, StorageClass, Wish
from stor.objects.sweeper import sweep
from stor.streams import whole
from tests.objects.rooms import LARGE, SMALL, Room, Rows, body_of, collect, get, invariants, places, put, started

SECONDS = 60.0 if os.environ.get("STOR_TEST_FULL") else 8.0
WRITERS, DELETERS, READERS, MOVERS = 8, 8, 4, 2
CONTENTS = [body_of(f"content {number}", LARGE if number % 2 else SMALL) for number in range(10)]
TENANTS = ("acme", "umbrella", "globex")
KEYS = 5  # that all of them fight for
MOST = 60  # objects at a time; beyond that writers wait


class Load:
    """Workers of several processes, and what was acknowledged to them."""

    def __init__(self, rooms, seed):
        self.rooms, self.dice = rooms, random.Random(seed)
        self.going, self.done = True, Counter()
        self.live = {}  # id -> content, of what nobody has begun to delete
        self.leaving = {}

    def objects(self):
        return self.dice.choice(self.rooms).objects

    async def run(self, seconds):
        works = [(self.write, WRITERS), (self.delete, DELETERS), (self.read, READERS), (self.move, MOVERS)]
        works += [(self.collect, len(self.rooms)), (self.check, 1)]
        running = [Deferred.fromCoroutine(self.again(work)) for work, number in works for _ in range(number)]
        everybody = gatherResults(running, consumeErrors=True)
        await deferLater(reactor, seconds)
        self.going = False
        await everybody

    async def again(self, work):
        try:
            while self.going:
                await work()
                await deferLater(reactor, 0)
        except BaseException:
            self.going = False
            raise

    def take(self):
        """Give an object of those that live, None when there is none."""
        return self.dice.choice(list(self.live.items())) if self.live else None

    async def write(self):
        """Upload: without a key, or under one that others want, too."""
        if len(self.live) > MOST:
            await deferLater(reactor, 0.01)
            return
        content, key = self.dice.choice(CONTENTS), self.dice.choice(["", f"key {self.dice.randrange(KEYS)}"])
        wish = self.dice.choice([Wish(), Wish(match=frozenset("*"))]) if key else Wish()
        name = Name("soak", self.dice.choice(TENANTS), key)
        try:
            made = await put(
                self.objects(), name, content, storage_class=self.dice.choice(list(StorageClass)), wish=wish
            )
        except (Conflict, PreconditionFailed):
            self.done["refused"] += 1
            return
        self.note(made.object, content, replaces=wish.match is not None)

    def note(self, made, content, *, replaces):
        """What has no key is nobody else's; of keys only those that nobody can replace meanwhile are kept in mind."""
        self.done["replaced" if replaces else "written"] += 1
        if not made.name.key:
            self.live[made.id] = content

    async def delete(self):
        """Delete; from the moment on when it is asked for nobody may count on the object."""
        taken = self.take()
        if taken is None:
            await deferLater(reactor, 0.001)
            return
        object_id, content = taken
        del self.live[object_id]
        self.leaving[object_id] = content
        await self.objects().delete(object_id)
        try:
            await self.objects().find(object_id)
            raise AssertionError("it is deleted, and found")
        except Missing:
            self.done["deleted"] += 1

    async def read(self):
        """Read, by id or by key: the right bytes, or a refusal for what is being deleted."""
        taken = self.take()
        if taken is None:
            return
        object_id, content = taken
        try:
            data = await get(self.objects(), object_id)
        except Missing:
            assert object_id in self.leaving, "it was acknowledged, and is not there"
        else:
            assert data == content, "wrong bytes"
            self.done["read"] += 1
        name = Name("soak", self.dice.choice(TENANTS), f"key {self.dice.randrange(KEYS)}")
        try:
            found = await self.objects().find_key(name)
            data = await whole(await self.objects().open(found), 1 << 30)
        except Missing:
            return
        assert data in CONTENTS, "wrong bytes"

    async def move(self):
        """Move what may be deleted meanwhile."""
        taken = self.take()
        if taken is None:
            return
        try:
            await self.objects().change(taken[0], Change(storage_class=self.dice.choice(list(StorageClass))))
            self.done["moved"] += 1
        except Missing:
            assert taken[0] in self.leaving, "it was acknowledged, and is not there"

    async def collect(self):
        """Collect at once what nothing refers to, and look for files without a row."""
        objects = self.objects()
        await Collector(objects, GcSettings(deleted_seconds=0.5), objects.metrics, reactor).run(grace=0.0)
        for each in StorageClass:
            await sweep(objects, each)
        self.done["collected"] += 1
        await deferLater(reactor, 0.02)

    async def check(self):
        """Hash everything while all goes on: nothing is ever wrong."""
        findings = []
        await fsck(self.objects(), False, True, findings.append)
        assert not findings, findings
        self.done["checked"] += 1
        await deferLater(reactor, 0.2)


class SoakPromises:
    timeout = SECONDS * 3 + 60
    processes = 1

    async def test_soak(self):
        """All that was acknowledged is there, fsck finds nothing, and one collection leaves nothing over."""
        at = places(self, self.backend)
        rooms = [await started(self, Room(at, node=f"node {number}")) for number in range(self.processes)]
        seed = token_hex(8)
        load, objects = Load(rooms, seed), rooms[0].objects
        try:
            await load.run(SECONDS)
            await invariants(objects)
            for object_id, content in load.live.items():
                self.assertEqual(await get(objects, object_id), content)
            await collect(objects)
            await invariants(objects)
            stored = await objects.database.read(Rows)
            self.assertEqual([blob.id for blob in stored.blobs.values() if not blob.refs], [])
            self.assertEqual(stored.doomed, {})
            findings = []
            await fsck(objects, False, True, findings.append)
            self.assertEqual(findings, [])
        except BaseException as why:
            why.add_note(f"seed {seed}, {dict(load.done)}")
            raise
        for what in ("written", "replaced", "deleted", "read", "moved", "collected", "checked"):
            self.assertGreater(load.done[what], 0, load.done)


class SqliteTests(SoakPromises, TestCase):
    backend = "sqlite+folder"


class PostgresTests(SoakPromises, TestCase):
    backend = "postgresql+folder"
    processes = 2


class BucketTests(SoakPromises, TestCase):
    backend = "postgresql+s3"
    processes = 2
