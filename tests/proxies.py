"""stor itself as a server for tests: the real program, run by twistd, with a configuration file of its own."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tests.servers import Server, clean_environment, free_port, wait_until

ROOT = Path(__file__).parent.parent
PASSWORD = "the-proxy-password"
USER, SECRET = "stor", "the-upstream-secret"
ACL = ("user default off", f"user {USER} on >{SECRET} ~* &* +@all")


class StorServer(Server):
    """`twistd stor run` in front of an upstream URL; `config` is added to its TOML file."""

    def __init__(
        self,
        upstream: str,
        *,
        password: str | None = PASSWORD,
        redis: str = "",
        config: str = "",
        only: str = "redis",
        environment: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.web_port = free_port()
        self._only, self._environment = only, environment or {}
        self.file = self.folder / "stor.toml"
        login = "" if password is None else f"password = '{password}'"
        self.configure(
            f"""
            data = '{self.folder}/data'
            [redis]
            host = '127.0.0.1'
            port = {self.port}
            url = '{upstream}'
            {login}
            {redis}
            [web]
            port = {self.web_port}
            {config}
            """
        )

    def configure(self, text: str) -> None:
        """Write its configuration file."""
        self.file.write_text("\n".join(line.strip() for line in text.splitlines()))

    def argv(self) -> Sequence[str]:
        """Say what to run."""
        return [
            sys.executable,
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "--nodaemon",
            "--pidfile=",
            "stor",
            "--config",
            str(self.file),
            "run",
            "--only",
            self._only,
        ]

    def environment(self) -> dict[str, str]:
        """The tree under test, and nothing else."""
        kept = {name: os.environ[name] for name in ("STOR_PURE",) if name in os.environ}
        return clean_environment(PYTHONPATH=str(ROOT), **kept, **self._environment)

    def answers(self) -> bool:
        """Everything listens, by its own word."""
        return " is up" in self.output

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def memory(self) -> int:
        """Its resident memory in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(status.split("VmRSS:")[1].split()[0])

    def get(self, path: str) -> str:
        """Fetch a page of its HTTP side."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}{path}", timeout=5) as answer:
            return answer.read().decode()

    def metric(self, name: str) -> float:
        """Read one metric, named with its labels as it is exported; 0 when it is not there yet."""
        lines = [line for line in self.get("/metrics").splitlines() if line.startswith(name + " ")]
        return float(lines[0].split()[-1]) if lines else 0.0

    def client(self, seconds: float = 10.0) -> socket.socket:
        """Connect to its Redis port."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def session(self, login: bytes = f"AUTH {PASSWORD}\r\n".encode()) -> socket.socket:
        """Connect and log in."""
        client = self.client()
        client.sendall(login)
        answer = line(client)
        assert answer == b"+OK\r\n", answer
        return client

    def wait_for_exit(self, seconds: float) -> int:
        """Wait for its end; its exit code."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {seconds} s:\n{self.output[-3000:]}") from None


def line(client: socket.socket) -> bytes:
    """Read one line, byte by byte so that nothing behind it is taken."""
    got = b""
    while not got.endswith(b"\r\n"):
        byte = client.recv(1)
        if not byte:
            break
        got += byte
    return got


def exactly(client: socket.socket, size: int) -> bytes:
    """Read so many bytes."""
    got = bytearray()
    while len(got) < size:
        piece = client.recv(size - len(got))
        if not piece:
            break
        got += piece
    return bytes(got)


def to_the_end(client: socket.socket) -> bytes:
    """Read until the other side ends, in whatever way."""
    got = bytearray()
    try:
        while piece := client.recv(1 << 16):
            got += piece
    except ConnectionResetError:
        pass
    return bytes(got)


__all__ = ["ACL", "PASSWORD", "SECRET", "USER", "StorServer", "exactly", "line", "to_the_end", "wait_until"]
