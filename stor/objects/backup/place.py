"""The folder of backups on disk; all of it blocks: for threads.

backup.json                    which backups there are; replaced whole, as the last step of a backup
manifests/<at>.jsonl.zst       the objects and quotas of one
manifests/<at>.sha256.zst      the blobs of one, as sha256sum writes and reads it
manifests/<at>.damaged.jsonl   blobs that could not be saved, where there were any
blobs/sha256/<hh>/<hex>        bytes, once for all backups
tmp/                           what is under way
lock                           held by who works here
"""

import fcntl
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from stor.errors import Conflict, Failed, Missing
from stor.objects.backup import format as said
from stor.objects.backup.format import HASH, Entry, Index
from stor.objects.backup.lists import hash_of, opened, room_in
from stor.storage.folders import sync
from stor.streams.temporary import Temporary

MANIFEST, BLOBS, DAMAGED = ".jsonl.zst", ".sha256.zst", ".damaged.jsonl"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK = os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = re.compile(r"[0-9a-f]+-[0-9a-f]+")  # what a Temporary is called
_INDEX_BYTES = 1 << 28  # of backup.json; half a million backups
_ALL = [f"{number:02x}" for number in range(256)]


class Place:
    """One folder of backups. What has its name here is whole and durable."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tmp = folder, folder / "tmp"
        self._blobs, self._manifests = folder / "blobs" / "sha256", folder / "manifests"
        self._lock: int | None = None

    def make(self) -> None:
        """Make the folder what it must be, hold it, and clear what a dead process left; Conflict when it is held."""
        with room_in(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._hold(os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | _LOCK, 0o600), fcntl.LOCK_EX)
            for folder in (self.tmp, self._manifests, self._blobs.parent, self._blobs):
                _make(folder)
            for name in _ALL:
                _make(self._blobs / name)
            self._clear()
            for folder in (self._blobs, self._blobs.parent, self.folder, self.folder.parent):
                sync(os.fsencode(folder))

    def open(self) -> None:
        """Hold the folder as it is, together with others who only read; it may be on a disk that is read-only."""
        if not self.folder.is_dir():
            raise Missing(f"{self.folder} is no folder")
        with room_in(self.folder):
            try:
                lock = os.open(self.folder / "lock", os.O_RDONLY | _LOCK)
            except FileNotFoundError:
                return  # a copy without it: nobody makes backups here
            self._hold(lock, fcntl.LOCK_SH)

    def _hold(self, lock: int, how: int) -> None:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise Conflict(f"another process works in {self.folder}") from None
        self._lock = lock

    def _clear(self) -> None:
        """Remove what a dead process left, and nothing that has another name than ours."""
        with _held(self.tmp) as fd:
            for left in filter(_TEMPORARY.fullmatch, os.listdir(fd)):  # noqa: PTH208 - by its descriptor
                os.unlink(left, dir_fd=fd)

    def close(self) -> None:
        """Let go of it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def index(self) -> Index:
        """Tell which backups there are; Failed when that cannot be known."""
        with room_in(self.folder):
            try:
                with opened(self.folder / said.INDEX) as file:
                    return said.index_of(file.read(_INDEX_BYTES))
            except Missing:
                return Index()

    def publish(self, index: Index) -> None:
        """Say which backups there are, from now on."""
        self._write(said.index_text(index), self.folder / said.INDEX)

    def entry(self, at: str | None) -> Entry:
        """Give the backup of a moment, by default the newest; Missing, or Failed when its lists are damaged."""
        backups = self.index().backups
        found = [entry for entry in backups if at in {None, entry.at}]
        if not found:
            raise Missing(f"{self.folder} holds no backup" + (f" of {at}" if at else ""))
        self.check(found[-1])
        return found[-1]

    def check(self, entry: Entry) -> None:
        """Raise Failed or Missing unless both lists of a backup are as they were."""
        for suffix, wanted in ((MANIFEST, entry.manifest_sha256), (BLOBS, entry.blob_list_sha256)):
            if hash_of(self.list_path(entry.at, suffix)) != wanted:
                raise Failed(f"{entry.at}{suffix} is damaged: it has another SHA-256 than {said.INDEX} says")

    def list_path(self, at: str, suffix: str) -> Path:
        """Say where a list of a backup is."""
        return self._manifests / f"{at}{suffix}"

    def keep_list(self, file: Temporary, at: str, suffix: str) -> None:
        """Give a list, which is synced, its name."""
        with room_in(self.folder):
            self._name(file, self.list_path(at, suffix))
            sync(os.fsencode(self._manifests))

    def keep_text(self, text: bytes, at: str, suffix: str) -> None:
        """Keep a short list as it is."""
        self._write(text, self.list_path(at, suffix))

    def lists(self) -> Iterator[tuple[str, Path]]:
        """Give all files of lists, with the names of their backups."""
        for path in self._manifests.iterdir():
            for suffix in (MANIFEST, BLOBS, DAMAGED):
                if path.name.endswith(suffix):
                    yield path.name.removesuffix(suffix), path

    def blob(self, digest: str) -> Path:
        """Say where bytes are, or will be."""
        return self._blobs / digest[:2] / digest

    def size(self, digest: str) -> int | None:
        """Give the size of the bytes that are there; None when there is no plain file of this name."""
        with room_in(self.folder):
            try:
                found = self.blob(digest).lstat()
            except FileNotFoundError:
                return None
            return found.st_size if stat.S_ISREG(found.st_mode) else None

    def has(self, digest: str, size: int) -> bool:
        """Tell whether bytes are there, by their size: nothing gets its name before it is whole."""
        return self.size(digest) == size

    def keep(self, blobs: Iterable[tuple[Temporary, str]]) -> None:
        """Make bytes durable, then give them their names, then make these durable; the files are used up."""
        blobs = list(blobs)
        with room_in(self.folder):
            for file, _ in blobs:
                with file as fd:
                    os.fsync(fd)
            for file, digest in blobs:
                self._name(file, self.blob(digest))
            for folder in {self.blob(digest).parent for _, digest in blobs}:
                sync(os.fsencode(folder))

    def _write(self, text: bytes, path: Path) -> None:
        with room_in(self.folder):
            file = Temporary(self.tmp)
            try:
                with file.write(text, 0) as fd:
                    os.fsync(fd)
                self._name(file, path)
                sync(os.fsencode(path.parent))
            finally:
                file.close()

    def _name(self, file: Temporary, path: Path) -> None:
        os.rename(file.path, path)  # noqa: PTH104 - a str, as Temporary has it
        file.keep()
        file.close()

    def blobs(self) -> Iterator[tuple[str, list[str]]]:
        """Give the digests that are there, in order, folder by folder; what has no such name is left alone."""
        for name in _ALL:
            with suppress(FileNotFoundError):
                digests = [found for found in os.listdir(self._blobs / name) if HASH.fullmatch(found)]  # noqa: PTH208
                yield name, sorted(digests)

    def remove(self, path: Path) -> None:
        """Remove a file; whether that survives a power cut does not matter."""
        with room_in(self.folder), suppress(FileNotFoundError):
            path.unlink()


@contextmanager
def _held(folder: Path) -> Iterator[int]:
    """Lend the descriptor of a folder; Failed for what is none of its own: through a link, others' files were ours."""
    try:
        fd = os.open(folder, _FOLDER)
    except NotADirectoryError:
        raise Failed(f"{folder} is no folder of its own, as one of backups has it") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _make(folder: Path) -> None:
    """Make a folder that is not there, in one that is."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    with _held(folder):
        pass


def is_whole(path: Path, digest: str) -> bool:
    """Tell whether a file has the bytes of its name; Missing when it is not there."""
    return hash_of(path) == digest


def hashed(data: bytes) -> str:
    """Give the SHA-256 of bytes in hex."""
    return sha256(data).hexdigest()
