"""stor with blobs as real processes for tests: the program itself, run by twistd, any number over one store."""

import http.client
import json
import os
import resource
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.servers import S3Server, Server, clean_environment, free_port

ROOT = Path(__file__).parent.parent.parent
KEY = "a-key-of-the-tests-that-is-long-enough-for-anybody"


@dataclass(frozen=True)
class Answered:
    """An answer; header names are lower-case."""

    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


def in_folder(path: Path) -> str:
    """Say in TOML that blobs are kept in a folder."""
    return f"folder = '{path}'"


def in_bucket(server: S3Server, prefix: str = "memory") -> str:
    """Say in TOML that blobs are kept in a bucket."""
    return f"""
        bucket = '{server.bucket}'
        endpoint = '{server.endpoint}'
        access_key = '{server.access_key}'
        secret_key = '{server.secret_key}'
        prefix = '{prefix}'
    """


class BlobServer(Server):
    """One process with only its HTTP side; `blobs` are lines of its section, `config` whole sections."""

    def __init__(self, blobs: str, config: str = "") -> None:
        super().__init__()
        self.port = free_port()
        self.data = self.folder / "data"
        self.file = self.folder / "stor.toml"
        text = f"""
            data = '{self.data}'
            [web]
            port = {self.port}
            [access]
            api_keys = '{KEY}'
            [blobs]
            {blobs}
            {config}
        """
        self.file.write_text("\n".join(line.strip() for line in text.splitlines()))

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def argv(self) -> Sequence[str]:
        """Say what to run."""
        twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="]
        return [*twistd, "stor", "--config", str(self.file), "run", "--only", "web"]

    def environment(self) -> dict[str, str]:
        """The tree under test, and nothing else."""
        return clean_environment(PYTHONPATH=str(ROOT))

    def answers(self) -> bool:
        """Everything listens, by its own word."""
        return " is up" in self.output

    def connection(self, seconds: float = 30.0) -> http.client.HTTPConnection:
        """Give a connection that sends targets exactly as they are written."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        seconds: float = 30.0,
        **headers: str,
    ) -> Answered:
        """Send one request; `If_Match="x"` is the header If-Match."""
        lines = {
            "Authorization": self.authorization,
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        connection = self.connection(seconds)
        try:
            connection.request(method, target, body, lines)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, found, answer.read())
        finally:
            connection.close()

    @property
    def authorization(self) -> str:
        """The header by which it knows us."""
        return f"Bearer {KEY}"

    def memory(self) -> int:
        """Its resident memory in bytes."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.split("VmRSS:")[1].split()[0])

    def limit_files(self, size: int) -> None:
        """Let it write no file beyond so many bytes, as on a full disk."""
        assert self.process is not None
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))  # noqa: PTH208 - counted, not read


class Processes:
    """So many processes over one store; each can be killed and started again, as any Server."""

    def __init__(self, number: int, blobs: str, config: str = "") -> None:
        self._servers = [BlobServer(blobs, config) for _ in range(number)]
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for server in self._servers:
                started.enter_context(server)
            self._running = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def __getitem__(self, number: int) -> BlobServer:
        return self._servers[number]

    def __len__(self) -> int:
        return len(self._servers)
