"""`stor put` and `get` at their worst: cut off, interrupted, killed, falsified, away."""

import os
import signal
import subprocess
from array import array
from fcntl import ioctl
from random import Random
from termios import FIONREAD
from uuid import uuid4

from tests.cli.cutting import Line
from tests.cli.shell import ShellCase, files_below
from tests.servers import free_port, wait_until

MIB = 1 << 20
CONTENT = Random(5).randbytes(2 * MIB)
PART = r"^\.a\.[0-9a-f]{8}\.stor-part/bytes$"


class FaultCase(ShellCase):
    def line(self, most=None, **kinds):
        line = Line(self.server.port, most, **kinds)
        self.addCleanup(line.close)
        return line


class ResumeTests(FaultCase):
    def test_next_time(self):
        """What broke off is no file; the next get asks for the rest only, and then it is one."""
        self.create("a", CONTENT)
        cut = self.line(MIB)
        done = self.stor("get", self.name("a"), "--patience", "0", url=cut.url)
        self.assertEqual((done.code, done.err.count("\n")), (75, 1))
        (name, part), _ = sorted(files_below(self.root).items())
        self.assertRegex(name, PART)
        self.assertEqual(part, CONTENT[: len(part)])
        self.assertGreater(len(part), MIB // 2)
        whole = self.line()
        self.well("get", self.name("a"), url=whole.url)
        self.assertLess(whole.given, len(CONTENT) - len(part) + 4096)
        self.assertIn(f"Range: bytes={len(part)}-".lower().encode(), whole.asked.lower())
        self.assertIn(b"if-range:", whole.asked.lower())
        self.assertEqual(files_below(self.root), {"a": CONTENT})

    def test_at_once(self):
        """A line that breaks now and then delays it only."""
        self.create("a", CONTENT)
        breaking = self.line(MIB)
        with self.start("get", self.name("a"), url=breaking.url) as process:
            wait_until(lambda: breaking.given == MIB, 20)
            breaking.most = None
            self.assertEqual((process.wait(20), process.stderr.read()), (0, b""))
        self.assertEqual(files_below(self.root), {"a": CONTENT})
        self.assertLess(breaking.given, len(CONTENT) + 16_384)

    def test_replaced_meanwhile(self):
        """A beginning of something else is thrown away, whether it is shorter, as long or longer."""
        self.create("a", CONTENT)
        for beginning in (b"something else", CONTENT[:-1] + b"x", CONTENT + b"more"):
            cut = self.line(MIB)
            self.assertEqual(self.stor("get", self.name("a"), "--patience", "0", url=cut.url).code, 75)
            [part] = self.root.glob(".a.*/bytes")
            part.write_bytes(beginning)
            self.well("get", self.name("a"))
            self.assertEqual(files_below(self.root), {"a": CONTENT})
            (self.root / "a").unlink()

    def test_two_at_once(self):
        """Two gets into one file do not spoil each other: one of them is told."""
        self.create("a", CONTENT)
        slow = self.line(MIB, holds=True)
        with self.start("get", self.name("a"), url=slow.url) as process:
            wait_until(lambda: [*self.root.glob(".a.*.stor-part/bytes")], 20)
            wait_until(lambda: slow.given == MIB, 20)
            done = self.stor("get", self.name("a"))
            process.kill()
        self.assertEqual(done.code, 4)
        self.assertIn("another process", done.err)


class WrongTests(FaultCase):
    def test_damaged(self):
        """Bytes that are not what the server says they are become no file, and nothing is left of them."""
        self.create("a", CONTENT)
        wrong = self.line(wrong=CONTENT[1000:1064])
        done = self.stor("get", self.name("a"), url=wrong.url)
        self.assertEqual((done.code, files_below(self.root)), (1, {}))
        self.assertIn("damaged", done.err)
        self.write("a", b"what was there")
        wrong = self.line(wrong=CONTENT[1000:1064])
        self.assertEqual(self.stor("get", self.name("a"), url=wrong.url).code, 1)
        self.assertEqual(files_below(self.root), {"a": b"what was there"})

    def test_damaged_pipe(self):
        """What was written to a pipe cannot be taken back: the exit code tells."""
        self.create("a", CONTENT)
        wrong = self.line(wrong=CONTENT[1000:1064])
        done = self.stor("get", self.name("a"), "-", url=wrong.url)
        self.assertEqual((done.code, len(done.out)), (1, len(CONTENT)))
        self.assertIn("damaged", done.err)

    def test_damaged_there(self):
        """What is damaged at the server is told at once, rather than asked for again and again."""
        content = uuid4().bytes * 10_000
        made = self.create("a", content)
        digest = made["content_hash"].removeprefix("sha256:")
        [file] = self.server.data.glob(f"objects/hot/**/{digest}.*")
        with file.open("r+b") as opened:
            opened.write(bytes([content[0] ^ 1]))
        done = self.stor("get", self.name("a"))
        self.assertEqual((done.code, files_below(self.root)), (1, {}))
        self.assertIn("damaged", done.err)

    def test_no_file(self):
        """What stands where the file should be, and is none, is left alone."""
        self.create("a", b"x")
        os.mkfifo(self.root / "pipe")
        done = self.stor("get", self.name("a"), "pipe")
        self.assertEqual((done.code, done.err), (1, f"stor: {self.name('a')}: pipe is no file\n"))


class AwayTests(FaultCase):
    def test_nobody(self):
        """75: nobody answers; one line says so, for many files as for one."""
        for n in range(20):
            self.write(f"d/{n}", b"x")
        url = f"http://127.0.0.1:{free_port()}"
        for words in (["put", "-r", "d", self.name()], ["get", self.name("a")], ["ls"]):
            done = self.stor(*words, "--patience", "0", url=url)
            self.assertEqual((done.code, done.out), (75, b""))
            self.assertRegex(done.err, "^stor: (stor://.*: )?http://127.0.0.1:.* cannot be reached: .*\n$")


class InterruptedTests(FaultCase):
    def test_put(self):
        """Ctrl-C ends a put at once, also while nothing comes out of the pipe; nothing is stored."""
        for key, content in (("a", b"x"), ("b", CONTENT)):
            line = self.line()
            with self.start("put", "-", self.name(key), url=line.url, stdin=subprocess.PIPE) as process:
                process.stdin.write(content)
                process.stdin.flush()
                wait_until(lambda process=process: not _waiting(process.stdin), 20)
                process.send_signal(signal.SIGINT)
                self.assertEqual((process.wait(10), process.stdout.read(), process.stderr.read()), (130, b"", b""))
            self.assertEqual(line.sent > MIB, key == "b")
            self.assertEqual(self.stor("stat", self.name(key)).code, 3)

    def test_get(self):
        """SIGTERM ends a get at once; what came is there for the next one, under the name of a part only."""
        self.create("a", CONTENT)
        slow = self.line(MIB, holds=True)
        with self.start("get", self.name("a"), url=slow.url) as process:
            wait_until(lambda: slow.given == MIB, 20)
            process.send_signal(signal.SIGTERM)
            self.assertEqual((process.wait(10), process.stdout.read(), process.stderr.read()), (143, b"", b""))
        self.assertRegex(min(files_below(self.root)), PART)
        self.well("get", self.name("a"))
        self.assertEqual(files_below(self.root), {"a": CONTENT})

    def test_get_pipe(self):
        """Ctrl-C ends a get whose pipe nobody reads."""
        self.create("a", CONTENT)
        with self.start("get", self.name("a"), "-") as process:
            process.stdout.read(10)
            process.send_signal(signal.SIGINT)
            self.assertEqual((process.wait(10), process.stderr.read()), (130, b""))

    def test_killed(self):
        """A put that was killed leaves nothing under its name, which is free for the next one."""
        self.write("a", CONTENT)
        stuck = self.line(takes=MIB)
        with self.start("put", "a", self.name(), url=stuck.url) as process:
            wait_until(lambda: stuck.sent == MIB, 20)
            process.kill()
        stuck.close()
        self.assertEqual(self.stor("stat", self.name("a")).code, 3)
        self.write("a", b"another")
        self.well("put", "a", self.name(), "--replace")  # which waits until the server has noticed, too
        self.assertEqual(self.well("get", self.name("a"), "-").out, b"another")


def _waiting(pipe):
    """Tell how many bytes of a pipe nobody has read yet."""
    found = array("i", [0])
    ioctl(pipe, FIONREAD, found)
    return found[0]
