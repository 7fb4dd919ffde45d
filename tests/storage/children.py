"""Runs `tests.storage.child` processes."""

import json
import subprocess
import sys
from pathlib import Path

from tests.servers import clean_environment

ROOT = Path(__file__).parents[2]


def begin(order):
    """Start one."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.storage.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(PYTHONPATH=str(ROOT)),
        cwd=ROOT,
    )
    child.stdin.write(json.dumps(order))
    child.stdin.close()
    child.stdin = None
    return child


def end(child):
    """Wait for its end; give the lines that it printed."""
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err[-2000:]
    return out.split("\n")[:-1]
