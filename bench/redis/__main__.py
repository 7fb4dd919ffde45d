"""Measure stor's Redis proxy beside its peers, in rounds that interleave them: `python -m bench.redis`."""

import argparse
import contextlib
import json
import platform
import resource
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.common import Table, in_rounds, place, version_of
from bench.redis.loads import LOADS
from bench.redis.peers import SESSIONS, Direct, HAProxy, Nutcracker, Peer, Stor, StorPure, Threaded
from bench.redis.sessions import idle_bytes, logins_a_second
from tests.servers import RedisServer, program

HERE = Path(__file__).parent
PROGRAMS = ("redis-server", "redis-benchmark", "haproxy", "nutcracker")
PEERS: tuple[type[Peer], ...] = (Direct, HAProxy, Nutcracker, Threaded, Stor, StorPure)
OURS = (Stor.name, StorPure.name)

HOW = """\
Measured on {place}; redis-benchmark, redis-server and the proxy share the cores. {versions}.
All on loopback; every client logs in, and the time that this takes is part of the figures: at 500 clients a
peer that logs in slowly shows it. Rounds interleave the peers, another one first each time: a figure is the
median of its rounds, a ratio the median of the ratios within a round. `direct` is no proxy at all, and its
memory is redis-server's own; `nutcracker` puts all its clients on one upstream connection; `threads` is
bench/redis/threaded.py; `stor (pure)` is stor without its compiled lane."""


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    load_seconds: float
    login_seconds: float
    idle_sessions: int


FULL = Effort(rounds=4, load_seconds=2.0, login_seconds=2.0, idle_sessions=5000)
QUICK = Effort(rounds=1, load_seconds=0.5, login_seconds=0.5, idle_sessions=500)


class Bed:
    """One redis-server and the peers in front of it, measured in turn."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._password = secrets.token_hex(8)

    def server(self) -> RedisServer:
        """A redis-server that asks for a password, as the one behind stor does."""
        return RedisServer("--maxclients", str(SESSIONS), config_lines=[f"requirepass {self._password}"])

    def loads(self) -> list[Table]:
        """Requests a second and their p99, by redis-benchmark."""
        rates, tails = Table("requests a second", OURS), Table("p99 in ms", OURS, "{:.2f}".format)
        with self.server() as server, self._peers(server) as peers:
            for load in LOADS:
                seconds = self._effort.load_seconds
                requests = {peer: load.requests_for(seconds, peer.port, peer.password) for peer in peers}
                for peer in in_rounds(peers, self._effort.rounds):
                    for test, sample in load.run(peer.port, peer.password, requests[peer]).items():
                        rates.add(f"{test}, {load.name}", peer.name, sample.rate)
                        tails.add(f"{test}, {load.name}", peer.name, sample.p99_ms)
                print(f"{load.name}: done", file=sys.stderr)
        return [rates, tails]

    def logins(self) -> list[Table]:
        """Logins a second: connect, AUTH, PING, close."""
        table = Table("logins a second", OURS)
        with self.server() as server, self._peers(server) as peers:
            for peer in in_rounds(peers, self._effort.rounds):
                rate = logins_a_second(peer.port, peer.password, self._effort.login_seconds)
                table.add("8 clients at a time", peer.name, rate)
        return [table]

    def memory(self) -> list[Table]:
        """Memory that one idle session holds in the proxy, each peer started afresh."""
        table = Table("KiB a session", OURS, "{:.1f}".format)
        count = self._effort.idle_sessions
        with self.server() as server:
            for kind in PEERS:
                with kind(server, self._password) as peer:
                    size = idle_bytes(peer.pid, peer.port, peer.password, count)
                    table.add(f"{count:,} idle sessions", peer.name, size / 1024)
        return [table]

    @contextlib.contextmanager
    def _peers(self, server: RedisServer) -> Iterator[list[Peer]]:
        with contextlib.ExitStack() as started:
            yield [started.enter_context(kind(server, self._password)) for kind in PEERS]


BENCHES: dict[str, Callable[[Bed], list[Table]]] = {
    "loads": Bed.loads,
    "logins": Bed.logins,
    "memory": Bed.memory,
}


def machine() -> str:
    """Say what was measured with, and on what."""
    programs = [("redis-server", "--version"), ("haproxy", "-v"), ("nutcracker", "--version")]
    versions = [f"{name} {version_of(name, flag)}" for name, flag in programs]
    versions += [f"Twisted {version('twisted')}", f"Python {platform.python_version()}"]
    return HOW.format(place=place(), versions=", ".join(versions))


def main() -> None:
    """Measure, print; a full run of everything also rewrites results.md and results.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.redis", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds, 500 idle sessions: a first look")
    parser.add_argument("--only", choices=BENCHES, help="measure only this")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a session is two files in a proxy
    try:
        for name in PROGRAMS:
            program(name)
    except FileNotFoundError as missing:
        sys.exit(f"{missing}; on Debian: redis-server, haproxy, nutcracker")
    bed = Bed(QUICK if options.quick else FULL)
    wanted = [options.only] if options.only else list(BENCHES)
    tables = [table for name in wanted for table in BENCHES[name](bed)]
    parts = ["# The Redis proxy beside its peers", machine(), *(table.markdown() for table in tables)]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if not options.quick and options.only is None:
        (HERE / "results.md").write_text(text)
        figures = {table.title: table.plain() for table in tables}
        (HERE / "results.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
