"""A backup holds all that was there, and gives it back as it was; on every backend, and from one to another."""

import json
from dataclasses import replace

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from stor.errors import Conflict, Failed, Missing
from stor.objects.backup.restoring import look
from stor.objects.backup.verifying import verify
from stor.objects.records import Change
from tests.objects.backups import (
    OTHER,
    backed_up,
    blob_path,
    contents,
    fill,
    flip,
    holds,
    quotas,
    restored,
    spoil,
    standard_tools,
    tree,
)
from tests.objects.rooms import KNOWN, LARGE, SMALL, body_of, collect, invariants, opened, put
from tests.places import folder
from tests.storage.stores import at_once


class BackupPromises:
    timeout = 120
    target = "sqlite+folder"

    async def setUp(self):
        self.dir = folder(self) / "backups"
        self.objects = await opened(self, self.backend)

    async def test_round_trip(self):
        """Everything comes back elsewhere: ids, keys, classes, times, what is said about it, bytes, quotas."""
        await fill(self.objects)
        before = await contents(self.objects)
        report = await backed_up(self.objects, self.dir)
        self.assertEqual((report.entry.objects, report.entry.damaged), (len(before), 0))
        self.assertEqual(await holds(self.objects), 0)
        there = await opened(self, self.target)
        done = await restored(there, self.dir)
        self.assertEqual(await contents(there), before)
        self.assertEqual(await quotas(there), await quotas(self.objects))
        self.assertTrue(done.is_whole(report.entry))
        self.assertEqual((done.objects, done.there, done.quotas), (len(before), 0, 1))
        self.assertEqual(done.proved.rows.there, len(before))
        await invariants(there)
        await invariants(self.objects)

    async def test_again(self):
        """A second restore finds everything there and changes nothing; nor does it undo what was changed since."""
        await fill(self.objects)
        report = await backed_up(self.objects, self.dir)
        there = await opened(self, self.target)
        await restored(there, self.dir)
        first = next(iter(await contents(there)))
        await there.change(first, Change(metadata={"later": "yes"}))
        before = await contents(there)
        done = await restored(there, self.dir)
        self.assertEqual((done.objects, done.there), (0, report.entry.objects))
        self.assertEqual(done.proved.rows.changed.count, 1)
        self.assertTrue(done.is_whole(report.entry))
        self.assertEqual(await contents(there), before)
        await invariants(there)

    async def test_what_was_deleted(self):
        """Restored into the store itself: what was deleted since comes back, collected or not, and the rest stays."""
        await fill(self.objects)
        before = await contents(self.objects)
        await backed_up(self.objects, self.dir)
        for number, object_id in enumerate(before):
            if number % 2:
                await self.objects.delete(object_id)
            if number == len(before) // 2:
                await collect(self.objects)
        done = await restored(self.objects, self.dir)
        self.assertEqual(done.objects, len(before) // 2)
        self.assertEqual(await contents(self.objects), before)
        await collect(self.objects)
        self.assertEqual(await contents(self.objects), before)
        await invariants(self.objects)

    async def test_healing(self):
        """What is known to be damaged in the store, or is found out by the proof, the next restore heals."""
        await fill(self.objects)
        before = await contents(self.objects)
        report = await backed_up(self.objects, self.dir)
        large = await self.objects.find_key(replace(KNOWN, key="large"))
        small = await self.objects.find_key(replace(KNOWN, key="small/one"))
        await self.objects.stores[large.object.storage_class].put(large.blob.copy, body_of("other", LARGE))
        await spoil(self.objects, small.blob)
        self.assertFalse(await self.objects.verify(small.blob))
        done = await restored(self.objects, self.dir)
        self.assertEqual((done.healed, len(done.proved.wrong)), (1, 1))
        self.assertFalse(done.is_whole(report.entry))
        done = await restored(self.objects, self.dir)
        self.assertEqual((done.healed, done.objects, done.proved.wrong), (1, 0, []))
        self.assertTrue(done.is_whole(report.entry))
        self.assertEqual(await contents(self.objects), before)
        await collect(self.objects)
        await invariants(self.objects)

    async def test_merge(self):
        """What has a key that another object owns by now is told, and neither of them is harmed."""
        await fill(self.objects)
        await backed_up(self.objects, self.dir)
        there = await opened(self, self.target)
        await put(there, "large", b"another")
        await put(there, replace(OTHER, key="nobody else's"), b"stranger")
        entry, compared = await look(there, self.dir, None, reactor)
        self.assertEqual((compared.strangers, compared.taken.count, compared.there), (2, 1, 0))
        self.assertEqual(compared.absent, entry.objects - 1)
        done = await restored(there, self.dir)
        self.assertEqual((done.objects, done.taken.count), (entry.objects - 1, 1))
        self.assertIn("photos/acme/large", done.taken.names[0])
        self.assertFalse(done.is_whole(entry))
        found = {one.name.key: digest for one, digest in (await contents(there)).values()}
        self.assertIn("nobody else's", found)
        self.assertEqual(found["large"], (await there.find_key(replace(KNOWN, key="large"))).object.digest)
        await invariants(there)


class SqliteTests(BackupPromises, TestCase):
    backend = "sqlite+folder"

    async def test_empty(self):
        """A store without objects has a backup, too."""
        report = await backed_up(self.objects, self.dir)
        self.assertEqual((report.entry.objects, report.entry.blobs), (0, 0))
        self.assertEqual(verify(self.dir).faults, 0)
        there = await opened(self, self.target)
        self.assertTrue((await restored(there, self.dir)).is_whole(report.entry))

    async def test_format(self):
        """What is written can be read, and checked, without stor."""
        await fill(self.objects)
        report = await backed_up(self.objects, self.dir)
        index = json.loads((self.dir / "backup.json").read_text())
        self.assertEqual((index["format"], index["version"]), ("stor-backup", 1))
        at = index["backups"][-1]["at"]
        lines = list(map(json.loads, standard_tools(self.dir, at)))
        self.assertEqual(lines[0], {"type": "begin", "format": "stor-backup", "version": 1, "at": at})
        self.assertEqual(lines[1], {"type": "quota", "tenant_id": "acme", "bytes": 1000000, "objects": None})
        self.assertEqual(lines[-1], {"type": "end", "objects": report.entry.objects, "bytes": report.entry.bytes})
        found = {(line["tenant_id"], line["key"]): line for line in lines[2:-1]}
        one = found["acme", "small/one"]
        self.assertEqual(one["metadata"], {"a": "b", "title": "Übung 1"})
        saved = self.dir / "blobs" / one["content_hash"].replace("sha256:", f"sha256/{one['content_hash'][7:9]}/")
        self.assertEqual(saved.read_bytes(), body_of("shared", SMALL))
        self.assertEqual(found["umbrella", "größe 🦀/100%"]["storage_class"], "cold")
        self.assertRegex(one["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")

    async def test_incremental(self):
        """Bytes that are there already are not written again; each backup can be restored on its own."""
        await fill(self.objects)
        first, before = await backed_up(self.objects, self.dir), await contents(self.objects)
        files = tree(self.dir / "blobs")
        await put(self.objects, "one more", body_of("one more", LARGE))
        after = await contents(self.objects)
        second = await backed_up(self.objects, self.dir)
        self.assertEqual((second.copied.blobs, second.copied.bytes), (1, LARGE))
        self.assertEqual(second.entry.blobs, first.entry.blobs + 1)
        self.assertLessEqual(files.items(), tree(self.dir / "blobs").items())
        for at, wanted in ((first.entry.at, before), (None, after)):
            there = await opened(self, self.target)
            await restored(there, self.dir, at)
            self.assertEqual(await contents(there), wanted)

    async def test_keep(self):
        """Only what no kept backup needs is removed, and what a backup left that failed."""
        await put(self.objects, "always", body_of("always", LARGE))
        reports = []
        for number in range(4):
            made = await put(self.objects, "sometimes", body_of(f"sometimes {number}", SMALL))
            reports.append(await backed_up(self.objects, self.dir))
            await self.objects.delete(made.object.id)
        left = blob_path(self.dir, b"left")
        left.write_bytes(b"left")
        (self.dir / "manifests" / "20200101T000000.000000Z.jsonl.zst").write_bytes(b"left")
        report = await backed_up(self.objects, self.dir, keep=2)
        self.assertEqual((report.pruned.backups, report.pruned.blobs), (3, 4))
        kept = [reports[3].entry.at, report.entry.at]
        self.assertEqual([entry["at"] for entry in json.loads((self.dir / "backup.json").read_text())["backups"]], kept)
        self.assertEqual({path.name[:23] for path in (self.dir / "manifests").iterdir()}, set(kept))
        self.assertEqual(verify(self.dir).faults, 0)
        there = await opened(self, self.target)
        self.assertTrue((await restored(there, self.dir, kept[0])).is_whole(reports[3].entry))
        with self.assertRaises(Missing):
            await restored(there, self.dir, reports[0].entry.at)

    async def test_clock_set_back(self):
        """A backup that the clock says is older than the last one is the newest all the same."""
        first = await backed_up(self.objects, self.dir)
        self.patch(self.objects, "now", lambda: 1_000_000)
        second = await backed_up(self.objects, self.dir)
        self.assertGreater(second.entry.at, first.entry.at)

    async def test_damaged_source(self):
        """Bytes that are damaged in the store are told, and left out until they are healed; the rest is saved."""
        await fill(self.objects)
        await put(self.objects, "damaged small", body_of("damaged small", SMALL))
        made = await put(self.objects, "damaged large", body_of("damaged large", LARGE))
        found = await self.objects.find(made.object.id)
        small = await self.objects.find_key(replace(KNOWN, key="damaged small"))
        await spoil(self.objects, small.blob)
        await self.objects.stores[found.object.storage_class].put(found.blob.copy, body_of("other", LARGE))
        report = await backed_up(self.objects, self.dir)
        self.assertEqual(set(report.copied.damaged), {small.object.digest, made.object.digest})
        self.assertEqual(report.entry.damaged, 2)
        told = (self.dir / "manifests" / f"{report.entry.at}.damaged.jsonl").read_text().splitlines()
        self.assertEqual({json.loads(line)["sha256"] for line in told}, set(report.copied.damaged))
        self.assertEqual(verify(self.dir).faults, 1)
        there = await opened(self, self.target)
        done = await restored(there, self.dir)
        self.assertEqual((done.lost.count, done.objects), (2, report.entry.objects - 2))
        self.assertFalse(done.is_whole(report.entry))
        await put(self.objects, "healing", body_of("damaged small", SMALL))
        await put(self.objects, "healing too", body_of("damaged large", LARGE))
        await backed_up(self.objects, self.dir)
        done = await restored(there, self.dir)
        self.assertEqual((done.lost.count, done.objects), (0, 4))
        self.assertEqual(await contents(there), await contents(self.objects))

    async def test_one_class_damaged(self):
        """Bytes that are in both classes are taken from the one where they are whole."""
        large = body_of("large", LARGE)
        await fill(self.objects)
        hot = await self.objects.find_key(replace(KNOWN, key="large"))
        cold = await self.objects.find_key(replace(OTHER, key="größe 🦀/100%"))
        for found, number in ((hot, 0), (cold, 1)):
            store = self.objects.stores[found.object.storage_class]
            await store.put(found.blob.copy, body_of("other", LARGE))
            report = await backed_up(self.objects, folder(self))
            self.assertEqual(len(report.copied.damaged), number)
            if not number:
                await store.delete(found.blob.copy)

        self.assertIn("hot: the copy is not in its store", next(iter(report.copied.damaged.values())))
        self.assertFalse(blob_path(self.dir, large).exists())

    async def test_flipped(self):
        """A bit that fell over in the backup is found by verify, is not restored, and is mended by a new backup."""
        await fill(self.objects)
        report = await backed_up(self.objects, self.dir)
        self.assertEqual(verify(self.dir).faults, 0)
        flip(blob_path(self.dir, body_of("large", LARGE)))
        flip(blob_path(self.dir, body_of("shared", SMALL)))
        found = verify(self.dir)
        self.assertEqual(found.faults, 2)
        self.assertEqual(found.blobs, report.entry.blobs)
        there = await opened(self, self.target)
        done = await restored(there, self.dir)
        self.assertEqual((done.lost.count, done.objects), (5, report.entry.objects - 5))
        self.assertFalse(done.is_whole(report.entry))
        await invariants(there)
        self.assertEqual((await backed_up(self.objects, self.dir)).copied.blobs, 0)
        self.assertEqual((await backed_up(self.objects, self.dir, hashing=True)).copied.blobs, 2)
        self.assertEqual(verify(self.dir).faults, 0)
        self.assertEqual((await restored(there, self.dir)).objects, 5)
        self.assertEqual(await contents(there), await contents(self.objects))

    async def test_damaged_lists(self):
        """A list with one wrong bit, or none at all, is refused by verify, by restore, and by whoever would remove."""
        await fill(self.objects)
        report = await backed_up(self.objects, self.dir)
        for suffix in (".jsonl.zst", ".sha256.zst"):
            path = self.dir / "manifests" / f"{report.entry.at}{suffix}"
            flip(path)
            self.assertEqual(verify(self.dir).faults, 1)
            with self.assertRaisesRegex(Failed, "damaged"):
                await restored(self.objects, self.dir, report.entry.at)
            before = tree(self.dir / "blobs")
            with self.assertRaisesRegex(Failed, "is made, but nothing was removed: .* is damaged"):
                await backed_up(self.objects, self.dir, keep=5)
            self.assertEqual(tree(self.dir / "blobs"), before)
            kept = path.read_bytes()
            path.unlink()
            self.assertGreater(verify(self.dir).faults, 0)
            path.write_bytes(kept)
            flip(path)
            self.assertEqual(verify(self.dir).faults, 0)

    async def test_index(self):
        """What backup.json does not speak of is no backup, and one that makes no sense is an error, not none."""
        await fill(self.objects)
        await backed_up(self.objects, self.dir)
        index = self.dir / "backup.json"
        text = index.read_bytes()
        index.unlink()
        with self.assertRaises(Missing):
            verify(self.dir)
        for wrong in (b"", text[:-9], text.replace(b"1,", b"2,", 1), text.replace(b'"20', b'"../../20')):
            index.write_bytes(wrong)
            for refused in (lambda: backed_up(self.objects, self.dir), lambda: restored(self.objects, self.dir)):
                with self.assertRaises(Failed):
                    await refused()
            self.assertEqual(index.read_bytes(), wrong)

    async def test_two_at_once(self):
        """Who finds another at work in the folder leaves it alone."""
        await fill(self.objects)
        working = backed_up(self.objects, self.dir)
        outcomes = await at_once(working, backed_up(self.objects, self.dir), backed_up(self.objects, self.dir))
        self.assertEqual(sum(isinstance(each, Conflict) for each in outcomes), 2, outcomes)
        self.assertEqual(verify(self.dir).faults, 0)


class PostgresTests(BackupPromises, TestCase):
    backend = "postgresql+folder"


class BucketTests(BackupPromises, TestCase):
    backend = "postgresql+s3"


class MigrationTests(TestCase):
    timeout = 120

    async def test_to_bucket(self):
        """From a file and a folder to PostgreSQL and S3: the way of a store that has grown."""
        objects, backups = await opened(self, "sqlite+folder"), folder(self)
        await fill(objects)
        report = await backed_up(objects, backups)
        there = await opened(self, "postgresql+s3")
        done = await restored(there, backups)
        self.assertTrue(done.is_whole(report.entry))
        self.assertEqual(await contents(there), await contents(objects))
        await invariants(there)
