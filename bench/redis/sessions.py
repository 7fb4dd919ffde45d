"""What a session costs: how many log in a second, and how much memory an idle one holds."""

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.common import resident_bytes

PARALLEL = 8
PATIENCE_SECONDS = 20.0
SETTLE_SECONDS = 0.5
_PONG = b"+OK\r\n+PONG\r\n"


def logged_in(port: int, password: str) -> socket.socket:
    """Open a connection whose AUTH and PING have been answered."""
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
    secret = password.encode()
    client.sendall(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n*1\r\n$4\r\nPING\r\n" % (len(secret), secret))
    answer = b""
    while len(answer) < len(_PONG):
        if not (data := client.recv(256)):
            break
        answer += data
    if answer != _PONG:
        client.close()
        raise RuntimeError(f"a login was answered by {answer!r}")
    return client


def logins_a_second(port: int, password: str, seconds: float) -> float:
    """Connect, log in, ping and close, several at a time, for so long; return how many a second."""
    began = time.monotonic()

    def one_after_another() -> int:
        count = 0
        while time.monotonic() < began + seconds:
            logged_in(port, password).close()
            count += 1
        return count

    with ThreadPoolExecutor(PARALLEL) as clients:
        counts = [clients.submit(one_after_another) for _ in range(PARALLEL)]
        return sum(count.result() for count in counts) / (time.monotonic() - began)


def idle_bytes(pid: int, port: int, password: str, sessions: int) -> float:
    """Open so many sessions and leave them idle; return by how much each one made the process grow."""
    with _sessions(port, password, 10):  # what the first sessions load once is not theirs
        before = resident_bytes(pid)
        with _sessions(port, password, sessions):
            return (resident_bytes(pid) - before) / sessions


@contextlib.contextmanager
def _sessions(port: int, password: str, count: int) -> Iterator[None]:
    """Hold so many sessions open."""
    with contextlib.ExitStack() as held:
        for _ in range(count):
            held.enter_context(logged_in(port, password))
        time.sleep(SETTLE_SECONDS)
        yield
