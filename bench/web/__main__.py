"""Measure the web room beside its peers, in rounds that interleave them: `python -m bench.web`."""

import argparse
import contextlib
import json
import platform
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.common import Table, in_rounds, place, version_of
from bench.large import down
from bench.web.peers import KEY, LARGE, FastAPI, Nginx, Peer, Stor
from bench.wrk import Sample, wrk
from tests.servers import program

HERE = Path(__file__).parent
PEERS: tuple[type[Peer], ...] = (Stor, FastAPI, Nginx)
OURS = tuple(Stor.small)
SENDFILE, READS = "stor, sendfile", "stor, reads of 256 KiB"

CLIENTS = 32
WARM_SECONDS = 1

HOW = """\
Measured on {place}; wrk and the server share the cores. {versions}.
All on loopback, wrk with one thread and {clients} clients, 1 KiB answers. `stor` is the web room alone
(bench/web/house.py) with all that it does in the house: an API key is asked for and found, the call is counted,
measured, logged to a file, and its answer has a request id; `stor (Klein)` is the same by way of Klein's dispatch.
`fastapi` runs on uvicorn with uvloop and httptools and does nothing else, and so does nginx, which has one worker.
Rounds interleave them, another one first each time: a figure is the median of its rounds, a ratio the median of the
ratios within a round."""


@dataclass(frozen=True)
class Effort:
    """How long to measure, and how much is large."""

    rounds: int
    seconds: int
    large_bytes: int


FULL = Effort(rounds=7, seconds=4, large_bytes=1 << 30)
QUICK = Effort(rounds=1, seconds=1, large_bytes=1 << 27)


@contextlib.contextmanager
def started(effort: Effort) -> Iterator[list[Peer]]:
    """All peers, and the large file that they serve."""
    with contextlib.ExitStack() as stack:
        stack.callback(LARGE.unlink, missing_ok=True)
        with LARGE.open("wb") as file:
            for _ in range(effort.large_bytes >> 20):
                file.write(b"x" * (1 << 20))
        yield [stack.enter_context(kind()) for kind in PEERS]


def smalls(peers: list[Peer], effort: Effort) -> list[Table]:
    """Requests a second and their p99, by wrk."""
    rates, tails = Table("requests a second", OURS), Table("p99 in ms", OURS, "{:.2f}".format)
    targets = [(peer, name, path) for peer in peers for name, path in peer.small.items()]
    for peer, _, path in targets:
        small(peer, path, WARM_SECONDS)
    for peer, name, path in in_rounds(targets, effort.rounds):
        sample = small(peer, path, effort.seconds)
        rates.add(f"{CLIENTS} clients", name, sample.rate)
        tails.add(f"{CLIENTS} clients", name, sample.p99_ms)
    return [rates, tails]


def small(peer: Peer, path: str, seconds: int) -> Sample:
    """Ask for a small answer with 32 clients."""
    return wrk(f"http://127.0.0.1:{peer.port}{path}", seconds, CLIENTS, 1, headers=[f"X-API-Key: {KEY}"])


def larges(peers: list[Peer], effort: Effort) -> list[Table]:
    """One large file to one fast reader."""
    ours, _, nginx = peers
    rates = Table("MiB a second", (SENDFILE,))
    costs = Table("processor seconds a GiB", (SENDFILE,), "{:.2f}".format)
    targets = [(ours, SENDFILE, "/file"), (ours, READS, "/read"), (nginx, "nginx", "/file")]
    for peer, name, path in in_rounds(targets, effort.rounds):
        transfer = down(peer.port, peer.pid, path, {"X-API-Key": KEY}, effort.large_bytes)
        rates.add("1 reader", name, transfer.rate)
        costs.add("1 reader", name, transfer.cpu_seconds)
    return [rates, costs]


def machine() -> str:
    """Say what was measured with, and on what."""
    versions = [f"nginx {version_of('nginx', '-v')}", f"wrk {version_of('wrk', '--version')}"]
    versions += [
        f"{name} {version(name)}" for name in ("twisted", "httptools", "klein", "fastapi", "uvicorn", "uvloop")
    ]
    versions.append(f"Python {platform.python_version()}")
    return HOW.format(place=place(), versions=", ".join(versions), clients=CLIENTS)


def main() -> None:
    """Measure, print; a full run also rewrites results.md and results.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.web", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: a first look")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended
    try:
        for name in ("wrk", "nginx"):
            program(name)
    except FileNotFoundError as missing:
        sys.exit(f"{missing}; on Debian: wrk, nginx")
    effort = QUICK if options.quick else FULL
    with started(effort) as peers:
        tables = [*smalls(peers, effort), *larges(peers, effort)]
    parts = ["# The web room beside its peers", machine(), *(table.markdown() for table in tables)]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if not options.quick:
        (HERE / "results.md").write_text(text)
        figures = {table.title: table.plain() for table in tables}
        (HERE / "results.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
