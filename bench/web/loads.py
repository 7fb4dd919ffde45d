"""What is asked of a server: small answers by wrk, and one large file."""

import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.web.peers import KEY, Peer
from tests.servers import clean_environment, program

CLIENTS = 32
GRACE_SECONDS = 30.0
BUFFER_BYTES = 1 << 20
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Sample:
    """What wrk said: requests a second, and the time within which 99 of 100 were answered."""

    rate: float
    p99_ms: float


def small(peer: Peer, path: str, seconds: int) -> Sample:
    """Ask for a small answer with 32 clients; RuntimeError when one was refused or lost."""
    url = f"http://127.0.0.1:{peer.port}{path}"
    argv = [program("wrk"), "-t1", f"-c{CLIENTS}", f"-d{seconds}s", "--latency", "-H", f"X-API-Key: {KEY}", url]
    done = subprocess.run(
        argv, env=clean_environment(), capture_output=True, text=True, timeout=seconds + GRACE_SECONDS, check=False
    )
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    tail = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", done.stdout)
    if rate is None or tail is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk ({peer.name}{path}): {done.stdout}{done.stderr}")
    return Sample(float(rate[1]), float(tail[1]) * _UNITS[tail[2]])


@dataclass(frozen=True)
class Transfer:
    """One large file: MiB a second, and processor seconds that the server used for each GiB."""

    rate: float
    cpu_seconds: float


def large(peer: Peer, path: str, size: int) -> Transfer:
    """Read the large file as fast as it comes; RuntimeError when it is not whole."""
    request = f"GET {path} HTTP/1.1\r\nHost: h\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n"
    heard, buffer = 0, bytearray(BUFFER_BYTES)
    before, began = _cpu_seconds(peer.pid), time.monotonic()
    with socket.create_connection(("127.0.0.1", peer.port), timeout=GRACE_SECONDS) as connection:
        connection.sendall(request.encode())
        while taken := connection.recv_into(buffer):
            heard += taken
    seconds = time.monotonic() - began
    if not size < heard < size + 4096:
        raise RuntimeError(f"{peer.name}{path}: {heard} bytes")
    return Transfer(size / seconds / 2**20, (_cpu_seconds(peer.pid) - before) * 2**30 / size)


def _cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
