"""What is in the folder now: the md5 of each file, and what cannot be synced, with the reason."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from threading import Event

from stor.client.paths import KEPT, Ignored, fault, shown
from stor.client.reading import Stopped, digest
from stor.client.tree import Stamp, Tree, stamp

RACY = 2_000_000_000  # nanoseconds: the coarsest file times there are (FAT)


@dataclass(slots=True)
class Found:
    """Files with their md5s, and what is there but is not synced: nothing may be concluded about its path.

    `blocked` should have been synced and cannot be; `foreign` is of no kind that is synced.
    """

    files: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)
    read: list[tuple[str, Stamp, str]] = field(default_factory=list)  # md5s that may be believed next time

    def why_not(self, path: str) -> str | None:
        """Tell what keeps the path from being looked at, itself or a folder that it is in; None: nothing."""
        above = path if self.blocked or self.foreign else ""
        while above:
            if why := self.blocked.get(above) or self.foreign.get(above):
                return why if above == path else f"{shown(above)} is in the way: {why}"
            above = above.rpartition("/")[0]
        return None


class Scan:
    """One look at everything. A file is read when its stamp is not the one that was `seen`.

    `now` is the file system's time in nanoseconds: what changed in the `RACY` time before it may change again
    without a new stamp, so its md5 is good for this once only.
    """

    def __init__(self, tree: Tree, seen: Mapping[str, tuple[Stamp, str]], ignored: Ignored, now: int) -> None:
        self._tree, self._seen, self._ignored, self._now = tree, seen, ignored, now
        self._found = Found()

    def run(self, stop: Event) -> Found:
        """Look; OSError when the root itself cannot be read, Stopped when `stop` is set."""
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                with self._tree.folder(folder) as fd:
                    folders += self._look(fd, folder, stop)
            except OSError as why:
                if not folder:
                    raise  # what is missing with the root was not deleted
                if not isinstance(why, FileNotFoundError):
                    self._found.blocked[folder] = why.strerror or "cannot be read"
        return self._found

    def _look(self, fd: int, folder: str, stop: Event) -> Iterator[str]:
        """Look at one folder, and give those in it."""
        with os.scandir(fd) as entries:
            for entry in entries:
                if stop.is_set():
                    raise Stopped
                path = f"{folder}/{entry.name}" if folder else entry.name
                if path == KEPT or path in self._ignored:
                    continue
                if kind := _kind(entry):
                    self._found.foreign[path] = kind
                elif reason := fault(path):
                    self._found.blocked[path] = reason
                elif entry.is_dir(follow_symlinks=False):
                    yield path
                else:
                    self._file(fd, entry.name, path, stop)

    def _file(self, folder: int, name: str, path: str, stop: Event) -> None:
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            known = self._seen.get(path)
            if known is not None and known[0] == stamp(status):
                self._found.files[path] = known[1]
            elif (read := _read(folder, name, stop)) is None:
                self._found.blocked[path] = "it does not keep still"
            else:
                self._keep(path, *read)
        except FileNotFoundError:
            return  # deleted while we looked
        except OSError as why:
            self._found.blocked[path] = why.strerror or "cannot be read"

    def _keep(self, path: str, mark: Stamp, md5: str) -> None:
        self._found.files[path] = md5
        if max(mark.mtime, mark.ctime) + RACY <= self._now:
            self._found.read.append((path, mark, md5))


def _kind(entry: os.DirEntry[str]) -> str | None:
    """Tell what an entry is when it is neither a file nor a folder."""
    if entry.is_symlink():
        return "a symbolic link"
    if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False):
        return None
    return "no regular file"


def _read(folder: int, name: str, stop: Event) -> tuple[Stamp, str] | None:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        return digest(fd, stop) if stat.S_ISREG(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)
