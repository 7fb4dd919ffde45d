"""Keys as files of a folder: what `Directory` does, in threads."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stor.errors import ConfigError, Damaged, Missing, NotSatisfiable, PreconditionFailed
from stor.storage import keys, trailer
from stor.storage.folders import Folders, sync
from stor.storage.locks import Locks
from stor.storage.promise import Absent, Condition, Info
from stor.storage.scan import Scan, etag_of
from stor.storage.scratch import Scratch
from stor.storage.stamps import stamp
from stor.streams.disk import Descriptor, disk
from stor.streams.temporary import Temporary

SMALL = 64 * 1024  # bytes that are given whole
_COPY = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """Many bytes: a part of a file that whoever gets this must close."""

    info: Info
    file: Descriptor
    start: int
    stop: int

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class Files:
    """All that blocks. A file is written and synced under a temporary name, then renamed: it is whole or not there.

    Who changes a key holds its lock from the comparison to the rename, and answers when the folder is synced too.
    Raises Full and Unavailable for what the disk says.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = os.fsencode(folder / "data")
        self._locks = Locks(os.fsencode(folder / "locks"))
        self._folders = Folders(self._root, os.fsencode(folder / "locks" / "removed"))
        self.scratch = Scratch(folder / "tmp")

    def open(self) -> None:
        """Make the folders, clear what dead processes left, see that the file system is good enough."""
        try:
            for name in ("data", "locks"):
                (self._folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._folder / "locks" / "removed").touch(mode=0o600)
            self.scratch.open()
            self._probe()
            for folder in (self._folder, self._folder.parent):
                sync(os.fsencode(folder))
            for above in self._folder.parent.parents:  # made for us, perhaps, now or by a start that died
                with suppress(PermissionError):
                    sync(os.fsencode(above))
        except OSError as why:
            raise ConfigError(f"cannot keep files in {self._folder}: {why.strerror}") from None

    def _probe(self) -> None:
        file, now = Temporary(self.scratch.path), stamp() | 1
        try:
            os.utime(file.fd, ns=(now, now))
            if os.fstat(file.fd).st_mtime_ns != now:
                raise ConfigError(f"the file system of {self._folder} keeps no nanoseconds")
        finally:
            file.close()

    def check(self) -> None:
        """See that the disk answers."""
        with disk():
            os.stat(self._root)  # noqa: PTH116 - bytes

    def put_bytes(
        self, key: str, body: bytes, content_type: str | None, metadata: Mapping[str, str], when: Condition
    ) -> Info:
        """Keep a body that is in memory."""
        path = self._judged(key, when)  # a condition that fails now needs no write
        with disk():
            file = Temporary(self.scratch.path)
            try:
                file.write(body + trailer.write(len(body), content_type, metadata), 0)
                return self._publish(key, path, file, len(body), content_type, metadata, when)
            finally:
                file.close()

    def put_file(
        self,
        key: str,
        file: Temporary,
        size: int,
        content_type: str | None,
        metadata: Mapping[str, str],
        when: Condition,
    ) -> Info:
        """Keep a body that is in a file of the scratch folder; after a failure it can be tried again."""
        path = self._judged(key, when)
        with disk():
            file.write(trailer.write(size, content_type, metadata), size)
            return self._publish(key, path, file, size, content_type, metadata, when)

    def copy(self, source: str, target: str, etag: str) -> Info:
        """Copy bytes and metadata; what shares blocks on this file system is not read."""
        found = self._open(source, 0, None, etag, small=-1)
        assert isinstance(found, Opened)  # noqa: S101 - nothing is small here
        try:
            with disk():
                file = Temporary(self.scratch.path)
                try:
                    left = found.info.size + trailer.SIZE
                    with found.file as out, file as to:
                        while left:
                            copied = os.copy_file_range(out, to, min(left, _COPY))
                            if not copied:
                                raise Damaged("a file ended before its bytes did")
                            left -= copied
                    said = found.info
                    return self._publish(
                        target, self._path(target), file, said.size, said.content_type, said.metadata, None
                    )
                finally:
                    file.close()
        finally:
            found.close()

    def _publish(
        self,
        key: str,
        path: bytes,
        file: Temporary,
        size: int,
        content_type: str | None,
        metadata: Mapping[str, str],
        when: Condition,
    ) -> Info:
        """Sync, compare, rename, sync: in this order."""
        with file as fd:
            now = stamp()
            os.utime(fd, ns=(now, now))  # before the sync, or a power cut could give it another etag
            os.fsync(fd)
            stat = os.fstat(fd)
        with self._locks.hold(key):
            self._judge(path, when)
            self._folders.rename(file.path, path)
        file.keep()
        self._folders.settle(path.rpartition(b"/")[0])
        return Info(key, size, etag_of(stat), stat.st_mtime_ns / 1e9, content_type, metadata)

    def delete(self, key: str, when: str | None) -> None:
        """Remove the file, and the folders that are empty then."""
        path = self._path(key)
        folder = path.rpartition(b"/")[0]
        with disk():
            with self._locks.hold(key):
                self._judge(path, when)
                try:
                    os.unlink(path)  # noqa: PTH108 - bytes
                except FileNotFoundError:
                    return
            self._folders.settle(folder)
            self._folders.prune(folder)

    def head(self, key: str) -> Info:
        """Read the trailer only."""
        with disk():
            fd = self._fd(key)
            try:
                return _read(key, fd, 0)[0]
            finally:
                os.close(fd)

    def get(self, key: str, start: int, stop: int | None, etag: str | None) -> tuple[Info, bytes] | Opened:
        """Give what is wanted: bytes when they are few."""
        return self._open(key, start, stop, etag, small=SMALL)

    def _open(
        self, key: str, start: int, stop: int | None, etag: str | None, *, small: int
    ) -> tuple[Info, bytes] | Opened:
        with disk():
            fd = self._fd(key)
            try:
                info, head = _read(key, fd, small + trailer.SIZE)
                if etag is not None and etag != info.etag:
                    raise PreconditionFailed("the key has another state")
                if start and start >= info.size:
                    raise NotSatisfiable("the range begins beyond the end", info.size)
                stop = info.size if stop is None else max(start, min(stop, info.size))
                if stop - start > small:
                    opened, fd = Opened(info, Descriptor(fd), start, stop), -1
                    return opened
                return info, head[start:stop] if head else os.pread(fd, stop - start, start)
            finally:
                if fd >= 0:
                    os.close(fd)

    def scan(self, prefix: str, after: str) -> Scan:
        """List the keys."""
        return Scan(self._root, prefix, after)

    def _path(self, key: str) -> bytes:
        return self._root + b"/" + keys.path_of(key)

    def _fd(self, key: str) -> int:
        try:
            return os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Missing(f"no such key: {key}") from None

    def _judged(self, key: str, when: Condition) -> bytes:
        path = self._path(key)
        with disk():
            self._judge(path, when)
        return path

    def _judge(self, path: bytes, when: Condition) -> None:
        if when is None:
            return
        try:
            stat = os.stat(path)  # noqa: PTH116 - bytes
        except FileNotFoundError:
            if isinstance(when, Absent):
                return
            raise PreconditionFailed("the key does not exist") from None
        if isinstance(when, Absent):
            raise PreconditionFailed("the key exists")
        if when != etag_of(stat):
            raise PreconditionFailed("the key has another state")


def _read(key: str, fd: int, small: int) -> tuple[Info, bytes]:
    """Read what was said about the bytes and, if the file has no more than `small`, the bytes too: in one call."""
    stat = os.fstat(fd)
    size = stat.st_size - trailer.SIZE
    data = os.pread(fd, stat.st_size, 0) if stat.st_size <= small else os.pread(fd, trailer.SIZE, max(size, 0))
    said = trailer.read(data[-trailer.SIZE :], size)
    return Info(key, size, etag_of(stat), stat.st_mtime_ns / 1e9, said.type, said.metadata), data[: -trailer.SIZE]
