"""A Dokku host for tests: an `ssh`, first in PATH, that is far_side.py; and the state it keeps."""

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import TestCase

from tests.places import folder

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
COMMAND = (  # `stor`, whichever of its subcommands are listed
    "from stor.cli.root import command, main; from stor.cli.dokku import dokku; command.add_command(dokku); main()"
)


class Host:
    """The far side: what it was told, and how it is to behave."""

    def __init__(self, case: TestCase) -> None:
        self.folder = folder(case)
        self.write(apps={}, version="0.37.1", running="true", health=[0])

    def write(self, **changes) -> None:
        file = self.folder / "state.json"
        file.write_text(json.dumps((self.state if file.exists() else {}) | changes))

    @property
    def state(self) -> dict:
        return json.loads((self.folder / "state.json").read_text())

    @property
    def app(self) -> dict:
        return self.state["apps"]["stor"]

    @property
    def calls(self) -> list[dict]:
        file = self.folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def words(self) -> list[str]:
        """The name of each command so far."""
        return [call["words"][0] for call in self.calls]

    def show(self, branch: str, name: str) -> str:
        """A file of what was pushed."""
        argv = ["git", "-C", str(self.folder / "repositories" / "stor"), "show", f"{branch}:{name}"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


class Operator:
    """The near side: a home of its own, from which `stor dokku` is run as a process."""

    def __init__(self, case: TestCase, host: Host) -> None:
        self.home = folder(case)
        self._host = host
        ssh = self.home / "bin" / "ssh"
        ssh.parent.mkdir()
        ssh.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {HERE / "far_side.py"} "$@"\n')
        ssh.chmod(0o755)

    @property
    def folder(self) -> Path:
        return self.home / ".stor" / "dokku"

    def environ(self, **extra: str) -> dict[str, str]:
        path = f"{self.home / 'bin'}{os.pathsep}{os.environ['PATH']}"
        base = {"HOME": str(self.home), "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        return base | {"FAKE_DOKKU": str(self._host.folder)} | extra

    def run(self, *words: str, stdin: str = "", **extra: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-c", COMMAND, "dokku", *words]
        return subprocess.run(
            argv, env=self.environ(**extra), input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
