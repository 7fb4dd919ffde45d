"""Whoever dies while a backup is made or restored, and whatever disk is full: what was whole stays, and it goes on."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

from twisted.internet.defer import fail
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from stor.errors import Full, Unavailable
from stor.objects.backup import fetching
from stor.objects.backup.verifying import verify
from stor.objects.stuck import abandon
from tests.database.disks import small_disk
from tests.objects.backups import OTHER, backed_up, contents, fill, restored, tree
from tests.objects.collecting import HOT, bad_sector
from tests.objects.rooms import LARGE, Room, body_of, collect, invariants, opened, places, put, started
from tests.places import folder
from tests.proxies import ROOT
from tests.servers import clean_environment

MOST_STEPS = 1000


class Child:
    """The program in `dying_backups.py`."""

    def __init__(self, case):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.objects.dying_backups"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_environment(PYTHONPATH=str(ROOT)),
            cwd=ROOT,
        )
        case.addCleanup(self._close)

    def do(self, **job):
        """Have it done; give the exit code, -9 for who was killed."""
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())[1]

    def _close(self):
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


class KilledTests(TestCase):
    timeout = 240

    async def test_backup(self):
        """Killed at any step, it has made a whole backup or none, older ones are whole, and the next one goes on."""
        objects = (await started(self, Room(at := places(self, "sqlite+folder")))).objects
        await fill(objects)
        first = folder(self) / "first"
        await backed_up(objects, first)
        (one, _), *_ = (await contents(objects)).values()
        await objects.delete(one.id)
        for number in range(4):
            await put(objects, f"more {number}", body_of(f"more {number}", LARGE))
        wanted, child, ends = await contents(objects), Child(self), set()
        for die_at in range(1, MOST_STEPS, 4):
            backups = folder(self) / "backups"
            shutil.copytree(first, backups)
            job = {"do": "backup", "places": asdict(at), "dir": str(backups), "keep": 1, "die_at": die_at}
            code = await deferToThread(child.do, **job)
            self.assertIn(code, {0, -9}, die_at)
            self.assertEqual((found := verify(backups)).wrong, [], die_at)
            ends.add((code, len(json.loads((backups / "backup.json").read_text())["backups"]), found.objects))
            await backed_up(objects, backups, keep=1)
            self.assertEqual(verify(backups).faults, 0)
            self.assertEqual(list((backups / "tmp").iterdir()), [])
            if not code:
                break
        else:
            self.fail("it does not come to its end")
        before = len(wanted) - 3
        self.assertLessEqual({(-9, 1, before), (-9, 2, before + len(wanted)), (-9, 1, len(wanted))}, ends)
        there = await opened(self, "sqlite+folder")
        await restored(there, backups)
        self.assertEqual(await contents(there), wanted)

    async def test_restore(self):
        """Killed at any step of a restore and begun again, all is there, and nothing is left over or counted twice."""
        await self._killed_restores("sqlite+folder", 6)

    async def test_restore_elsewhere(self):
        """As before, into PostgreSQL and S3."""
        await self._killed_restores("postgresql+s3", 9)

    async def _killed_restores(self, backend, stride):
        objects, backups, child = await opened(self, "sqlite+folder"), folder(self), Child(self)
        await fill(objects)
        report, wanted, killed = await backed_up(objects, backups), await contents(objects), 0
        for die_at in range(1, MOST_STEPS, stride):
            room = Room(at := places(self, backend))
            job = {"do": "restore", "places": asdict(at), "dir": str(backups), "die_at": die_at}
            code = await deferToThread(child.do, **job)
            self.assertIn(code, {0, -9}, die_at)
            there = (await started(self, room)).objects
            self.assertTrue((await restored(there, backups)).is_whole(report.entry), die_at)
            self.assertEqual(await contents(there), wanted, die_at)
            await abandon(there)
            await collect(there)
            await invariants(there)
            self.assertEqual(await contents(there), wanted, die_at)
            await room.stopService()
            if not code:
                break
            killed += 1
        else:
            self.fail("it does not come to its end")
        self.assertGreater(killed, 2)


class AwayTests(TestCase):
    timeout = 120

    async def test_bad_sector(self):
        """Bytes that cannot be read are told as damaged, the rest is saved; a store that is away ends a backup."""
        objects, backups = await opened(self, "sqlite+folder"), folder(self)
        await fill(objects)
        made = await put(objects, "bad", body_of("bad", LARGE))
        bad_sector(self, (await objects.find(made.object.id)).blob.copy)
        self.patch(fetching, "_PAUSE", 0.001)
        report = await backed_up(objects, backups)
        self.assertEqual(list(report.copied.damaged), [made.object.digest])
        self.assertIn("Input/output error", report.copied.damaged[made.object.digest])
        there = await opened(self, "sqlite+folder")
        done = await restored(there, backups)
        self.assertEqual((done.lost.count, done.objects), (1, report.entry.objects - 1))
        self.patch(objects.stores[HOT], "check", lambda: fail(Unavailable("the disk is away")))
        with self.assertRaisesRegex(Unavailable, "Input/output"):
            await backed_up(objects, backups)

    async def test_store(self):
        """A store that goes away ends a restore; what was put and not used goes, and begun again it goes on."""
        objects, backups, at = await opened(self, "sqlite+folder"), folder(self), places(self, "sqlite+folder")
        await fill(objects)
        report = await backed_up(objects, backups)
        room = await started(self, Room(at, stores=Leaving))
        with self.assertRaisesRegex(Unavailable, "away"):
            await restored(room.objects, backups)
        await collect(room.objects)
        await invariants(room.objects)
        for store in room.stores.values():
            store.left = 100
        self.assertTrue((await restored(room.objects, backups)).is_whole(report.entry))
        self.assertEqual(await contents(room.objects), await contents(objects))


class Leaving:
    """A store that takes some bytes, and then is away: the answer to the last put is lost."""

    def __init__(self, _, store):
        self._store, self.left = store, 2

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def put(self, *args, **kwargs):
        self.left -= 1
        done = await self._store.put(*args, **kwargs)
        if self.left <= 0:
            raise Unavailable("away")
        return done


class DiskTests(TestCase):
    timeout = 120

    async def test_order(self):
        """Each file is on the disk before it has its name, and each name before backup.json, with all, has its own."""
        objects, backups, said = await opened(self, "sqlite+folder"), folder(self) / "backups", []
        await fill(objects)

        def noting(name, path_of):
            called = getattr(os, name)

            def call(*args):
                said.append((name, path_of(*args)))
                return called(*args)

            self.patch(os, name, call)

        noting("fsync", lambda fd: str(Path(f"/proc/self/fd/{fd}").readlink()))
        noting("rename", lambda source, target: (str(source), str(target)))
        await backed_up(objects, backups)
        renamed = [(number, *paths) for number, (name, paths) in enumerate(said) if name == "rename"]
        last, _, index = renamed[-1]
        self.assertEqual(index, f"{backups}/backup.json")
        self.assertEqual({target for _, _, target in renamed}, {f"{backups}/{path}" for path in tree(backups)})
        for number, source, target in renamed:
            self.assertIn(("fsync", source), said[:number])
            end = len(said) if target == index else last
            self.assertIn(("fsync", target.rpartition("/")[0]), said[number:end], target)
        made = [f"{backups}/blobs/sha256", f"{backups}/blobs", str(backups), str(backups.parent)]
        self.assertLessEqual({("fsync", path) for path in made}, set(said[:last]))

    async def test_full(self):
        """A full disk is named; the backup before is whole and can be restored, and with room there is a next."""
        objects, place = await opened(self, "sqlite+folder"), small_disk(self, "3m")
        await fill(objects)
        backups = place / "backups"
        await backed_up(objects, backups)
        wanted = await contents(objects)
        large = await put(objects, replace(OTHER, key="large"), body_of("large one", 4 << 20))
        for _ in range(2):
            with self.assertRaisesRegex(Full, f"{backups}.* no room left on the disk"):
                await backed_up(objects, backups)
            self.assertEqual(verify(backups).faults, 0)
        there = await opened(self, "sqlite+folder")
        await restored(there, backups)
        self.assertEqual(await contents(there), wanted)
        await objects.delete(large.object.id)
        await backed_up(objects, backups)
        self.assertEqual(verify(backups).backups, 2)

    async def test_small_ones_fill_it(self):
        """The same with many small objects, and lists."""
        objects, place = await opened(self, "sqlite+folder"), small_disk(self, "2m")
        backups = place / "backups"
        await backed_up(objects, backups)
        for number in range(60):
            await put(objects, replace(OTHER, key=f"small {number}"), body_of(f"small {number}", 50_000))
        with self.assertRaisesRegex(Full, f"{backups}.* no room left on the disk"):
            await backed_up(objects, backups)
        self.assertEqual((verify(backups).backups, verify(backups).faults), (1, 0))

    async def test_not_ours(self):
        """A place where nothing can be written is told with its name."""
        objects, place = await opened(self, "sqlite+folder"), folder(self)
        (place / "file").write_text("not a folder")
        with self.assertRaisesRegex(Unavailable, f"{place}/file/backups: the disk says: Not a directory"):
            await backed_up(objects, place / "file" / "backups")
