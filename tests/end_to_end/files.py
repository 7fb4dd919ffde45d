"""Files whose bytes are known: written, remembered by their SHA-256, and read back."""

import random
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import count
from pathlib import Path
from threading import Event

MIB = 1 << 20
ATTEMPTS = 3  # for one file


def write(path: Path, pieces: Iterable[bytes]) -> str:
    """Write a file and wait until it is kept; its SHA-256."""
    digest = sha256()
    with path.open("wb", buffering=0) as file:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()  # close() has waited: without --writeback it returns when all is stored


def digest_of(path: Path) -> str:
    """Read a file; its SHA-256."""
    digest = sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(MIB):
            digest.update(piece)
    return digest.hexdigest()


def large(size: int) -> Iterator[bytes]:
    """Give `size` bytes, whole MiB of them; no two are alike, so that none can stand in another's place."""
    noise = random.Random(size).randbytes(MIB)
    for number in range(size // MIB):
        yield number.to_bytes(8, "big") + noise[8:]


def small(seed: str) -> list[bytes]:
    """Give the bytes of a small file, up to 64 KiB."""
    source = random.Random(seed)
    return [source.randbytes(source.randrange(64 * 1024))]


def write_many(folder: Path, number: int, threads: int) -> dict[Path, str]:
    """Write so many small files from so many threads, into folders of 50."""

    def one(index: int) -> tuple[Path, str]:
        name = Path(f"{index // 50:03}") / f"{index:05}"
        (folder / name).parent.mkdir(exist_ok=True)
        return name, write(folder / name, small(str(name)))

    with ThreadPoolExecutor(threads) as pool:
        return dict(pool.map(one, range(number)))


def differing(folder: Path, wanted: Mapping[Path, str]) -> list[Path]:
    """Name the files that do not read as they were written."""
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(digest_of, [folder / name for name in wanted])
        return [name for name, digest in zip(wanted, found, strict=True) if digest != wanted[name]]


class Writers:
    """Threads that write small files one after another until told to stop, and try again when one fails."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.written: dict[Path, str] = {}
        self.errors: list[OSError] = []
        self._folder, self._over = folder, Event()
        self._pool = ThreadPoolExecutor(threads)
        self._work = [self._pool.submit(self._write, number) for number in range(threads)]

    def _write(self, thread: int) -> None:
        for number in count():
            name = Path(f"{thread}-{number:06}")
            self.written[name] = self._persistently(self._folder / name)
            if self._over.wait(0.01):
                break

    def _persistently(self, path: Path) -> str:
        for _ in range(ATTEMPTS - 1):
            try:
                return write(path, small(str(path)))
            except OSError as why:
                self.errors.append(why)
        return write(path, small(str(path)))

    def stop(self) -> None:
        """Let each thread finish its file; raises what kept it from that."""
        self._over.set()
        for work in self._work:
            work.result()
