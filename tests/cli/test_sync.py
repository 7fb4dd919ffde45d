"""`stor sync` as a shell sees it."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from twisted.trial.unittest import SynchronousTestCase

from stor.cli.sync import AWAY, CONFLICTS, ERROR, REFUSED, WELL, sync
from tests.client.serving import TreeServer, files_in
from tests.places import folder
from tests.servers import clean_environment, free_port, wait_until

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-c", "from stor.cli import main; main()", "sync"]


@pytest.fixture(scope="module")
def server():
    """Lend a running stor to this module."""
    with TreeServer() as lent:
        yield lent


class SyncCase(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _lend(self, server):
        self.server = server

    def setUp(self):
        self.root, self.namespace = folder(self), uuid4().hex
        self.direct = self.server.direct(self.namespace + "/")
        self.addCleanup(self.direct.close)

    def start(self, *arguments, token=None, url=None, **kinds):
        argv = [*COMMAND, str(self.root), url or self.server.url, "--namespace", self.namespace, *arguments]
        token = self.server.token if token is None else token
        environment = clean_environment(PYTHONPATH=str(ROOT), STOR_TOKEN=token)
        kinds = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | kinds
        return subprocess.Popen(argv, env=environment, **kinds)

    def stor(self, *arguments, **kinds):
        """Run it to its end: exit code, what it said, what it complained of."""
        with self.start(*arguments, **kinds) as process:
            out, err = process.communicate(timeout=40)
        self.assertNotIn(self.server.token.encode(), out + err)
        self.assertNotIn(b"Traceback", err)
        return process.returncode, out.decode(), err.decode()

    def write(self, path, content):
        (self.root / path).write_text(content)


class OutcomeTests(SyncCase):
    def test_in_step(self):
        """0: one line says what was done."""
        self.write("a", "one")
        self.assertEqual(self.stor(), (0, "in step: 1 uploaded\n", ""))
        self.assertEqual(self.direct.files(), {"a": b"one"})
        self.assertEqual(self.stor(), (0, "in step: nothing to do\n", ""))

    def test_conflict(self):
        """3: both contents were kept, and where is told."""
        self.write("a", "ours")
        self.direct.put("a", b"theirs")
        code, out, err = self.stor()
        self.assertEqual((code, out), (3, "in step: 1 uploaded, 1 downloaded, 1 conflicts\n"))
        self.assertRegex(err, r"^conflict: a: ours is kept as a\.conflict-.*\n$")

    def test_choices(self):
        """0: or one of them, as was asked."""
        for option, wins in (("--ours", b"ours"), ("--theirs", b"theirs")):
            self.write(option, "ours")
            self.direct.put(option, b"theirs")
            self.assertEqual(self.stor(option)[0], 0)
            self.assertEqual((self.direct.files()[option], (self.root / option).read_bytes()), (wins, wins))

    def test_problem(self):
        """1: some paths could not be synced; each is named, and the rest is done."""
        self.direct.put("a", b"x")
        self.direct.put("a/b", b"x")
        self.direct.put("c", b"x")
        code, out, err = self.stor()
        self.assertEqual((code, out), (1, "not in step: 2 downloaded, 1 not synced\n"))
        self.assertIn("is in the way", err)

    def test_refused(self):
        """4: nothing was done, and what to say to have it done."""
        for n in range(10):
            self.write(f"f{n}", "x")
        self.stor()
        for n in range(10):
            (self.root / f"f{n}").unlink()
        code, out, err = self.stor()
        self.assertEqual((code, out), (4, ""))
        self.assertIn("--allow-mass-delete", err)
        self.assertEqual(len(self.direct.files()), 10)
        self.assertEqual(self.stor("--allow-mass-delete")[1], "in step: 10 deleted there\n")

    def test_away(self):
        """75: nobody answers."""
        code, out, err = self.stor("--patience", "0", url=f"http://127.0.0.1:{free_port()}")
        self.assertEqual((code, out), (75, ""))
        self.assertRegex(err, "^stor: http://127.0.0.1:.* cannot be reached: .*\n$")

    def test_denied(self):
        """1: a credential that is refused."""
        code, _, err = self.stor(token="not-the-right-one")
        self.assertEqual((code, err.count("\n")), (1, 1))
        self.assertIn("401", err)

    def test_busy(self):
        """1: another sync holds the folder."""
        with self.start("--watch") as other:
            wait_until((self.root / ".stor-sync/state.db").exists, 20)
            code, _, err = self.stor()
            other.terminate()
            other.communicate()
        self.assertEqual(code, 1)
        self.assertIn("another sync", err)

    def test_usage(self):
        """2: a command line that makes no sense."""
        for arguments, words in (
            (["--watch", "--dry-run"], "do not go together"),
            (["--patience", "soon"], "patience"),
            (["--token", "x"], "No such option"),
            (["--token-file", str(self.root / "none")], "does not exist"),
        ):
            code, out, err = self.stor(*arguments)
            self.assertEqual((code, out), (2, ""))
            self.assertIn(words, err)
        code, _, err = self.stor(url="http://me:swordfish@host")
        self.assertEqual(code, 2)
        self.assertNotIn("swordfish", err)

    def test_no_folder(self):
        """2: a folder that is not there is not made."""
        self.root.rmdir()
        self.assertEqual(self.stor()[0], 2)
        self.root.mkdir()


class PageTests(SynchronousTestCase):
    page = (ROOT / "docs/sync.md").read_text()

    def test_options(self):
        """Each option is told in docs/sync.md, and no other."""
        table = self.page.partition("## Options")[2].partition("## Exit codes")[0]
        options = {name for option in sync.params for name in option.opts if name.startswith("--")}
        self.assertEqual(set(re.findall(r"`(--[a-z-]+)", table)), options)

    def test_codes(self):
        """Each exit code is."""
        table = self.page.partition("## Exit codes")[2].partition("## ")[0]
        said = {int(code) for row in re.findall(r"(?m)^\| ([0-9, ]+) \|", table) for code in row.split(",")}
        self.assertEqual(said, {WELL, ERROR, 2, CONFLICTS, REFUSED, AWAY, 128 + signal.SIGINT, 128 + signal.SIGTERM})


class JsonTests(SyncCase):
    def test_done(self):
        """One object says all."""
        self.write("a", "ours")
        self.direct.put("a", b"theirs")
        self.direct.put("x/y", b"x")
        (self.root / "link").symlink_to("/nowhere")
        code, out, err = self.stor("--json")
        said = json.loads(out)
        [conflict] = said.pop("conflicts")
        self.assertEqual((code, err, conflict["path"]), (3, "", "a"))
        self.assertEqual(
            said,
            {
                "status": "conflicts",
                "code": 3,
                "uploaded": 1,
                "downloaded": 2,
                "deleted_here": 0,
                "deleted_there": 0,
                "problems": [],
                "notes": ["link is not synced: a symbolic link"],
            },
        )

    def test_planned(self):
        """A dry run gives the plan, and leaves no trace."""
        self.write("a", "one")
        self.direct.put("b\u2028", b"two")
        code, out, _ = self.stor("--json", "--dry-run")
        self.assertEqual(code, 0)
        plan = [{"act": "upload", "path": "a"}, {"act": "download", "path": "b\u2028"}]
        self.assertEqual(json.loads(out)["plan"], plan)
        self.assertEqual([path.name for path in self.root.iterdir()], ["a"])
        self.assertEqual(self.stor("--dry-run")[1].splitlines()[0], "upload        a")

    def test_failed(self):
        """An error is an object too."""
        code, out, err = self.stor("--json", token="not-the-right-one")
        self.assertEqual((code, err), (1, ""))
        self.assertEqual(json.loads(out)["status"], "error")


class TokenTests(SyncCase):
    def test_file(self):
        """The credential is read from a file, which counts more than the environment."""
        file = folder(self) / "token"
        file.write_text(self.server.token + "\n")
        self.assertEqual(self.stor("--token-file", str(file), token="wrong")[0], 0)

    def test_empty(self):
        """An empty file is told."""
        file = folder(self) / "token"
        file.touch()
        code, _, err = self.stor("--token-file", str(file))
        self.assertEqual(code, 1)
        self.assertIn("is empty", err)


class SignalTests(SyncCase):
    def hanging(self):
        """Somebody who takes the request and never answers."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        listening.settimeout(20)
        return listening

    def test_interrupted(self):
        """Ctrl-C and SIGTERM end it at once, with the codes that shells know."""
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            listening = self.hanging()
            with self.start(url=f"http://127.0.0.1:{listening.getsockname()[1]}") as process, listening.accept()[0]:
                process.send_signal(number)
                out, err = process.communicate(timeout=10)
            self.assertEqual((process.returncode, out, err), (code, b"", b""))

    def test_watch(self):
        """Watching is ended by Ctrl-C in the ordinary way: the code is that of the last sync."""
        self.write("a", "one")
        with self.start("--watch", "--json") as process:
            wait_until(lambda: "a" in self.direct.files(), 20)
            self.direct.put("b", b"two")
            wait_until(lambda: "b" in files_in(self.root), 20)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
        self.assertEqual((process.returncode, err), (0, b""))
        said = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(sum(one["downloaded"] for one in said), 1)


class TerminalTests(SyncCase):
    def test_progress(self):
        """A terminal is shown how far it is; and nothing of it is left at the end."""
        for n in range(20):
            self.write(f"f{n}", "x" * 100_000)
        master, slave = pty.openpty()
        with self.start(stderr=slave) as process:
            os.close(slave)
            shown = b""
            try:
                while piece := os.read(master, 65536):
                    shown += piece
            except OSError:
                pass  # the other side is closed
            out = process.stdout.read()
        os.close(master)
        self.assertEqual((process.returncode, out), (0, b"in step: 20 uploaded\n"))
        self.assertIn(b"20/20", shown)
        self.assertTrue(shown.rstrip().endswith(b"\x1b[2K") or b"\x1b[2K" in shown[-60:], shown[-100:])
