"""The `stor` command as a shell runs it, against a running stor."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.blobs.processes import KEY
from tests.places import folder
from tests.servers import clean_environment

ROOT = Path(__file__).parent.parent.parent
STOR = [sys.executable, "-c", "from stor.cli import main; main()"]


@dataclass(frozen=True)
class Ran:
    """How a command ended; `peak` is the most memory that it had, in bytes."""

    code: int
    out: bytes
    err: str
    peak: int

    @property
    def text(self):
        return self.out.decode()

    @property
    def lines(self):
        """What it said with --json."""
        return [json.loads(line) for line in self.out.splitlines()]


class ShellCase(SynchronousTestCase):
    """Each test has a folder to work in, and a tenant that nobody else uses."""

    @pytest.fixture(autouse=True)
    def _lend(self, object_server):
        self.server = object_server

    def setUp(self):
        self.root, self.tenant = folder(self), uuid4().hex

    def name(self, key=""):
        """Write the name of one of our objects."""
        return f"stor://tests/{self.tenant}/{key}"

    def start(self, *words, url=None, key=KEY, **kinds):
        environment = clean_environment(PYTHONPATH=str(ROOT), STOR_URL=url or self.server.url, STOR_KEY=key)
        kinds = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | kinds
        return subprocess.Popen([*STOR, *map(str, words)], cwd=self.root, env=environment, **kinds)

    def stor(self, *words, **kinds):
        """Run it to its end, without its having said who we are."""
        out, err = self.root / f"{uuid4().hex}.out", self.root / f"{uuid4().hex}.err"
        with out.open("wb") as told, err.open("wb") as complained:
            process = self.start(*words, **{"stdout": told, "stderr": complained} | kinds)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        found = Ran(process.returncode, out.read_bytes(), err.read_text(), usage.ru_maxrss * 1024)
        out.unlink()
        err.unlink()
        self.assertNotIn(KEY.encode(), found.out + found.err.encode())
        self.assertNotIn("Traceback", found.err)
        return found

    def well(self, *words, **kinds):
        """Run it, and have it end well without a complaint."""
        done = self.stor(*words, **kinds)
        self.assertEqual((done.code, done.err), (0, ""), done.out[:1000])
        return done

    def write(self, path, content):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def create(self, key, content, **headers):
        """Make an object, without the command."""
        lines = {"X_Namespace": "tests", "X_Tenant": self.tenant, "X_Key": key} | headers
        made = self.server.ask("POST", "/v1/objects", content, **lines)
        self.assertEqual(made.code, 201, made.body)
        return made.json


def files_below(root):
    """Give the content of each file."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
