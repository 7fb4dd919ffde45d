"""What of our environment a child may see."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

# Not AWS_*, not *_PASSWORD, not PYTHON*: whatever else a child needs is said by the one who starts it.
KEPT = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Our own place, language and certificates, and `extra` above them.

    Programs that were installed beside our interpreter, as juicefs is, are found first, also when the
    virtual environment was not activated.
    """
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    return kept | dict(extra)


def find(name: str) -> str | None:
    """Find a program where our children would: beside our interpreter, where a wheel puts it, or on PATH."""
    return shutil.which(name, path=clean_environment({})["PATH"])
