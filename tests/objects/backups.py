"""Stores with something of every sort in them for tests of backups, and what is in a store or in a backup."""

import hashlib
import os
import subprocess
from dataclasses import replace

from twisted.internet import reactor

from stor.objects import rows
from stor.objects.backup.backing import Wishes, back_up
from stor.objects.backup.restoring import restore
from stor.objects.records import Change, Name, StorageClass, Wish
from tests.objects.rooms import KNOWN, LARGE, SMALL, body_of, get, put
from tests.programs import program

COMMITTED = f"SELECT {rows.OBJECT} FROM object WHERE state = 'COMMITTED' ORDER BY id"  # noqa: S608 - constants
OTHER = Name("photos", "umbrella")


async def fill(objects):
    """Put something of every sort: small and large, in both classes, shared, nameless, replaced, changed, deleted."""
    shared, large = body_of("shared", SMALL), body_of("large", LARGE)
    await put(objects, "small/one", shared, metadata={"a": "b", "title": "Übung 1"}, content_type="text/plain")
    await put(objects, replace(OTHER, key="small/one"), shared)
    await put(objects, replace(OTHER, key="größe 🦀/100%"), large, storage_class=StorageClass.COLD)
    await put(objects, "large", large)
    await put(objects, KNOWN, large)
    await put(objects, KNOWN, b"", storage_class=StorageClass.COLD)
    old = await put(objects, "replaced", body_of("old", LARGE))
    await put(objects, "replaced", body_of("new", LARGE + 1), wish=Wish(match=frozenset({old.object.etag})))
    changed = await put(objects, "changed", body_of("changed", SMALL + 1))
    await objects.change(changed.object.id, Change(metadata={"seen": "yes"}, storage_class=StorageClass.COLD))
    gone = await put(objects, "gone", body_of("gone", LARGE))
    await objects.delete(gone.object.id)
    await objects.database.write(lambda tx: tx.execute("INSERT INTO object_quota VALUES ('acme', 1000000, NULL)"))


async def contents(objects):
    """Give all objects that are committed, and the SHA-256 of what readers get of each."""
    every = list(map(rows.object_of, await objects.database.read(lambda tx: tx.execute(COMMITTED))))
    return {one.id: (one, hashlib.sha256(await get(objects, one.id)).hexdigest()) for one in every}


async def quotas(objects):
    """Give all quotas."""
    return await objects.database.read(lambda tx: tx.execute("SELECT tenant, bytes, objects FROM object_quota"))


async def holds(objects):
    """Count the holds."""
    ((count,),) = await objects.database.read(lambda tx: tx.execute("SELECT COUNT(*) FROM object_hold"))
    return count


async def backed_up(objects, folder, **wishes):
    """Make a backup; give its report."""
    return await back_up(objects, folder, Wishes(**wishes), reactor)


async def restored(objects, folder, at=None):
    """Restore a backup; give what came of it, and see that the last word is the truth."""
    return await restore(objects, folder, at, reactor)


def tree(folder):
    """Give all files of a folder of backups but its lock, with their times and sizes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def blob_path(folder, data):
    """Say where a backup has bytes."""
    digest = hashlib.sha256(data).hexdigest()
    return folder / "blobs" / "sha256" / digest[:2] / digest


def flip(path):
    """Change one bit in the middle of a file, whose size and times stay as they are."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


async def spoil(objects, blob):
    """Give a blob in the database other bytes."""
    values = body_of("other", blob.size), blob.id
    await objects.database.write(lambda tx: tx.execute("UPDATE object_blob SET data = ? WHERE id = ?", values))


def standard_tools(folder, at):
    """Check the bytes of a backup as somebody would who has never heard of stor; give its manifest's lines."""
    check = f"{program('zstd')} -dc manifests/{at}.sha256.zst | {program('sha256sum')} --check --quiet -"
    subprocess.run(["sh", "-ec", check], cwd=folder, check=True, capture_output=True)
    shown = subprocess.run(
        [program("zstd"), "-dc", f"manifests/{at}.jsonl.zst"], cwd=folder, check=True, capture_output=True
    )
    return shown.stdout.splitlines()
