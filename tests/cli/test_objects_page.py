"""docs/objects.md: what it says can be typed, from the first line to the last, and what can be typed it says."""

import contextlib
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from stor.cli import fsck, telling
from stor.cli.root import command
from tests.places import folder
from tests.servers import clean_environment, free_port, wait_until

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/objects.md").read_text()
PROGRAMS = {
    "stor": "from stor.cli import main; main()",
    "twistd": "from twisted.scripts.twistd import run; run()",
}


def options(name):
    return {word for option in command.commands[name].params for word in option.opts if word.startswith("--")}


def said(heading):
    """Give the options and the exit codes in the tables below a heading."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = "\n".join(row.split("|")[1] for row in text.splitlines() if row.startswith("|"))
    codes = {int(code) for row in re.findall(r"(?m)^ ([0-9, ]+) $", rows) for code in row.split(",")}
    return set(re.findall(r"`(--[a-z-]+)", rows)), codes


class TableTests(SynchronousTestCase):
    def test_options(self):
        """Each option is told, and no other."""
        self.assertEqual(said("Storing")[0], options("put"))
        self.assertEqual(options("cp"), options("put") - {"--no-key"})
        self.assertEqual(said("Checking")[0], options("fsck"))
        for name in ("get", "ls", "rm", "stat"):
            self.assertLessEqual(options(name), options("put"), name)

    def test_codes(self):
        """Each exit code is."""
        codes = {telling.WELL, telling.ERROR, 2, telling.MISSING, telling.CONFLICT, telling.AWAY}
        self.assertEqual(said("Exit codes")[1], codes | {128 + signal.SIGINT, 128 + signal.SIGTERM})
        self.assertEqual(said("Checking")[1], {fsck.WELL, 1, 2, fsck.REPAIRED, fsck.LEFT})


class WalkTests(SynchronousTestCase):
    def test_all_of_it(self):
        """From an empty folder, everything that the page shows works, one after the other."""
        here, bin_, port = folder(self), folder(self), free_port()
        for name, code in PROGRAMS.items():
            program = bin_ / name
            program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{code}" "$@"\n')
            program.chmod(0o755)
        environment = clean_environment(PYTHONPATH=str(ROOT), STOR_WEB__PORT=str(port))
        environment["PATH"] = f"{bin_}:{environment['PATH']}"
        blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
        self.assertGreater(len(blocks), 10)
        for block in blocks:
            script = ["bash", "-euo", "pipefail", "-c", block.replace(":8080", f":{port}")]
            kinds = {"cwd": here, "env": environment, "stdin": subprocess.DEVNULL}
            if block.startswith("twistd"):
                self.serve(["bash", "-c", f"exec {block}"], port, kinds)
                continue
            done = subprocess.run(script, **kinds, capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 0, f"{block}\n{done.stdout}\n{done.stderr}")

    def serve(self, argv, port, kinds):
        output = (kinds["cwd"] / "output").open("wb")
        self.addCleanup(output.close)
        process = subprocess.Popen(argv, stdout=output, stderr=output, **kinds)
        self.addCleanup(process.wait, 20)
        self.addCleanup(process.terminate)

        def answers():
            self.assertIsNone(process.poll(), (kinds["cwd"] / "output").read_text())
            with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", port), 1)):
                return True
            return False

        wait_until(answers, 20)
