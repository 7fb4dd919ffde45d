"""Acknowledged is durable: seen by the calls to the system, and by what happens when they fail."""

import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.errors import Failed
from tests.database.disks import small_disk
from tests.objects.processes import QUIET, ObjectServer
from tests.objects.rooms import (
    KNOWN,
    LARGE,
    SMALL,
    Room,
    body_of,
    collect,
    get,
    invariants,
    places,
    put,
    started,
)
from tests.objects.traces import Injecting, calls, length, tracing
from tests.places import folder
from tests.servers import wait_until

MIB = 1 << 20
LOG = "/stor.db-wal"


class OrderTests(SynchronousTestCase):
    """The order of the calls of a server that runs under strace."""

    def setUp(self):
        self.trace = folder(self) / "trace"
        self.server = ObjectServer(QUIET, wrapper=tracing(self.trace))
        self.addCleanup(self.server.close)
        self.server.start()

    def before_answer(self, start, said, status):
        """Give the calls from line `start` on that had ended before the answer's first byte was written."""
        self.assertEqual(said.code, status, said.body)
        answer = f'"HTTP/1.1 {status}'
        wait_until(lambda: any(answer in call.text for call in calls(self.trace, start)), 5)
        found = calls(self.trace, start)
        (first, *_) = [call for call in found if answer in call.text]
        return [call for call in found if call < first]

    def put(self, key, data):
        start = length(self.trace)
        return self.before_answer(start, self.server.put(key, data), 201)

    def synced(self, found, place):
        """Give the calls that made durable what has a path that ends so."""
        return [call for call in found if call.name in {"fsync", "fdatasync"} and f"{place}>" in call.text]

    def check_stored(self, found, data, folders):
        """Written < file synced < renamed < folders synced < committed; and before that it was written down."""
        digest = sha256(data).hexdigest()
        rename = [call for call in found if call.name == "rename" and digest in call.text and "ENOENT" not in call.text]
        self.assertEqual(len(rename), 1)
        temporary = rename[0].text.split('"')[1]
        writes = [call for call in found if call.name == "pwrite64" and f"{temporary}>" in call.text]
        (file,) = self.synced(found, temporary)
        self.assertTrue(writes)
        self.assertTrue(all(write < file for write in writes), "written after the sync")
        self.assertLess(file, rename[0])
        commits = self.synced(found, LOG)
        self.assertLess(commits[0], rename[0], "not written down before it was put")
        logged = [call for call in found if call.name == "pwrite64" and f"{LOG}>" in call.text]
        for place in folders:
            (synced,) = self.synced(found, place.format(digest=digest))
            self.assertLess(rename[0], synced)
            self.assertTrue([each for each in logged if synced < each < commits[-1]], f"{place}: too late")
            self.assertLess(synced, commits[-1])

    def test_large(self):
        """A file, its name, the folders that were made for it, and its row are durable before the answer."""
        data = body_of("large", LARGE)
        found = self.put("large", data)
        self.check_stored(found, data, ["/hot/data/sha256/{digest:.2}", "/hot/data/sha256", "/hot/data"])

    def test_already_there(self):
        """The same holds when the same bytes come again."""
        data = body_of("large", LARGE)
        self.put("large", data)
        self.check_stored(self.put("again", data), data, ["/hot/data/sha256/{digest:.2}"])

    def test_small(self):
        """A small body is durable in the log of the database before the answer."""
        found = self.put("small", body_of("small", SMALL))
        writes = [call for call in found if call.name == "pwrite64" and f"{LOG}>" in call.text]
        self.assertTrue(writes)
        self.assertTrue(all(write < self.synced(found, LOG)[-1] for write in writes))

    def test_deleted(self):
        """A deletion is durable before the answer; its bytes go after that, and the row that knows them last."""
        data = body_of("large", LARGE)
        self.put("large", data)
        self.server.stop()
        self.server.write_config("gc_interval_seconds = 0.05\ngc_grace_seconds = 0")
        self.server.start()
        start = length(self.trace)
        found = self.before_answer(start, self.server.ask("DELETE", self.server.target("large")), 204)
        self.assertTrue(self.synced(found, LOG))
        digest = sha256(data).hexdigest()

        def unlinked():
            return [call for call in calls(self.trace, start) if call.name == "unlink" and digest in call.text]

        wait_until(unlinked, 10)
        (unlink,) = unlinked()
        before = [call for call in self.synced(calls(self.trace, start), LOG) if call < unlink]
        self.assertGreaterEqual(len(before), 3, "deleted, settled, condemned, claimed")
        wait_until(lambda: any(unlink < call for call in self.synced(calls(self.trace, start), LOG)), 10)

    def test_every_folder(self):
        """Every folder that was made since the first start is durable before the first answer."""
        self.put("large", body_of("large", LARGE))
        start = self.before_answer(0, self.server.put("small", body_of("small", SMALL)), 201)
        made = [call for call in start if call.name.startswith("mkdir") and call.text.rstrip().endswith("= 0")]
        wanted = [call for call in made if str(self.server.data) in call.text and "/tmp" not in self.within(call)]
        self.assertGreater(len(wanted), 3)
        for call in wanted:
            parent = Path(call.text.split('"')[1]).parent
            after = [each for each in self.synced(start, str(parent)) if call < each]
            self.assertTrue(after, f"{call.text}: its folder is not synced")

    def within(self, call):
        return call.text.split('"')[1].removeprefix(str(self.server.data))


class FailingTests(SynchronousTestCase):
    """Disks that fail: the request fails, nothing of it is to be seen, and when the disk is well again so are we."""

    timeout = 60

    def start(self, objects=QUIET, data=None):
        self.server = ObjectServer(objects)
        if data is not None:
            self.server.data = data
            self.server.write_config(objects)
        self.addCleanup(self.server.close)
        self.server.start()
        return self.server

    def check_well(self, key, data):
        """What failed is not there; the same can be done now; and there are no other bytes than those of objects."""
        self.assertEqual(self.server.get(key).code, 404)
        self.check_kept(key, data)
        self.assertEqual(self.server.ask("GET", "/health").code, 200)

    def check_kept(self, key, data):
        said = self.server.put(key, data)
        self.assertEqual(said.code, 201, said.body)
        self.assertEqual(self.server.get(key).body, data)

    def test_sync_fails(self):
        """A file or a folder that cannot be synced is a failed request."""
        server = self.start()
        for number in (1, 2):
            data = body_of(f"sync {number}", LARGE)
            with Injecting(server.python, "fsync", "EIO", f"when={number}"):
                said = server.put(f"key {number}".replace(" ", "-"), data)
            self.assertEqual((said.code, said.json["error"]["code"]), (503, "UNAVAILABLE"), said.body)
            self.check_well(f"key-{number}", data)

    def test_log_sync_fails(self):
        """A log of the database that cannot be synced is a failed request: before the bytes are put, and after."""
        server = self.start()
        for size in (SMALL, LARGE):
            for number in (1, 2)[: 1 if size == SMALL else 2]:
                key, data = f"key-{size}-{number}", body_of(f"log {size} {number}", size)
                with Injecting(server.python, "fdatasync", "EIO", f"when={number}"):
                    said = server.put(key, data)
                self.assertEqual(said.code, 503, said.body)
                self.check_well(key, data)

    def test_no_room_for_bytes(self):
        """A full disk under the bytes is 507, and small bodies do not care."""
        hot = small_disk(self, 4 * MIB)
        server = self.start(f"hot_folder = '{hot}/hot'\n{QUIET}")
        data = body_of("too large", 8 * MIB)
        for body in (data, iter([data[start : start + MIB] for start in range(0, len(data), MIB)])):
            said = server.put("large", body)
            self.assertEqual((said.code, said.json["error"]["code"]), (507, "INSUFFICIENT_STORAGE"), said.body)
        self.check_well("large", body_of("fits", 2 * MIB))
        self.check_kept("small", body_of("small", SMALL))

    def test_no_room_for_rows(self):
        """A full disk under the database is 507, for bodies of any size; all goes on when it has room."""
        disk = small_disk(self, 16 * MIB)
        server = self.start(f"hot_folder = '{folder(self)}/hot'\n{QUIET}", disk / "data")
        self.check_kept("before", body_of("before", LARGE))
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, self.assertRaises(OSError):
            while True:
                file.write(bytes(4096))
        bodies = {
            f"{size}-{number}": body_of(f"{size} {number}", size) for size in (60_000, LARGE) for number in range(9)
        }
        codes = {key: server.put(key, data).code for key, data in bodies.items()}
        self.assertIn(507, codes.values())
        self.assertLessEqual(set(codes.values()), {201, 507})
        filler.unlink()
        for key, data in bodies.items():
            if codes[key] == 201:
                self.assertEqual(server.get(key).body, data)
            else:
                self.check_well(key, data)
        self.assertEqual(server.ask("DELETE", server.target("before")).code, 204)


def flip(objects, data):
    """Change one bit of the copy that is stored in a folder below."""
    digest = sha256(data).hexdigest()
    (file,) = objects.glob(f"hot/data/sha256/{digest[:2]}/{digest}.*")
    with file.open("r+b") as opened:
        opened.seek(len(data) // 2)
        byte = opened.read(1)[0]
        opened.seek(len(data) // 2)
        opened.write(bytes([byte ^ 1]))
    return file


class DamageTests(SynchronousTestCase):
    """Bytes that change where they are stored are never given, and healed by whoever sends them again."""

    def test_damaged(self):
        """One bit: reads fail, of all and of any part, and HEAD does not; the same bytes heal it for all."""
        server = ObjectServer(QUIET)
        self.addCleanup(server.close)
        server.start()
        data = body_of("damaged", LARGE)
        self.assertEqual(server.put("ours", data).code, 201)
        file = flip(server.data / "objects", data)
        for headers in ({}, {"Range": "bytes=0-9"}, {"Range": f"bytes={LARGE - 9}-"}, {}):
            said = server.get("ours", **headers)
            self.assertEqual((said.code, said.json["error"]["code"]), (500, "OBJECT_DAMAGED"), said.body[:200])
        self.assertEqual(server.ask("HEAD", server.target("ours")).code, 200)
        self.assertTrue(file.exists(), "there is nothing to look at")
        self.assertEqual(server.put("theirs", data, tenant="umbrella").code, 201)
        self.assertEqual(server.get("ours").body, data)
        self.assertEqual(server.get("theirs", tenant="umbrella").body, data)


class RotTests(TestCase):
    async def test_times_do_not_tell(self):
        """A bit that falls over by itself is found by `verify`; from then on nobody gets it, until it is healed."""
        at = places(self, "sqlite+folder")
        objects = (await started(self, Room(at))).objects
        data = body_of("rot", LARGE)
        made = (await put(objects, "key", data)).object
        (file,) = (Path(at.folder) / "hot/data/sha256").glob(f"*/{made.digest}.*")
        stat = file.stat()
        flip(Path(at.folder), data)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        self.assertFalse(await objects.verify((await objects.find(made.id)).blob))
        for start, stop in ((0, None), (0, 10), (LARGE - 10, None)):
            with self.assertRaises(Failed) as found:
                await get(objects, made.id, start, stop)
            self.assertEqual(found.exception.code, "OBJECT_DAMAGED")
        self.assertFalse(await objects.verify((await objects.find(made.id)).blob))
        await put(objects, replace(KNOWN, tenant="another"), data)
        self.assertEqual(await get(objects, made.id), data)
        self.assertTrue(await objects.verify((await objects.find(made.id)).blob))
        await collect(objects)
        await invariants(objects)
        self.assertFalse(file.exists())
