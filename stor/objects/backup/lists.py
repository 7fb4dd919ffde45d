"""Long lists on disk: lines in a zstd file, written and read a few at a time; all of it blocks."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ELOOP, ENXIO
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

import zstandard

from stor.errors import Failed, Full, Missing, Unavailable
from stor.streams.disk import disk
from stor.streams.temporary import Temporary

T = TypeVar("T")
_LEVEL, _WINDOW = 3, 18  # 256 KiB: hundreds of lists may be open at once
_BUFFER = 256 * 1024
_LINE = 1 << 20  # bytes; ours have 20 KiB at most
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not hold us up


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """Raise what the disk says as an error of ours, with the folder's name: there are several disks here."""
    try:
        with disk():
            yield
    except (Full, Unavailable) as why:
        raise type(why)(f"{folder}: {why}") from None


def opened(path: Path) -> BinaryIO:
    """Open a file for reading, unbuffered; Missing, or Failed for what is none: a link may lead anywhere."""
    with disk():
        try:
            fd = os.open(path, _PLAIN)
        except FileNotFoundError:
            raise Missing(f"{path.name} is missing") from None
        except OSError as why:
            if why.errno not in {ELOOP, ENXIO}:  # a symbolic link, a socket
                raise
            raise Failed(f"{path.name} is no plain file") from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Failed(f"{path.name} is no plain file")
        return os.fdopen(fd, "rb", buffering=0)


class Writer:
    """A new list in `folder`: removed unless it is kept, as any `Temporary`."""

    def __init__(self, folder: Path) -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(_LEVEL, window_log=_WINDOW, write_checksum=True)
        self._packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        self._buffer, self._size, self._sha = bytearray(), 0, sha256()
        self._folder = folder
        with room_in(folder):
            self.file = Temporary(folder)

    def add(self, line: bytes) -> None:
        """Add a line; its end is the caller's."""
        self._buffer += line
        if len(self._buffer) >= _BUFFER:
            self._write(self._packer.compress(bytes(self._buffer)))
            self._buffer.clear()

    def finish(self) -> str:
        """Make it durable; gives the SHA-256 of the file in hex."""
        self._write(self._packer.compress(bytes(self._buffer)) + self._packer.flush())
        with room_in(self._folder), self.file as fd:
            os.fsync(fd)
        return self._sha.hexdigest()

    def _write(self, data: bytes) -> None:
        with room_in(self._folder):
            self.file.write(data, self._size)
        self._size += len(data)
        self._sha.update(data)

    def close(self) -> None:
        """Let go of it."""
        self.file.close()


class Reader:
    """Reads a list from its beginning, line by line, without their ends; Failed when it is damaged."""

    def __init__(self, path: Path) -> None:
        self._name, self._file = path.name, opened(path)
        unpacked = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(self._file)
        self._lines = io.BufferedReader(unpacked, _BUFFER)

    def __iter__(self) -> Iterator[bytes]:
        try:
            while line := self._lines.readline(_LINE):
                if not line.endswith(b"\n"):
                    raise Failed(f"{self._name} is not whole")
                yield line[:-1]
        except zstandard.ZstdError as why:
            raise Failed(f"{self._name} is damaged: {why}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._lines.close()
        self._file.close()


def hash_of(path: Path) -> str:
    """Give the SHA-256 of a file in hex; Missing when it is not there, Failed when it is no file."""
    sha = sha256()
    with disk(), opened(path) as file:
        while piece := file.read(1 << 20):
            sha.update(piece)
    return sha.hexdigest()


def batch(lines: Iterator[T], most: int) -> list[T]:
    """Take so many; none at the end."""
    return list(islice(lines, most))
