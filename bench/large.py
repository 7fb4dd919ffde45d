"""One large body up or down, as fast as a server takes or gives it."""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PIECE = bytes(range(256)) * 4096  # 1 MiB
BUFFER_BYTES = 1 << 20
PATIENCE_SECONDS = 600.0
_CREATED = (200, 201, 204)


@dataclass(frozen=True)
class Transfer:
    """One large body: MiB a second, and processor seconds that the server's process used for each GiB."""

    rate: float
    cpu_seconds: float


def head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """Give the head of a request, all of it."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def down(port: int, pid: int, path: str, headers: Mapping[str, str], size: int) -> Transfer:
    """Read the body as fast as it comes; RuntimeError when it is not whole."""
    heard, buffer = 0, bytearray(BUFFER_BYTES)
    before, began = _cpu_seconds(pid), time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head("GET", path, {"Host": f"127.0.0.1:{port}", "Connection": "close", **headers}))
        while taken := connection.recv_into(buffer):
            heard += taken
    transfer = _transfer(size, time.monotonic() - began, _cpu_seconds(pid) - before)
    if not size < heard < size + 4096:
        raise RuntimeError(f"{path} on port {port}: {heard} bytes came")
    return transfer


def up(port: int, pid: int, path: str, headers: Mapping[str, str], size: int, mark: bytes = b"") -> Transfer:
    """PUT a body that begins with `mark`, and wait for the answer; RuntimeError when it is none of success."""
    first = mark + PIECE[len(mark) :]
    fields = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/octet-stream", "Content-Length": str(size)}
    before, began = _cpu_seconds(pid), time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head("PUT", path, {**fields, **headers}))
        for number in range(size // len(PIECE)):
            connection.sendall(PIECE if number else first)
        status = connection.makefile("rb").readline()
    transfer = _transfer(size, time.monotonic() - began, _cpu_seconds(pid) - before)
    if int(status.split()[1]) not in _CREATED:
        raise RuntimeError(f"{path} on port {port}: {status!r}")
    return transfer


def _transfer(size: int, seconds: float, cpu_seconds: float) -> Transfer:
    return Transfer(size / seconds / 2**20, cpu_seconds * 2**30 / size)


def _cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
