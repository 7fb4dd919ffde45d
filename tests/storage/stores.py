"""Stores for tests: started, and stopped when the test ends."""

import hashlib

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList

from stor.storage.directory import Directory
from stor.storage.s3 import Bucket
from stor.streams import whole
from tests.places import folder
from tests.s3 import settings

MIB = 1 << 20


async def open_directory(case, path=None):
    """Start a Directory, in a folder of its own unless one is given."""
    return await _started(case, Directory(path or folder(case), reactor))


async def open_bucket(case, server, **more):
    """Start a Bucket on a server."""
    return await _started(case, Bucket(settings(server, **more), folder(case), reactor))


async def _started(case, store):
    case.addCleanup(store.stopService)
    await store.startService()
    return store


async def spooled(store, pieces, limit=1 << 40, digests=("md5",)):
    """Give a finished spool that holds these pieces."""
    spool = store.spool(limit, digests)
    for piece in pieces:
        room = spool.write(piece)
        if room is not None:
            await room
    await spool.finish()
    return spool


async def read(store, key, *args, **kwargs):
    """Give the bytes of a key."""
    return await whole((await store.get(key, *args, **kwargs)).body, 1 << 30)


async def digest(store, key):
    """Give the SHA-256 of the bytes of a key, and their number, however many."""
    body = (await store.get(key)).body
    if isinstance(body, bytes):
        return hashlib.sha256(body).hexdigest(), len(body)
    sha, size = hashlib.sha256(), 0
    try:
        while piece := await body.read():
            sha.update(piece)
            size += len(piece)
    finally:
        body.close()
    return sha.hexdigest(), size


async def keys(store, prefix="", after=""):
    """Give the keys of all pages."""
    return [listed.key async for page in store.list(prefix, after) for listed in page]


async def at_once(*works):
    """Run all at once; give what each returned or raised."""
    done = await DeferredList([Deferred.fromCoroutine(work) for work in works], consumeErrors=True)
    return [result if fine else result.value for fine, result in done]
