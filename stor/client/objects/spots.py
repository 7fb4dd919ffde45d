"""Where a file is to be: a folder that is held open, and a name in it, so that no link leads elsewhere meanwhile."""

import os
import stat
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from stor.client.objects.leaving import digest_of
from stor.client.tree import Tree
from stor.errors import BadRequest

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Spot:
    """The folder `fd` and a name in it; `path` is for people. For threads."""

    fd: int
    name: str
    path: Path

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self.fd)

    def size(self) -> int | None:
        """Give the size of the file that is there, None when there is nothing; BadRequest when it is no file."""
        try:
            status = os.stat(self.name, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise BadRequest(f"{self.path} is no file")
        return status.st_size

    def digest(self) -> str:
        """Hash the file that is there."""
        return digest_of(Path(self.name), self.fd)


def spot(path: Path, below: Path | None = None) -> Spot:
    """Hold the folder of a file; those that are missing are made.

    A path that a server has named is one `below` a folder of the user's: NotADirectoryError where a symbolic link is
    on the way there, for it may lead out of it.
    """
    if below is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Spot(os.open(path.parent, _FOLDER), path.name, path)
    below.mkdir(parents=True, exist_ok=True)
    with closing(Tree(below)) as tree, tree.made(path.relative_to(below).as_posix()) as (fd, name):
        return Spot(os.dup(fd), name, path)
