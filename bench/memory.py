"""What large files cost in memory: eight of them up and down at once, while the process is watched."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from bench.common import Peer, resident_bytes
from bench.large import PIECE, down, up

FILES = 8
SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Watched:
    """Bytes resident before, and at most while files went up and while they came down."""

    before: int
    up: int
    down: int
    seconds_up: float
    seconds_down: float


class _Watch:
    """Reads a process's memory every 50 ms while it is entered; `most` is what was seen."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        self._pid, self._over = pid, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.most = max(self.most, resident_bytes(self._pid))

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self.began
        self._over.set()
        self._thread.join()


def watched(peer: Peer, path: Callable[[int], str], headers: Mapping[str, str], size: int) -> Watched:
    """Send eight files of `size` bytes at once, then read them back at once; RuntimeError when one fails.

    `path` says where each is, `headers` let us in.
    """

    def send(number: int, length: int = size) -> None:
        up(peer.port, peer.pid, path(number), headers, length, b"%d" % number)

    def take(number: int) -> None:
        down(peer.port, peer.pid, path(number), headers, size)

    send(FILES, len(PIECE))  # what the first request loads once is not theirs
    before = resident_bytes(peer.pid)
    with ThreadPoolExecutor(FILES) as clients:
        with _Watch(peer.pid) as upward:
            list(clients.map(send, range(FILES)))
        with _Watch(peer.pid) as downward:
            list(clients.map(take, range(FILES)))
    return Watched(before, upward.most, downward.most, upward.seconds, downward.seconds)
