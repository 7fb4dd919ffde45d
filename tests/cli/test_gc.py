"""`stor gc` and `stor fsck`, beside a running server."""

import json
import shutil
from uuid import uuid4

import pytest

from tests.blobs.processes import BlobServer
from tests.cli.cutting import Line
from tests.cli.shell import ShellCase
from tests.servers import wait_until

QUIET = """
    [objects]
    gc_interval_seconds = 86400
"""


@pytest.fixture
def object_server():
    """Lend a stor of its own, which collects nothing by itself after its start."""
    with BlobServer("", QUIET) as server:
        yield server


class BesideCase(ShellCase):
    def setUp(self):
        super().setUp()
        self.content = uuid4().bytes * 10_000

    def files(self):
        """Give the files of contents."""
        return [*self.server.data.glob("objects/*/data/sha256/*/*")]

    def beside(self, *words):
        return self.stor(*words, "--config", self.server.file)

    def fsck(self, *words):
        """Give the exit code, the findings, and how many there were."""
        done = self.beside("fsck", "--json", *words)
        self.assertEqual(done.err, "")
        *findings, counts = done.lines
        return done.code, [finding["check"] for finding in findings], counts


class GcTests(BesideCase):
    def test_collect(self):
        """What is deleted goes at once, and nothing else; the server goes on."""
        for key in ("a", "b", "c"):
            self.create(key, key.encode() + self.content)
        self.create("small", b"inline")
        self.well("rm", self.name("a"), self.name("b"), self.name("small"))
        self.assertEqual(len(self.files()), 3)
        kept = json.loads(self.beside("gc", "--json").out)
        self.assertEqual((kept["deletions"], kept["blobs"], len(self.files())), (3, 0, 3))
        gone = json.loads(self.beside("gc", "--grace", "0", "--json").out)
        self.assertEqual(
            {name: gone[name] for name in ("deletions", "blobs", "copies")}, {"deletions": 0, "blobs": 3, "copies": 2}
        )
        self.assertEqual(len(self.files()), 1)
        self.assertEqual(self.well("get", self.name("c"), "-").out, b"c" + self.content)
        self.assertRegex(self.beside("gc").text, r"^0 files, 0 uploads, 0 deletions, 0 blobs, 0 copies, \d+ rows\n$")

    def test_uploads(self):
        """An upload that is under way is not in its way, nor it in the upload's."""
        self.write("a", self.content * 20)
        slow = Line(self.server.port, takes=2 << 20)
        self.addCleanup(slow.close)
        with self.start("put", "a", self.name(), url=slow.url) as process:
            wait_until(lambda: slow.sent == 2 << 20, 20)
            self.assertEqual(json.loads(self.beside("gc", "--grace", "0", "--json").out)["uploads"], 0)
            self.assertEqual(self.fsck("--repair")[0], 0)
            slow.release()
            self.assertEqual((process.wait(20), process.stderr.read()), (0, b""))
        self.assertEqual(self.well("get", self.name("a"), "-").out, self.content * 20)


class FsckTests(BesideCase):
    def test_stray(self):
        """A file without a row is found, and left alone; with --repair it goes."""
        self.create("a", self.content)
        self.assertEqual(self.fsck(), (0, [], {"found": 0, "repaired": 0, "left": 0}))
        [file] = self.files()
        stray = file.with_name(f"{file.name.partition('.')[0]}.{'ab' * 10}=")
        shutil.copy(file, stray)
        self.assertEqual(self.fsck(), (4, ["stray"], {"found": 1, "repaired": 0, "left": 1}))
        self.assertTrue(stray.exists())
        told = self.beside("fsck")
        self.assertEqual((told.code, told.text.splitlines()[1]), (4, "1 found, 0 repaired, 1 left"))
        self.assertRegex(told.text, r"^stray: hot:sha256/.*: has no row\n")
        self.assertEqual(self.fsck("--repair"), (3, ["stray"], {"found": 1, "repaired": 1, "left": 0}))
        self.beside("gc")
        self.assertEqual((self.files(), self.fsck()[0]), ([file], 0))

    def test_lost(self):
        """A file that is gone is found, and stays lost: reads say so, and the same bytes heal it."""
        self.create("a", self.content)
        self.files()[0].unlink()
        self.assertEqual(self.fsck()[:2], (4, ["bytes"]))
        self.assertEqual(self.fsck("--repair")[:2], (4, ["bytes"]))
        self.assertEqual(self.stor("get", self.name("a"), "-").code, 1)
        self.write("a", self.content)
        self.well("put", "a", self.name("again"))
        self.assertEqual(self.fsck("--deep")[0], 0)
        self.assertEqual(self.well("get", self.name("a"), "-").out, self.content)

    def test_deep(self):
        """A byte that was changed on disk is found when everything is hashed."""
        self.create("a", self.content)
        with self.files()[0].open("r+b") as file:
            file.write(b"?")
        self.assertEqual(self.fsck()[0], 0)
        self.assertEqual(self.fsck("--deep")[:2], (4, ["bytes"]))

    def test_nothing_there(self):
        """1: a configuration that leads nowhere is no store in good order, and none is made there."""
        for command in ("gc", "fsck"):
            done = self.stor(command)
            self.assertEqual((done.code, done.out, [*self.root.iterdir()]), (1, b"", []))
            self.assertRegex(done.err, r"^stor: there is no .*stor\.db; .*\n$")
