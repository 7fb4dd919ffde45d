"""`stor put`, `get`, `stat`, `ls`, `rm` and `cp`, as a person types them."""

import os
import pty
import subprocess
from hashlib import sha256
from random import Random

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from stor.cli.root import command
from tests.cli.cutting import Line
from tests.cli.shell import ShellCase, files_below
from tests.places import folder

MIB = 1 << 20


class OneTests(ShellCase):
    def test_there_and_back(self):
        """What is put is got, under its own name in a folder or under the one that is said."""
        self.write("a.txt", b"hello")
        self.well("put", "a.txt", self.name("x/"))
        self.assertEqual(self.well("get", self.name("x/a.txt"), "b.txt").text.split()[0], "fetched")
        self.assertEqual((self.root / "b.txt").read_bytes(), b"hello")
        (self.root / "there").mkdir()
        self.well("get", self.name("x/a.txt"), "there")
        self.assertEqual(files_below(self.root), {"a.txt": b"hello", "b.txt": b"hello", "there/a.txt": b"hello"})

    def test_again(self):
        """To do it again does nothing, here and there."""
        self.write("a", b"hello")
        first = self.well("put", "--json", "a", self.name()).lines[0]
        second = self.well("put", "--json", "a", self.name()).lines[0]
        self.assertEqual((first["status"], second["status"]), ("stored", "unchanged"))
        self.assertEqual(first["object"], second["object"])
        before = (self.root / "a").stat()
        self.assertEqual(self.well("get", "--json", self.name("a")).lines[0]["status"], "unchanged")
        self.assertEqual((self.root / "a").stat().st_ino, before.st_ino)

    def test_described(self):
        """Type, metadata and class are kept; the type is guessed by the name."""
        self.write("a.json", b"{}")
        self.well("put", "a.json", self.name(), "--meta", "Who=Zoë", "--meta", "of=x=y", "--class", "cold")
        [seen] = self.well("stat", "--json", self.name("a.json")).lines
        self.assertEqual(
            (seen["content_type"], seen["metadata"], seen["storage_class"], seen["size_bytes"]),
            ("application/json", {"who": "Zoë", "of": "x=y"}, "cold", 2),
        )
        self.assertEqual(seen["content_hash"], f"sha256:{sha256(b'{}').hexdigest()}")
        told = self.well("stat", seen["id"]).text
        self.assertIn("metadata who: Zoë\n", told)
        self.assertIn("size bytes: 2\n", told)
        self.well("put", "a.json", self.name("b"), "--content-type", "text/x-odd")
        self.assertIn("content type: text/x-odd\n", self.well("stat", self.name("b")).text)

    def test_ids(self):
        """An object without a key is put, found, got and deleted by its id."""
        self.write("a", b"hello")
        [made] = self.well("put", "--json", "--no-key", "a", self.name()).lines
        object_id = made["object"]["id"]
        self.assertIsNone(made["object"]["key"])
        self.assertEqual(self.well("get", object_id, "-").out, b"hello")
        self.well("get", object_id)
        self.assertEqual((self.root / object_id).read_bytes(), b"hello")
        self.well("rm", object_id)
        self.assertEqual(self.stor("stat", object_id).code, 3)

    def test_tenants(self):
        """A tenant may have slashes, which are written %2F; so are percent signs, and whatever else one likes."""
        self.write("f", b"hello")
        self.well("put", "f", f"stor://tests/{self.tenant}%2Fof%2Fx/k 100%25/ä+b")
        self.assertEqual(self.stor("stat", self.name("of/x/k 100%25/ä+b")).code, 3)
        line = self.well("ls", "-r", f"stor://tests/{self.tenant}%2Fof%2Fx").text
        written = line.split()[-1]
        self.assertEqual(written, f"stor://tests/{self.tenant}%2Fof%2Fx/k%20100%25/ä+b")
        self.assertEqual(self.well("get", written, "-").out, b"hello")

    def test_deleted(self):
        """What is deleted is gone; to delete it again is told, and keeps nobody from the rest."""
        for key in "abc":
            self.create(key, key.encode())
        self.well("rm", self.name("a"))
        done = self.stor("rm", self.name("a"), self.name("b"))
        self.assertEqual((done.code, done.err), (3, f"stor: {self.name('a')}: no such object\n"))
        self.assertEqual([line["key"] for line in self.well("ls", "--json", self.name()).lines], ["c"])
        wrong = "sha256:" + sha256(b"another").hexdigest()
        self.assertEqual(self.stor("rm", "--if-match", wrong, self.name("c")).code, 4)
        self.well("rm", "--if-match", sha256(b"c").hexdigest(), self.name("c"))


class WishTests(ShellCase):
    def test_taken(self):
        """A key that has other bytes is left alone, and how to replace them is told."""
        self.create("a", b"old")
        self.write("a", b"new")
        done = self.stor("put", "a", self.name())
        self.assertEqual((done.code, done.err.count("\n")), (4, 1))
        self.assertIn("--replace", done.err)
        self.assertEqual(self.stor("put", "a", self.name(), "--if-none-match").code, 4)
        self.assertEqual(self.stor("put", "a", self.name(), "--if-match", sha256(b"x").hexdigest()).code, 4)
        self.assertEqual(self.well("get", self.name("a"), "-").out, b"old")
        self.well("put", "a", self.name(), "--if-match", sha256(b"old").hexdigest())
        self.assertEqual(self.well("get", self.name("a"), "-").out, b"new")

    def test_replace(self):
        """--replace stores whatever was there, and where nothing was."""
        for content in (b"one", b"two"):
            self.write("a", content)
            self.well("put", "a", self.name(), "--replace")
            self.assertEqual(self.well("get", self.name("a"), "-").out, content)
        with self.write("b", b"three").open("rb") as three:
            done = self.well("put", "-", self.name("a"), "--replace", stdin=three)
        self.assertEqual(done.text.split()[0], "stored")
        self.assertEqual(self.well("get", self.name("a"), "-").out, b"three")

    def test_held(self):
        """Bytes that the tenant has already are not sent, when that is asked for."""
        content = Random(1).randbytes(MIB)
        self.write("big", content)
        line = Line(self.server.port)
        self.addCleanup(line.close)
        first = self.well("put", "--skip-if-held", "--json", "big", self.name("one"), url=line.url)
        self.assertEqual((first.lines[0]["status"], line.sent > MIB), ("stored", True))
        line.sent = 0
        second = self.well("put", "--skip-if-held", "--json", "big", self.name("two"), url=line.url)
        self.assertEqual((second.lines[0]["status"], line.sent < 4096), ("adopted", True))
        self.assertEqual(self.well("get", self.name("two"), "-").out, content)
        self.write("none", b"")
        for key in ("three", "four"):
            self.well("put", "--skip-if-held", "none", self.name(key))
            self.assertEqual(self.well("get", self.name(key), "-").out, b"")


class CopyTests(ShellCase):
    def test_files(self):
        """Between a file and an object it is put and get."""
        self.write("a", b"hello")
        self.well("cp", "a", self.name())
        self.well("cp", self.name("a"), "b")
        self.assertEqual((self.root / "b").read_bytes(), b"hello")
        self.assertEqual(self.well("cp", self.name("a"), "-").out, b"hello")

    def test_within(self):
        """Within a tenant no bytes move, and what is known of the object is kept."""
        content = Random(2).randbytes(MIB)
        self.create("a", content, Content_Type="image/x", X_Meta_Who="me", X_Storage_Class="cold")
        line = Line(self.server.port)
        self.addCleanup(line.close)
        self.well("cp", self.name("a"), self.name("to/"), url=line.url)
        self.assertLess(line.sent + line.given, 8192)
        [seen] = self.well("stat", "--json", self.name("to/a")).lines
        kept = (seen["content_type"], seen["metadata"], seen["storage_class"])
        self.assertEqual(kept, ("image/x", {"who": "me"}, "cold"))
        self.assertEqual(self.well("get", self.name("to/a"), "-").out, content)

    def test_between(self):
        """To another tenant they go through us."""
        content = Random(3).randbytes(MIB)
        self.create("a", content)
        other = f"stor://tests/{self.tenant}-other/b"
        [done] = self.well("cp", "--json", self.name("a"), other, "--meta", "x=y").lines
        self.assertEqual((done["status"], done["object"]["metadata"]), ("stored", {"x": "y"}))
        self.assertEqual(self.well("get", other, "-").out, content)


class ManyTests(ShellCase):
    def test_two_hundred(self):
        """A folder becomes objects, is copied, comes back the same, and is deleted."""
        files = {f"{n % 7}/{n % 3}/file {n}.txt": f"{n % 150}".encode() for n in range(200)}
        for path, content in files.items():
            self.write(f"from/{path}", content)
        self.assertEqual(self.well("put", "-r", "from", self.name("x")).text, "200 stored\n")
        self.assertEqual(self.well("put", "-r", "from", self.name("x/")).text, "200 unchanged\n")
        self.assertEqual(self.well("cp", "-r", self.name("x"), self.name("y")).text, "200 adopted\n")
        self.create("xy", b"no part of it")
        self.assertEqual(self.well("get", "-r", self.name("y"), "to").text, "200 fetched\n")
        self.assertEqual(files_below(self.root / "to"), files)
        (self.root / "to/0/0/file 0.txt").unlink()
        self.assertEqual(self.well("get", "-r", self.name("y"), "to").text, "1 fetched, 199 unchanged\n")
        self.assertEqual(self.well("rm", "-r", self.name("x")).text, "200 deleted\n")
        self.assertEqual(len(self.well("ls", "-r", "--json", self.name()).lines), 201)

    def test_several(self):
        """Several files go into one folder, each under its own name; one that fails keeps nobody from the rest."""
        self.write("a", b"1")
        self.write("d/b", b"2")
        done = self.stor("put", "a", "missing", "d/b", self.name("x/"))
        self.assertEqual(done.code, 1)
        self.assertRegex(done.err, "^stor: .*x/missing: missing: No such file or directory\n$")
        self.assertEqual([line["key"] for line in self.well("ls", "--json", self.name("x/")).lines], ["x/a", "x/b"])

    def test_left_out(self):
        """Links and what is no file are left out and told; a name that is no key is told, and the rest is stored."""
        self.write("from/a", b"1")
        (self.root / "from/link").symlink_to("a")
        os.mkfifo(self.root / "from/pipe")
        self.write("from/two\nlines", b"2")
        (self.root / os.fsdecode(b"from/\xff")).write_bytes(b"3")
        done = self.stor("put", "-r", "from", self.name())
        self.assertEqual((done.code, done.text), (1, "1 stored, 2 failed\n"))
        self.assertEqual(done.err.count("left out:"), 2)
        self.assertIn("the name is not UTF-8", done.err)
        self.assertIn("two\\nlines", done.err)

    def test_no_way_out(self):
        """A key that would lead out of the folder, or is no path, is not fetched with it."""
        for key in ("../out", "/abs", "a//b", "c/./d", "well/e", ".."):
            self.create(key, b"x")
        done = self.stor("get", "-r", self.name(), "to")
        self.assertEqual((done.code, done.text), (1, "1 fetched, 5 failed\n"))
        self.assertEqual(files_below(self.root), {"to/well/e": b"x"})
        self.well("get", self.name("../out"), "named")

    def test_listing(self):
        """A folder shows what is in it, as a folder what is deeper; -r shows all."""
        for key in ("a/b", "a/c/d", "a/c/e", "f"):
            self.create(key, b"12345")
        lines = self.well("ls", self.name("a/")).text.splitlines()
        self.assertEqual([line.split()[-1] for line in lines], [self.name("a/c/"), self.name("a/b")])
        self.assertIn("5 bytes", lines[1])
        deep = self.well("ls", "-r", self.name("a/")).text.splitlines()
        self.assertEqual([line.split()[-1] for line in deep], [self.name(key) for key in ("a/b", "a/c/d", "a/c/e")])
        self.assertEqual(self.well("ls", self.name("zzz")).text, "")


class PipeTests(ShellCase):
    def test_memory(self):
        """Pipes of any length go through, with as much memory as short ones need."""
        for size in (1, 96):
            source = subprocess.Popen(["head", "-c", f"{size * MIB}", "/dev/zero"], stdout=subprocess.PIPE)
            self.addCleanup(source.wait)
            done = self.well("put", "-", self.name(str(size)), stdin=source.stdout)
            source.stdout.close()
            got = self.well("get", self.name(str(size)), "-")
            self.assertEqual(sha256(got.out).digest(), sha256(bytes(size * MIB)).digest())
            peaks = (done.peak, got.peak)
            if size == 1:
                small = peaks
        for more, less in zip(peaks, small, strict=True):
            self.assertLess(more - less, 24 * MIB)

    def test_nobody_reads(self):
        """Whoever stops reading ends it, at once and quietly."""
        self.create("a", bytes(4 * MIB))
        with self.start("get", self.name("a"), "-") as process:
            process.stdout.read(10)
            process.stdout.close()
            self.assertEqual((process.wait(20), process.stderr.read()), (1, b""))


class TellingTests(ShellCase):
    def test_json(self):
        """Failures are lines too, and people's words are left out."""
        self.write("a", b"x")
        done = self.stor("put", "--json", "a", "missing", self.name())
        self.assertEqual((done.code, done.err), (1, ""))
        self.assertEqual({line["status"] for line in done.lines}, {"stored", "failed"})
        [missing] = self.stor("stat", "--json", self.name("no")).lines
        self.assertEqual((missing["code"], missing["name"]), ("OBJECT_NOT_FOUND", self.name("no")))

    def test_codes(self):
        """What failures have in common is the exit code; those of several kinds make 1."""
        self.create("a", b"x")
        self.assertEqual(self.stor("rm", self.name("no"), self.name("nor")).code, 3)
        match = "sha256:" + "0" * 64
        self.assertEqual(self.stor("rm", "--if-match", match, self.name("a"), self.name("no")).code, 1)

    def test_denied(self):
        """1: a credential that is refused."""
        done = self.stor("ls", key="not-the-right-one")
        self.assertEqual((done.code, done.err.count("\n")), (1, 1))
        self.assertIn("401", done.err)

    def test_terminal(self):
        """A terminal is shown how far it is, and nothing of that is left at the end."""
        self.write("big", bytes(8 * MIB))
        master, slave = pty.openpty()
        with self.start("put", "big", self.name(), stderr=slave) as process:
            os.close(slave)
            shown = b""
            try:
                while piece := os.read(master, 65536):
                    shown += piece
            except OSError:
                pass  # the other side is closed
            out = process.stdout.read()
        os.close(master)
        self.assertEqual((process.returncode, out[:6]), (0, b"stored"))
        self.assertIn(b"MB", shown)
        self.assertIn(b"\x1b[2K", shown[-60:])


class UsageTests(SynchronousTestCase):
    def test_usage(self):
        """2: a command line that makes no sense, before anybody is asked."""
        root = folder(self)
        (root / "d").mkdir()
        file, where = root / "a", "stor://tests/t/"
        file.touch()
        for words, told in (
            (["put", file, "somewhere"], "stor://namespace/tenant/key"),
            (["put", file, "stor://tests"], "whose"),
            (["put", file, file, where + "key"], "slash"),
            (["put", root / "d", where], "-r"),
            (["put", "-r", file, where], "one folder"),
            (["put", "-", where], "--no-key"),
            (["put", file, where + "k", "--no-key"], "--no-key"),
            (["put", file, where, "--meta", "novalue"], "name=value"),
            (["put", file, where, "--meta", "a=b\nc"], "name=value"),
            (["put", file, where, "--replace", "--if-none-match"], "do not go together"),
            (["put", file, where, "--if-match", "x"], "ETag"),
            (["put", file, "stor://tests/t/100%"], "%25"),
            (["get", where + "k/"], "which file"),
            (["get", where + "k", "-", "--json"], "--json"),
            (["rm", "-r", "stor://tests"], "whose"),
            (["rm", "-r", "01a1fedb-271e-79bc-8113-9e8f84e3dc1b"], "one object"),
            (["cp", "a", "b"], "remote"),
            (["ls", "--url", "ftp://x"], "http"),
            (["ls", "--url", "http://me:swordfish@x"], "credential"),
        ):
            done = CliRunner().invoke(command, [*map(str, words)], env={"STOR_KEY": "k"})
            self.assertEqual((done.exit_code, done.stdout), (2, ""), words)
            self.assertIn(told, " ".join(done.stderr.split()), words)
            self.assertNotIn("swordfish", done.stderr)

    def test_help(self):
        """Each command tells its exit codes, and its examples one in a line; none takes a secret."""
        for name in ("put", "get", "ls", "rm", "stat", "cp", "gc", "fsck"):
            said = CliRunner().invoke(command, [name, "--help"]).stdout
            self.assertRegex(said, rf"\n  Examples:\n    [^\n]*stor {name}[^\n]*\n    [^\n]*\n", name)
            if name != "gc":
                self.assertIn("Exit code 0:", said)
            self.assertNotRegex(said, r"--(key|token|secret|password)[ =]")
