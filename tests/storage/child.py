"""A process of its own that uses a store: `python -m tests.storage.child`, told what to do on standard input."""

import json
import sys
from hashlib import sha256
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from stor.errors import PreconditionFailed
from stor.storage.directory import Directory
from stor.storage.promise import ABSENT
from stor.storage.s3 import Bucket, BucketSettings


def body_of(key):
    """Give the bytes that belong to a key: 0 to 400 kB."""
    seed = sha256(key.encode()).digest()
    return (seed * 12_500)[: int.from_bytes(seed[:4], "big") % 400_000]


def store_of(where):
    """Make the store that `where` describes."""
    if "directory" in where:
        return Directory(Path(where["directory"]), reactor)
    return Bucket(BucketSettings(**where["bucket"]), Path(where["folder"]), reactor)


def say(what):
    """Tell who started us."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def claim(store, order):
    """Try to be the first of each key; tell which were ours."""
    for n in range(order["rounds"]):
        try:
            await store.put(f"{order['at']}/claim/{n}", order["name"].encode(), when=ABSENT)
            say(n)
        except PreconditionFailed:
            pass


async def count(store, order):
    """Add one to a number, so many times, by comparing and setting."""
    key = f"{order['at']}/number"
    left = order["rounds"]
    while left:
        found = await store.get(key)
        try:
            await store.put(key, str(int(found.body) + 1).encode(), when=found.info.etag)
            left -= 1
        except PreconditionFailed:
            pass


async def churn(store, order):
    """Make and remove the only key of a folder, again and again."""
    for n in range(order["rounds"]):
        key = f"{order['at']}/folder/{order['name']}/{n}"
        await store.put(key, b"x")
        await store.delete(key)


async def write(store, order):
    """Write for ever; tell what was acknowledged."""
    n = 0

    async def one(each):
        nonlocal n
        while True:
            n += 1
            key = f"{order['at']}/{each}/{n}"
            spool = store.spool(1 << 20)
            spool.write(body_of(key))
            await spool.finish()
            await store.put(key, spool, metadata={"n": str(n)})
            say(key)

    for each in range(4):
        Deferred.fromCoroutine(one(each))
    await Deferred()


async def main(order):
    """Do what was ordered."""
    store = store_of(order["where"])
    await store.startService()
    await {"claim": claim, "count": count, "churn": churn, "write": write}[order["do"]](store, order)
    await store.stopService()


def begin():
    """Run until it is done; exit code 1 and the error when it fails."""
    done = Deferred.fromCoroutine(main(json.load(sys.stdin)))
    done.addErrback(lambda failure: (failure.printTraceback(sys.stderr), codes.append(1)))
    done.addBoth(lambda _: reactor.stop())


if __name__ == "__main__":
    codes = []
    reactor.callWhenRunning(begin)
    reactor.run()
    sys.exit(len(codes))
