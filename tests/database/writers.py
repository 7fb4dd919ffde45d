"""Processes that write to one database at the same time; see `tests/database/child.py`."""

import subprocess
import sys
from pathlib import Path

from tests.servers import clean_environment

ROOT = Path(__file__).parent.parent.parent


class Writers:
    """One process with some writers, ended with the test."""

    def __init__(self, case, place, name, writers=8, rounds=1_000_000, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.database.child", name, str(writers), str(rounds)],
            cwd=ROOT,
            env=clean_environment(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # `communicate` would not find what `line` left in a buffer
        )
        self.process.stdin.write(str(place).encode())
        self.process.stdin.close()
        self.process.stdin = None
        case.addCleanup(self._end)

    def _end(self):
        self.process.kill()
        self.process.communicate()

    def line(self):
        """Wait for the next thing it says."""
        return self.process.stdout.readline().decode().strip()

    def end(self):
        """Wait for it; give what was acknowledged and what it complained of."""
        said, complaint = self.process.communicate(timeout=60)
        return said.decode().splitlines(), complaint.decode()

    def kill(self):
        """End it by SIGKILL; give what was acknowledged."""
        self.process.kill()
        return self.end()[0]
