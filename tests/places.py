"""Folders that last as long as a test; trial's own `mktemp` would leave them in the repository."""

import shutil
import tempfile
from pathlib import Path
from unittest import TestCase


def folder(case: TestCase) -> Path:
    """Make an empty folder for `case`."""
    path = Path(tempfile.mkdtemp(prefix="stor-test-"))
    case.addCleanup(shutil.rmtree, path, ignore_errors=True)
    return path
