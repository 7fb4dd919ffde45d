"""The keys of a tree of files, in their order."""

import os
from collections.abc import Iterator
from itertools import islice

from stor.storage import keys, trailer
from stor.storage.promise import Listed
from stor.streams.disk import disk


def etag_of(stat: os.stat_result) -> str:
    """Give the etag of a file: no two states of a key share it, see `stamp`."""
    return f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"


class Scan:
    """The keys below `root` that begin with `prefix` and come after `after`; blocks: for threads, one at a time.

    In memory are the names of the folders on the way, no more. What comes and goes while it runs may be shown or not.
    """

    def __init__(self, root: bytes, prefix: str, after: str) -> None:
        base = prefix[: prefix.rfind("/") + 1]
        self._prefix, self._after = prefix, after
        is_inside = keys.may_begin(prefix)  # `..` must not lead out of the tree
        self._found = self._walk(root + b"/" + keys.folder_of(base), base) if is_inside else iter(())

    def take(self, count: int) -> list[Listed]:
        """Give the next `count`; none at the end."""
        with disk():
            return list(islice(self._found, count))

    def _walk(self, folder: bytes, base: str) -> Iterator[Listed]:
        waiting = [(folder, self._names(folder, base))]
        while waiting:
            folder, names = waiting[-1]
            if not names:
                waiting.pop()
                continue
            key, name = names.pop()
            if not name.endswith(keys.LEAF):
                below = folder + name + b"/"
                waiting.append((below, self._names(below, key)))
            elif (found := _listed(folder + name, key)) is not None:
                yield found

    def _names(self, folder: bytes, base: str) -> list[tuple[str, bytes]]:
        """Give what is of interest in a folder, last first: keys, and what all keys in a subfolder begin with."""
        names = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    key = _key(entry, base)
                    if key is not None and self._wanted(key, is_leaf=entry.name.endswith(keys.LEAF)):
                        names.append((key, entry.name))
        except (FileNotFoundError, NotADirectoryError):
            return []
        names.sort(reverse=True)  # code points sort as UTF-8 does
        return names

    def _wanted(self, key: str, *, is_leaf: bool) -> bool:
        if is_leaf:
            return key > self._after and key.startswith(self._prefix)
        begins = key.startswith(self._prefix) or self._prefix.startswith(key)
        return begins and (key > self._after or self._after.startswith(key))


def _key(entry: os.DirEntry[bytes], base: str) -> str | None:
    """Give the key of a file, or what the keys in a folder begin with; None for what is not ours."""
    mark = entry.name[-1:]
    name = keys.name_of(entry.name[:-1] if mark in {keys.LEAF, keys.MORE} else entry.name)
    if name is None or entry.is_dir(follow_symlinks=False) == (mark == keys.LEAF):
        return None
    return base + name if mark in {keys.LEAF, keys.MORE} else base + name + "/"


def _listed(path: bytes, key: str) -> Listed | None:
    try:
        stat = os.stat(path)  # noqa: PTH116 - bytes
    except FileNotFoundError:
        return None
    return Listed(key, stat.st_size - trailer.SIZE, etag_of(stat), stat.st_mtime_ns / 1e9)
