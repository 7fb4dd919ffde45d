"""The proxies that are measured side by side, each one a process on a free loopback port."""

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bench.common import ROOT, stor_argv
from tests.servers import RedisServer, Server, clean_environment, free_port, program

SESSIONS = 20_000


class Peer(Server):
    """A proxy in front of one redis-server, whose default user has this password (empty: none)."""

    name: str

    def __init__(self, upstream: RedisServer, upstream_password: str = "") -> None:
        super().__init__()
        self.upstream, self.upstream_password = upstream, upstream_password

    @property
    def password(self) -> str:
        """What clients log in with: the upstream's own password, which passes straight through."""
        return self.upstream_password

    def answers(self) -> bool:
        """It listens: what it answers is the upstream's business."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    @property
    def pid(self) -> int:
        """The one process that serves."""
        assert self.process is not None
        return self.process.pid

    def config(self, name: str, text: str) -> str:
        """Write a file into the peer's own folder, which only this user can read; return its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)


class Direct(Peer):
    """No proxy: the server itself, as the measure of all."""

    name = "direct"

    def start(self) -> Self:
        """It runs already."""
        self.port = self.upstream.port
        return self

    @property
    def pid(self) -> int:
        """The server's own process."""
        assert self.upstream.process is not None
        return self.upstream.process.pid


class HAProxy(Peer):
    """HAProxy as a plain TCP relay on one thread; the client's AUTH goes straight through."""

    name = "haproxy"

    def argv(self) -> Sequence[str]:
        """Stay in the foreground, one process."""
        text = f"""\
global
  nbthread 1
  maxconn 8000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen redis
  bind 127.0.0.1:{self.port}
  server upstream 127.0.0.1:{self.upstream.port}
"""
        return [program("haproxy"), "-db", "-f", self.config("haproxy.cfg", text)]


class Nutcracker(Peer):
    """twemproxy with one pool of one server: all clients share one upstream connection."""

    name = "nutcracker"

    def argv(self) -> Sequence[str]:
        """Its statistics port cannot be turned off, so it gets a free one on loopback."""
        login = f"  redis_auth: {self.password}\n" if self.password else ""
        text = f"""\
redis:
  listen: 127.0.0.1:{self.port}
  redis: true
{login}  hash: fnv1a_64
  distribution: ketama
  backlog: 1024
  servers:
    - 127.0.0.1:{self.upstream.port}:1
"""
        config = self.config("nutcracker.yml", text)
        return [program("nutcracker"), "-c", config, "-s", str(free_port()), "-a", "127.0.0.1", "-v", "1"]


class Threaded(Peer):
    """The obvious Python proxy: two threads a connection."""

    name = "threads"

    def argv(self) -> Sequence[str]:
        """Standard library only."""
        script = Path(__file__).with_name("threaded.py")
        return [sys.executable, str(script), str(self.port), str(self.upstream.port)]


class Stor(Peer):
    """stor's proxy with its compiled lane."""

    name = "stor"

    @property
    def password(self) -> str:
        """One of our own; none where the upstream has none, which makes loopback sessions open."""
        return "stor-bench" if self.upstream_password else ""

    def argv(self) -> Sequence[str]:
        """Only the Redis part; limits that 5,000 sessions of one address do not meet."""
        url, login = self.upstream.url, ""
        if self.upstream_password:
            url, login = self.upstream.url_as("", self.upstream_password), f'password = "{self.password}"'
        text = f"""\
data = "{self.folder}"

[redis]
host = "127.0.0.1"
port = {self.port}
url = "{url}"
{login}

[redis.limits]
connections = {SESSIONS}
connections_per_address = {SESSIONS}
unauthenticated = {SESSIONS}
"""
        return stor_argv(self.config("stor.toml", text), "redis")

    def environment(self) -> dict[str, str]:
        """Find stor in this tree, whether it is installed or not."""
        return clean_environment(PYTHONPATH=str(ROOT))


class StorPure(Stor):
    """stor's proxy in Python alone."""

    name = "stor (pure)"

    def environment(self) -> dict[str, str]:
        """The same, with the compiled lane turned off."""
        return super().environment() | {"STOR_PURE": "1"}
