"""A process that is killed (SIGKILL) at any of its steps: what was acknowledged is there, and nothing is left over."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from time import time

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from stor.errors import Missing
from stor.objects.core import Objects
from stor.objects.records import StorageClass
from stor.objects.rules import MICROSECONDS
from stor.objects.stuck import abandon
from stor.objects.unlink import CLAIM_SECONDS
from stor.streams import whole
from tests.objects.rooms import (
    KNOWN,
    LARGE,
    QUICK,
    SMALL,
    Room,
    Rows,
    body_of,
    collect,
    get,
    invariants,
    places,
    put,
    started,
)
from tests.servers import clean_environment

FULL = bool(os.environ.get("STOR_TEST_FULL"))
ROOT = Path(__file__).parents[2]
NODE = "node"
MOST_STEPS = 60
CLAIMED = int((CLAIM_SECONDS + 1.0) * MICROSECONDS)  # later, what the dead had claimed is free


class Child:
    """The program in `child.py`."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.objects.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_environment(PYTHONPATH=str(ROOT)),
            cwd=ROOT,
        )

    def do(self, **job):
        """Have it done; give what was said, and the exit code."""
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()
        said = []
        while True:
            words = json.loads(self.process.stdout.readline())
            if words[0] == "ended":
                return said, words[1]
            said.append(words)

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


class CrashPromises:
    timeout = 240
    deeds = ("upload", "upload_again", "replace", "adopt", "delete", "move", "collect")

    def setUp(self):
        self.at = places(self, self.backend)
        self.room = None
        self.child = Child()
        self.addCleanup(self.child.close)

    async def test_small(self):
        """Whatever is done to bytes in the database, and wherever it ends."""
        await self.all_deeds("small", SMALL)

    async def test_large(self):
        """Whatever is done to bytes in a store, and wherever it ends."""
        await self.all_deeds("large", LARGE)

    async def all_deeds(self, sort, size):
        for deed in self.deeds:
            for moment in range(1, MOST_STEPS):
                seed = f"{deed} {sort} {moment}"
                job = {"places": asdict(self.at), "node": NODE, "do": f"{deed} {sort}", "seed": seed, "die_at": moment}
                said, code = await deferToThread(self.child.do, **job)
                self.assertIn(code, {0, -9}, seed)
                try:
                    await self.come_after(seed, said, size)
                except BaseException as why:
                    why.add_note(f"in {seed}")
                    raise
                if not code:
                    break
            else:
                self.fail(f"{deed} does not come to its end")
            self.assertGreater(moment, 1, deed)

    async def come_after(self, seed, said, size):
        """Start anew where somebody has died, and see what there is."""
        objects = await self.anew()
        await abandon(objects)
        await invariants(objects)
        kept = {words[1]: body_of(*words[2:]) for words in said if words[0] == "kept"}
        for words in said:
            if words[0] == "gone":
                kept.pop(words[1], None)
        await self.check_kept(objects, kept)
        objects._ledger.now = lambda: CLAIMED + int(time() * MICROSECONDS)
        await collect(objects)
        await invariants(objects)
        await self.check_kept(objects, kept)
        await self.check_collected(objects)
        await self.check_key(objects, replace(KNOWN, tenant="of key", key=f"{seed}/key"), size)
        await self.leave(objects)

    async def anew(self):
        """Give the objects of a new process; what is below them is used on, where its start takes long."""
        if self.room is None:
            self.room = await started(self, Room(self.at, node=NODE))
        room = self.room
        objects = Objects(room.database, room.stores, QUICK, NODE, room.metrics, reactor)
        await objects.startService()
        return objects

    async def leave(self, objects):
        await objects.stopService()

    async def check_kept(self, objects, kept):
        for object_id, data in kept.items():
            self.assertEqual(await get(objects, object_id), data)

    async def check_collected(self, objects):
        """Nothing is stored that no object refers to."""
        stored = await objects.database.read(Rows)
        self.assertEqual([blob for blob in stored.blobs.values() if not blob.refs], [])
        self.assertEqual(stored.doomed, {})

    async def check_key(self, objects, name, size):
        """The key has an object with whole bytes, or can be had at once."""
        try:
            found = await objects.find_key(name)
        except Missing:
            self.assertTrue((await put(objects, name, body_of("after", size))).is_new)
        else:
            data = await whole(await objects.open(found), 1 << 30)
            self.assertEqual(sha256(data).hexdigest(), found.object.digest)


class SqliteTests(CrashPromises, TestCase):
    """Here all of the process is new each time."""

    backend = "sqlite+folder"

    async def anew(self):
        self.room = await started(self, Room(self.at, node=NODE))
        return self.room.objects

    async def leave(self, objects):
        self.check_temporary()
        await self.room.stopService()

    def check_temporary(self):
        """Nobody's temporary files are left but ours."""
        for each in StorageClass:
            scratch = Path(self.at.folder) / each / "tmp"
            left = [path.name for path in scratch.iterdir() if path.is_dir()]
            self.assertEqual([name.partition("-")[0] for name in left], [str(os.getpid())])


class PostgresTests(CrashPromises, TestCase):
    """Only what writes most, unless there is time: the folders are the same."""

    backend = "postgresql+folder"
    deeds = CrashPromises.deeds if FULL else ("upload", "replace", "collect")


class BucketTests(CrashPromises, TestCase):
    """Only a few deeds, unless there is time: a bucket's start takes a second."""

    backend = "postgresql+s3"
    deeds = CrashPromises.deeds if FULL else ("upload",)
