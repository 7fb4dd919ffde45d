"""A folder of backups that somebody has prepared: nothing beside it is touched, nothing of it believed unseen."""

import hashlib
import json
import os

import zstandard
from twisted.trial.unittest import TestCase

from stor.errors import Failed, Unavailable
from stor.objects.backup.verifying import verify
from tests.objects.backups import backed_up, blob_path, contents, quotas, restored
from tests.objects.rooms import LARGE, SMALL, body_of, invariants, opened, put
from tests.places import folder

CONTROLS = ("\0", "\x1b[31m", "a\r\nb: c", "\x9b", "\ud800")
WRONG = {
    "id": ("../../x", "", "0" * 36, "01A1FEDB-271E-79BC-8113-9E8F84E3DC1B"),
    "tenant_id": ("", "x" * 129, *CONTROLS),
    "namespace": ("../..", "", "Photos", "x" * 65),
    "key": ("", "x" * 1025, *CONTROLS),
    "content_hash": ("sha256:" + "g" * 64, "sha256:../../etc/passwd", "0" * 64, "sha256:" + "A" * 64),
    "size_bytes": (-(10**12), -1, 1 << 63, 1.5),
    "storage_class": ("warm", None),
    "content_type": ("", "text/plain\r\nX-A: b", "é", "x" * 256),
    "metadata": ({"a": "b\r\nc: d"}, {"A": "b"}, {"a:b": "c"}, {"a": " b"}, {"a": "x" * 9000}, None),
    "created_at": ("1969-12-31T23:59:59Z", "2026-01-01T00:00:00", "9999-12-31T23:59:59-23:59", 5),
    "updated_at": ("0001-01-01T00:00:00+23:59", "yesterday"),
}
LIMITS = {"tenant_id": ("", "\x1b"), "bytes": (-1, 1 << 63), "objects": (-1, 1 << 63)}


class HostileCase(TestCase):
    timeout = 60

    async def setUp(self):
        self.objects, self.dir = await opened(self, "sqlite+folder"), folder(self) / "backups"

    def rewrite(self, change):
        """Change the lines of the newest manifest, and have all hashes and counts agree with it."""
        index = json.loads((self.dir / "backup.json").read_text())
        entry = index["backups"][-1]
        path = self.dir / "manifests" / f"{entry['at']}.jsonl.zst"
        text = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
        lines = change(list(map(json.loads, text.splitlines())))
        sizes = [line["size_bytes"] for line in lines if line["type"] == "object"]
        if all(isinstance(size, int) and 0 <= size < 1 << 62 for size in sizes):
            sums = {"objects": len(sizes), "bytes": sum(sizes)}
            lines[-1].update(sums)
            entry.update(sums)
        packed = zstandard.ZstdCompressor().compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        path.write_bytes(packed)
        entry["manifest_sha256"] = hashlib.sha256(packed).hexdigest()
        (self.dir / "backup.json").write_text(json.dumps(index))


class ManifestTests(HostileCase):
    async def test_lines(self):
        """A field that no object or quota could have is told with its line, and nothing at all is restored."""
        for number in range(3):
            await put(self.objects, f"k{number}", body_of(f"k{number}", SMALL))
        await self.objects.database.write(lambda tx: tx.execute("INSERT INTO object_quota VALUES ('acme', 9, NULL)"))
        await backed_up(self.objects, self.dir)
        there = await opened(self, "sqlite+folder")
        kept = {path: path.read_bytes() for path in self.dir.rglob("*") if path.is_file()}
        for number, fields in ((2, LIMITS), (5, WRONG)):
            for field, values in fields.items():
                for value in values:
                    self.rewrite(lambda lines, n=number, wrong={field: value}: changed(lines, n, wrong))
                    with self.assertRaisesRegex(Failed, f"line {number} of the manifest makes no sense") as caught:
                        await restored(there, self.dir)
                    self.assertTrue(str(caught.exception).isprintable(), caught.exception)
                    self.assertGreater(verify(self.dir).faults, 0)
                    for path, data in kept.items():
                        path.write_bytes(data)
        self.assertEqual((await contents(there), await quotas(there)), ({}, []))
        self.assertEqual((await restored(there, self.dir)).objects, 3)

    async def test_twice(self):
        """Objects come in the order of their ids, so that none comes twice."""
        await put(self.objects, "a", b"a")
        await put(self.objects, "b", b"b")
        await backed_up(self.objects, self.dir)
        there = await opened(self, "sqlite+folder")
        for order in ((0, 2, 1, 3), (0, 1, 1, 2, 3)):
            self.rewrite(lambda lines, order=order: [lines[number] for number in order])
            with self.assertRaisesRegex(Failed, "line 3 of the manifest"):
                await restored(there, self.dir)
            self.assertEqual(await contents(there), {})
            await backed_up(self.objects, self.dir)

    async def test_other_size(self):
        """A size that the bytes have not is found out, be they in the backup or in the store already."""
        for size in (SMALL, LARGE):
            data, backups = body_of("k", size), self.dir
            made = await put(self.objects, f"k{size}", data)
            await backed_up(self.objects, backups)
            self.rewrite(lambda lines, data=data: sized(lines, len(data), 5))
            there = await opened(self, "sqlite+folder")
            self.assertEqual((await restored(there, backups)).lost.count, 1)
            await put(there, "held", data)
            self.assertEqual((await restored(there, backups)).lost.count, 1)
            await invariants(there)
            await self.objects.delete(made.object.id)


def changed(lines, number, fields):
    """Give one line, counted from 1, other fields."""
    lines[number - 1].update(fields)
    return lines


def sized(lines, size, said):
    """Have a lie said about the objects of a size."""
    for line in lines:
        if line.get("size_bytes") == size:
            line["size_bytes"] = said
    return lines


class FileTests(HostileCase):
    async def test_not_ours(self):
        """A folder of ours that is a link to another is refused, and what lies there stays."""
        precious = folder(self)
        (precious / "1f-2").write_text("precious")
        for name in ("tmp", "manifests", "blobs", "blobs/sha256", "blobs/sha256/7a"):
            place = folder(self) / "backups"
            (place / name).parent.mkdir(parents=True)
            (place / name).symlink_to(precious)
            with self.assertRaisesRegex(Failed, f"{place / name} is no folder"):
                await backed_up(self.objects, place)
            self.assertEqual([*precious.iterdir()], [precious / "1f-2"], name)
        place = folder(self)
        (place / "lock").symlink_to(precious / "made")
        with self.assertRaises(Unavailable):
            await backed_up(self.objects, place)
        self.assertFalse((precious / "made").exists())

    async def test_tmp(self):
        """Of what is in tmp, only what a backup that died has left is removed."""
        tmp = self.dir / "tmp"
        tmp.mkdir(parents=True)
        for name in ("1f-2", "notes.txt", "1f-2.txt"):
            (tmp / name).write_text("text")
        await backed_up(self.objects, self.dir)
        self.assertEqual({path.name for path in tmp.iterdir()}, {"notes.txt", "1f-2.txt"})

    async def test_blobs(self):
        """Bytes are taken from plain files only, and no more of them than there should be."""
        data = {size: body_of("k", size) for size in (SMALL, LARGE)}
        for size, each in data.items():
            await put(self.objects, f"k{size}", each)
        await backed_up(self.objects, self.dir)
        there = await opened(self, "sqlite+folder")
        elsewhere = folder(self) / "same"
        for each in data.values():
            for spoil in ("/dev/zero", elsewhere, None):
                path = blob_path(self.dir, each)
                elsewhere.write_bytes(each)
                path.unlink()
                if spoil is None:
                    os.mkfifo(path)
                else:
                    path.symlink_to(spoil)
                self.assertGreater(verify(self.dir).faults, 0)
            path.unlink()
            path.symlink_to("/dev/zero")
        self.assertEqual((await restored(there, self.dir)).lost.count, 2)
        self.assertEqual((await backed_up(self.objects, self.dir)).copied.blobs, 2)
        self.assertEqual(verify(self.dir).faults, 0)
        self.assertEqual((await restored(there, self.dir)).objects, 2)

    async def test_lists(self):
        """A list, or backup.json, that is no plain file is refused, and does not hold us up."""
        await put(self.objects, "k", b"k")
        at = (await backed_up(self.objects, self.dir)).entry.at
        for name in (f"manifests/{at}.jsonl.zst", f"manifests/{at}.sha256.zst", "backup.json"):
            path = self.dir / name
            kept = path.read_bytes()
            for spoil in (lambda path: path.symlink_to("/dev/zero"), os.mkfifo):
                path.unlink()
                spoil(path)
                with self.assertRaisesRegex(Failed, f"{path.name} is no plain file"):
                    await restored(self.objects, self.dir)
            path.unlink()
            path.write_bytes(kept)
