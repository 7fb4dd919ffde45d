"""What large files cost in memory: eight of them up and down at once, while the process is watched."""

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from bench.blobs.peers import Peer
from bench.common import resident_bytes

FILES = 8
PIECE = bytes(range(256)) * 4096  # 1 MiB
PATIENCE_SECONDS = 600.0
SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Watched:
    """Bytes resident before, and at most while files of `size` bytes went up and while they came down."""

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


def watched(peer: Peer, size: int) -> Watched:
    """Send eight files of `size` bytes at once, then read them back at once; RuntimeError when one fails."""
    _up(peer, 0, len(PIECE))  # what the first request loads once is not theirs
    before = resident_bytes(peer.pid)
    with ThreadPoolExecutor(FILES) as clients:
        with _Watch(peer.pid) as up:
            list(clients.map(lambda number: _up(peer, number, size), range(FILES)))
        with _Watch(peer.pid) as down:
            list(clients.map(lambda number: _down(peer, number, size), range(FILES)))
    return Watched(before, up.most, down.most, up.seconds, down.seconds)


def _connection(peer: Peer) -> tuple[http.client.HTTPConnection, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=PATIENCE_SECONDS)
    return connection, {"Authorization": f"Bearer {peer.auth.token}"}


def _up(peer: Peer, number: int, size: int) -> None:
    connection, headers = _connection(peer)
    headers |= {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
    pieces = (PIECE for _ in range(size // len(PIECE)))
    connection.request("PUT", f"/blob/large/{number}", pieces, headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status not in {200, 201}:
        raise RuntimeError(f"{peer.name} answered a large PUT by {answer.status}: {said[:200]!r}")


def _down(peer: Peer, number: int, size: int) -> None:
    connection, headers = _connection(peer)
    connection.request("GET", f"/blob/large/{number}", headers=headers)
    answer = connection.getresponse()
    came = 0
    while piece := answer.read(len(PIECE)):
        came += len(piece)
    connection.close()
    if (answer.status, came) != (200, size):
        raise RuntimeError(f"{peer.name} answered a large GET by {answer.status} and {came} bytes")
