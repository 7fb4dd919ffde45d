"""A spool takes any body in little memory, knows its digests, and leaves nothing behind."""

import hashlib
import os
import stat
import subprocess
import sys
import threading
from errno import EIO, ENOSPC
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from stor.errors import Full, StorError, TooLarge, Unavailable
from stor.streams import Sink, Spool
from stor.streams.spool import SMALL
from stor.threads import Threads
from tests.places import folder
from tests.servers import clean_environment

MIB = 1 << 20
ROOT = Path(__file__).parents[2]


class SpoolCase(TestCase):
    timeout = 60

    def setUp(self):
        self.folder = folder(self)
        self.threads = Threads("spools", 2, reactor)
        self.threads.startService()
        self.addCleanup(self.threads.stopService)

    def spool(self, limit=1 << 40, digests=("md5",)):
        return Spool(self.folder, limit, self.threads, digests)

    async def fill(self, spool, pieces):
        for piece in pieces:
            room = spool.write(piece)
            if room is not None:
                await room
        await spool.finish()
        return spool

    async def nothing_left(self):
        while list(self.folder.iterdir()):
            await deferLater(reactor, 0.01)


class KeepingTests(SpoolCase):
    async def test_sizes(self):
        """Whatever comes in whatever pieces is there, with its digests; few bytes in memory, many in a file."""
        for size, piece in (
            (0, 1),
            (1, 1),
            (SMALL, 1000),
            (SMALL + 1, 1000),
            (300_000, 7),
            (5 * MIB + 3, 100_000),
            (9 * MIB, 9 * MIB),
        ):
            data = os.urandom(size)
            spool: Sink = await self.fill(
                self.spool(digests=("md5", "sha256")), [data[at : at + piece] for at in range(0, size, piece)]
            )
            self.assertEqual(spool.size, size)
            self.assertEqual(spool.digests, {name: hashlib.new(name, data).hexdigest() for name in ("md5", "sha256")})
            self.assertEqual(b"".join(spool.read_chunks()), data)
            self.assertEqual(b"".join(spool.read_chunks(size // 3)), data[size // 3 :])
            if size <= SMALL:
                self.assertEqual((spool.data, spool.file), (data, None))
            else:
                self.assertIsNone(spool.data)
                self.assertEqual(stat.S_IMODE(os.fstat(spool.file.fd).st_mode), 0o600)
                self.assertEqual(Path(spool.file.path).read_bytes(), data)
            spool.discard()
            spool.discard()
            self.assertIsNone(spool.data)
        await self.nothing_left()

    def test_small_needs_no_thread(self):
        """A small body is finished at once, without a thread or a file."""
        spool = Spool(self.folder, SMALL, None, ("sha1",))
        self.assertIsNone(spool.write(b"x" * SMALL))
        done = ensureDeferred(spool.finish())
        self.assertIsNone(self.successResultOf(done))
        self.assertEqual(spool.digests, {"sha1": hashlib.sha1(b"x" * SMALL).hexdigest()})  # noqa: S324 - any will do

    @given(st.lists(st.binary(max_size=50)), st.integers(0, 200))
    def test_limit_of_small(self, pieces, limit):
        """Exactly what is within the limit is taken."""
        spool = Spool(self.folder, limit, None)
        for piece in pieces:
            self.assertIsNone(spool.write(piece))
        done, whole = ensureDeferred(spool.finish()), b"".join(pieces)
        self.assertEqual(spool.size, len(whole))
        if len(whole) > limit:
            self.failureResultOf(done, TooLarge)
        else:
            self.successResultOf(done)
            self.assertEqual(spool.data, whole)

    async def test_limit(self):
        """What is too large is drained without being kept, and refused at the end."""
        spool = self.spool(3 * MIB)
        with self.assertRaises(TooLarge):
            await self.fill(spool, [bytes(MIB)] * 6)
        self.assertEqual(spool.size, 6 * MIB)
        await self.nothing_left()

    async def test_back_pressure(self):
        """With more than 2 MiB in memory the sender is told to wait, until there is room again."""
        gate, real = threading.Event(), os.pwrite
        self.addCleanup(gate.set)
        self.patch(os, "pwrite", lambda *args: (gate.wait(), real(*args))[1])
        spool, sent = self.spool(), 0
        while (room := spool.write(bytes(64 * 1024))) is None:
            sent += 64 * 1024
        self.assertLessEqual(sent, 2 * MIB)
        self.assertGreater(sent, 2 * MIB - 128 * 1024)
        await deferLater(reactor, 0.05)
        self.assertFalse(room.called)
        self.assertIs(spool.write(b"more"), room)
        gate.set()
        await room
        await spool.finish()
        self.assertEqual(b"".join(spool.read_chunks()), bytes(sent + 64 * 1024) + b"more")
        spool.discard()


class FaultTests(SpoolCase):
    async def failing(self, error):
        def fail(*_):
            raise OSError(error, os.strerror(error))

        patch = self.patch(os, "pwrite", fail)
        spool = self.spool()
        for _ in range(50):
            room = spool.write(bytes(100_000))
            if room is not None:
                await room
        try:
            await spool.finish()
        finally:
            patch.restore()
            await self.nothing_left()

    async def test_full(self):
        """A full disk is told at the end, the rest is drained, and no file is left."""
        with self.assertRaises(Full):
            await self.failing(ENOSPC)

    async def test_broken(self):
        """A disk that fails is told at the end, too."""
        with self.assertRaises(Unavailable):
            await self.failing(EIO)

    async def test_discarded(self):
        """A spool may be discarded at any time, also while its file is made or written, and who waits goes on."""
        for size, pause in ((100, 0), (300_000, 0), (300_000, 0.001), (3 * MIB, 0), (3 * MIB, 0.001), (3 * MIB, 0.01)):
            spool = self.spool()
            room = spool.write(bytes(size))
            await deferLater(reactor, pause)
            spool.discard()
            if room is not None:
                await room
            self.assertIsNone(spool.write(b"x"))
            with self.assertRaises(StorError):
                await spool.finish()
        await self.nothing_left()

    async def test_discarded_while_finishing(self):
        """Who waits for the end is told when it is discarded."""
        spool = self.spool()
        spool.write(bytes(MIB))
        finishing = Deferred.fromCoroutine(spool.finish())
        spool.discard()
        await self.assertFailure(finishing, StorError)
        await self.nothing_left()

    async def test_cancelled_finish(self):
        """Who gives up waiting for the end harms nothing; it can be waited for again."""
        spool = self.spool()
        spool.write(b"x" * MIB)
        finishing = Deferred.fromCoroutine(spool.finish())
        finishing.cancel()
        self.failureResultOf(finishing)
        await spool.finish()
        self.assertEqual(spool.digests["md5"], hashlib.md5(b"x" * MIB).hexdigest())  # noqa: S324 - what S3 uses
        spool.discard()

    async def test_too_much_at_once(self):
        """When no thread can be had it is Unavailable."""
        self.threads._most = 0
        with self.assertRaises(Unavailable):
            await self.fill(self.spool(), [bytes(MIB)])


MEMORY = """
import resource, sys, time
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from stor.streams import Spool
from stor.threads import Threads

def resident():
    return 1024 * int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])

async def main():
    threads = Threads("spools", 2, reactor)
    threads.startService()
    piece, most = bytes(65536), 0
    for size in (1 << 20, 512 << 20):
        spool = Spool(Path(sys.argv[1]), 1 << 40, threads)
        before, began = resident(), time.monotonic()
        for n in range(size // len(piece)):
            room = spool.write(piece)
            if n % 64 == 0:
                most = max(most, resident())
            if room is not None:
                await room
        await spool.finish()
        seconds = time.monotonic() - began
        spool.discard()
    print(most - before, 512 / seconds)
    await threads.stopService()

reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()).addBoth(lambda why: (print(why or ""), reactor.stop())))
reactor.run()
"""


class MemoryTests(SpoolCase):
    def test_flat(self):
        """512 MiB go through in less than 16 MiB of memory."""
        environment = clean_environment(PYTHONPATH=str(ROOT))
        argv = [sys.executable, "-c", MEMORY, self.folder]
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=True)
        growth, speed = map(float, done.stdout.split())
        print(f"spool: {speed:.0f} MiB/s, {growth / MIB:.1f} MiB of memory")  # noqa: T201 - with pytest -s
        self.assertLess(growth, 16 * MIB)
