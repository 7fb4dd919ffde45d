"""A folder whose files are reached name by name, through real folders only: no symbolic link leads out of it."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from stor.errors import Failed

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not hold us up

Place = tuple[int, str]  # a folder's descriptor and a name in it


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells that a file is still the same, without reading it; times in nanoseconds."""

    size: int
    mtime: int
    ctime: int
    inode: int


def stamp(status: os.stat_result) -> Stamp:
    """Take the stamp of what was looked at."""
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class Tree:
    """The synced folder; paths are relative, parted by `/`."""

    def __init__(self, root: Path) -> None:
        try:
            self._root = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
        except OSError as why:
            raise Failed(f"{root}: {why.strerror}") from None

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._root)

    @contextmanager
    def folder(self, path: str) -> Iterator[int]:
        """Lend the descriptor of a folder; NotADirectoryError where a symbolic link or a file is on the way."""
        with self._walk(path.split("/") if path else [], make=False) as fd:
            yield fd

    @contextmanager
    def place(self, path: str) -> Iterator[Place]:
        """Lend the folder that a path is in, and its last name; errors as `folder`."""
        *above, name = path.split("/")
        with self._walk(above, make=False) as fd:
            yield fd, name

    @contextmanager
    def made(self, path: str) -> Iterator[Place]:
        """Lend the place of a path; folders that are missing on the way are made."""
        *above, name = path.split("/")
        with self._walk(above, make=True) as fd:
            yield fd, name

    @contextmanager
    def _walk(self, names: list[str], *, make: bool) -> Iterator[int]:
        fd = os.dup(self._root)
        try:
            for name in names:
                inner = _enter(fd, name, make=make)
                os.close(fd)
                fd = inner
            yield fd
        finally:
            os.close(fd)

    def status(self, path: str) -> os.stat_result | None:
        """Tell what is there, or None; NotADirectoryError where a symbolic link is on the way."""
        try:
            with self.place(path) as (fd, name):
                return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            if self._link_above(path):
                raise
            return None  # a file stands where a folder would have to be

    def _link_above(self, path: str) -> bool:
        names = path.split("/")[:-1]
        for n in range(len(names)):
            with self.place("/".join(names[: n + 1])) as (fd, name):
                mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
            if not stat.S_ISDIR(mode):
                return stat.S_ISLNK(mode)
        return False

    def open(self, path: str) -> int:
        """Open a file for reading, never through a symbolic link."""
        with self.place(path) as (fd, name):
            return os.open(name, _FILE, dir_fd=fd)

    def prune(self, path: str) -> None:
        """Remove the folders above a path that are empty now."""
        while path := path.rpartition("/")[0]:
            try:
                with self.place(path) as (fd, name):
                    os.rmdir(name, dir_fd=fd)
            except OSError:
                return  # not empty, or not ours to remove


def _enter(fd: int, name: str, *, make: bool) -> int:
    try:
        return _open_folder(name, fd)
    except FileNotFoundError:
        if not make:
            raise
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=fd)
        os.fsync(fd)
        return _open_folder(name, fd)


def _open_folder(name: str, fd: int) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=fd)
    except OSError as why:
        if why.errno == errno.ELOOP:  # a symbolic link, on some systems
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name) from None
        raise
