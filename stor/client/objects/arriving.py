"""A file on its way in: in a folder `.FILE.….stor-part` beside it until its bytes are right, and only then FILE."""

import fcntl
import os
from contextlib import suppress
from hashlib import sha256
from threading import Lock

from stor.client.objects.spots import Spot
from stor.client.reading import PIECE, Stopped
from stor.errors import Conflict

SUFFIX = ".stor-part"  # of no key that becomes a file, see `path_of`
BYTES, ORIGIN = "bytes", "origin"
_MARK = 8  # hex digits of the origin that are part of the name
_LONGEST = 255 - len(SUFFIX) - _MARK - 2  # bytes of a name
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Part:
    """What has come of a file; for threads, one at a time, but `close` may come at any moment.

    It stays when it is closed before the end, and whoever comes next from the same `origin` goes on with it. A folder
    of our name that does not say, in a file, where it is from, is somebody else's: Conflict, and it stays as it is.
    """

    def __init__(self, spot: Spot, origin: str) -> None:
        """Open or make it; Conflict when another process is at it, OSError when it cannot be."""
        self._spot, self._lock = spot, Lock()
        self._mark = sha256(origin.encode(errors="surrogateescape")).hexdigest()
        name = os.fsdecode(os.fsencode(spot.name)[:_LONGEST])
        self._name = f".{name}.{self._mark[:_MARK]}{SUFFIX}"
        self._hash, self.size = sha256(), 0
        with suppress(FileExistsError):
            os.mkdir(self._name, 0o700, dir_fd=spot.fd)
        self._folder = self._enter()
        self._fd = -1
        try:
            self._fd = self._claimed()
        except BaseException:
            os.close(self._folder)
            raise

    def _enter(self) -> int:
        try:
            return os.open(self._name, _FOLDER, dir_fd=self._spot.fd)
        except NotADirectoryError:
            raise self._foreign() from None

    def _claimed(self) -> int:
        """Open what came so far, if it is ours and nobody is at it."""
        if os.listdir(self._folder) and self._said() != self._mark:  # noqa: PTH208 - by its descriptor
            raise self._foreign()
        fd = os.open(BYTES, _FILE, 0o666, dir_fd=self._folder)
        try:
            self._take(fd)
            self._sign()
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _take(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._taken() from None
        if not self._has(fd):  # who had it before has just finished
            raise self._taken()

    def _said(self) -> str:
        """Give the origin that is written there."""
        try:
            fd = os.open(ORIGIN, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._folder)
        except OSError:
            return ""
        try:
            return os.read(fd, len(self._mark) + 1).decode(errors="replace")
        finally:
            os.close(fd)

    def _sign(self) -> None:
        fd = os.open(ORIGIN, _FILE, 0o600, dir_fd=self._folder)
        try:
            os.pwrite(fd, self._mark.encode(), 0)
        finally:
            os.close(fd)

    def _taken(self) -> Conflict:
        return Conflict(f"{self._spot.path} is being fetched by another process")

    def _foreign(self) -> Conflict:
        return Conflict(f"{self._spot.path.with_name(self._name)} is none of ours, and in the way")

    def _has(self, fd: int) -> bool:
        """Whether what has our name is what we have open."""
        try:
            folder = os.stat(self._name, dir_fd=self._spot.fd, follow_symlinks=False)
            found = os.stat(BYTES, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(folder, os.fstat(self._folder)) and os.path.samestat(found, os.fstat(fd))

    @property
    def digest(self) -> str:
        """The SHA-256 of what is there."""
        return self._hash.hexdigest()

    def recall(self) -> None:
        """Take what an earlier try left for the beginning."""
        while self._recall():
            pass

    def _recall(self) -> int:
        with self._lock:
            piece = os.pread(self._open(), PIECE, self.size)
            self._hash.update(piece)
            self.size += len(piece)
            return len(piece)

    def restart(self) -> None:
        """Forget all of it."""
        with self._lock:
            os.ftruncate(self._open(), 0)
            self._hash, self.size = sha256(), 0

    def write(self, data: bytes) -> None:
        """Take the next piece."""
        with self._lock:
            fd, view = self._open(), memoryview(data)
            while view:
                written = os.pwrite(fd, view, self.size)
                self._hash.update(view[:written])
                self.size += written
                view = view[written:]

    def finish(self) -> None:
        """Give it its name, whole and durable; what had the name before is replaced at once."""
        with self._lock:
            os.fsync(self._open())
            if not self._has(self._fd):
                raise self._taken()
            os.rename(BYTES, self._spot.name, src_dir_fd=self._folder, dst_dir_fd=self._spot.fd)
            self._clear()

    def discard(self) -> None:
        """Have nothing left."""
        with self._lock:
            if self._has(self._open()):
                os.unlink(BYTES, dir_fd=self._folder)
                self._clear()

    def _clear(self) -> None:
        """Remove our folder; whoever has come to it meanwhile keeps it."""
        with suppress(OSError):
            os.unlink(ORIGIN, dir_fd=self._folder)
            os.rmdir(self._name, dir_fd=self._spot.fd)

    def _open(self) -> int:
        if self._fd < 0:
            raise Stopped
        return self._fd

    def close(self) -> None:
        """Let go of it; nothing is left where nothing came."""
        with self._lock:
            if self._fd >= 0:
                with suppress(OSError):
                    if not os.fstat(self._fd).st_size and self._has(self._fd):
                        os.unlink(BYTES, dir_fd=self._folder)
                        self._clear()
                os.close(self._fd)
                os.close(self._folder)
                self._fd = -1
