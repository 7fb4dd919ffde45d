"""Files as streams: closed once, and never another's."""

import contextlib  # trial takes a module's `suppress` for its own
import os
import threading
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from stor.errors import Failed, Unavailable
from stor.streams import FilePart, FileStream, Stream, whole
from stor.streams.disk import Descriptor
from stor.threads import Threads
from tests.places import folder


class FilePartTests(TestCase):
    timeout = 20

    def setUp(self):
        self.path = folder(self) / "file"
        self.data = os.urandom(700_000)
        self.path.write_bytes(self.data)
        self.threads = Threads("reads", 2, reactor)
        self.threads.startService()
        self.addCleanup(self.threads.stopService)

    def is_open(self):
        """Tell whether we have the file open."""
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # the one of this look
                if descriptor.readlink() == self.path:
                    return True
        return False

    def part(self, start, stop):
        return FilePart(Descriptor(os.open(self.path, os.O_RDONLY)), start, stop, self.threads)

    async def test_part(self):
        """The part is given in pieces, with its length, and the web room may send it by its descriptor."""
        for start, stop in ((0, 700_000), (5, 300_000), (699_999, 700_000), (7, 7)):
            part = self.part(start, stop)
            self.assertIsInstance(part, Stream)
            self.assertIsInstance(part, FileStream)
            self.assertEqual((part.length, part.start, part.stop), (stop - start, start, stop))
            self.assertEqual(os.pread(part.fd, stop - start, start), self.data[start:stop])
            self.assertEqual(await whole(part, 1 << 20), self.data[start:stop])

    async def test_closed(self):
        """Closing closes the descriptor, any number of times; nothing is read afterwards."""
        part = self.part(0, 700_000)
        part.close()
        part.close()
        await self.threads.run(int)
        self.assertFalse(self.is_open())
        with self.assertRaises(ValueError):
            await part.read()

    async def test_closed_while_read(self):
        """A descriptor that a thread is at work with stays open until that is done: its number goes to nobody else."""
        part, gate, real, seen = self.part(0, 700_000), threading.Event(), os.pread, []
        self.addCleanup(gate.set)

        def pread(fd, size, offset):
            gate.wait()
            seen.append(Path(f"/proc/self/fd/{fd}").readlink())
            return real(fd, size, offset)

        self.patch(os, "pread", pread)
        reading = Deferred.fromCoroutine(part.read())
        await deferLater(reactor, 0.05)
        part.close()
        await self.threads.run(int)
        other = os.open("/dev/null", os.O_RDONLY)
        self.addCleanup(os.close, other)
        self.assertNotEqual(other, part.fd)
        gate.set()
        self.assertEqual(await reading, self.data[: 256 * 1024])
        self.assertEqual(seen, [self.path])
        self.assertFalse(self.is_open())

    async def test_shorter(self):
        """A file that has become shorter is an error, not an end."""
        part = self.part(0, 700_000)
        os.truncate(self.path, 300_000)
        with self.assertRaises(Failed):
            await whole(part, 1 << 20)

    async def test_broken(self):
        """What the disk says is Unavailable."""
        part = FilePart(Descriptor(os.open(self.path.parent, os.O_RDONLY)), 0, 5, self.threads)
        with self.assertRaises(Unavailable):
            await whole(part, 1 << 20)
