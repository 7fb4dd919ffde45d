"""Where the programs are that tests start."""

import os
import shutil
import sys
from pathlib import Path


def program(name: str) -> str:
    """Find a program beside this interpreter or on PATH; a missing one is an error, never a skip."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=places)
    if found is None:
        msg = f"this test needs {name!r}, which is not installed"
        raise FileNotFoundError(msg)
    return found
