"""What the machine itself can do: hash on one core, write a file through to the disk, and fsync."""

import hashlib
import os
import time
from pathlib import Path

from bench.large import PIECE

MIB = 1 << 20
SMALL = bytes(4096)


def hashing(size: int) -> float:
    """MiB a second of SHA-256 by one core."""
    digest, began = hashlib.sha256(), time.monotonic()
    for _ in range(size // MIB):
        digest.update(PIECE)
    return size / MIB / (time.monotonic() - began)


def writing(folder: Path, size: int) -> float:
    """MiB a second of one file that is written from its beginning to its end, fsync included."""
    path = folder / "written"
    began = time.monotonic()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for _ in range(size // MIB):
            os.write(fd, PIECE)
        os.fsync(fd)
    finally:
        os.close(fd)
    seconds = time.monotonic() - began
    path.unlink()
    return size / MIB / seconds


def syncing(folder: Path, seconds: float) -> float:
    """How many times a second 4 KiB more of a file are on the disk."""
    path, count = folder / "synced", 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            os.write(fd, SMALL)
            os.fsync(fd)
            count += 1
        return count / (time.monotonic() - began)
    finally:
        os.close(fd)
        path.unlink()
