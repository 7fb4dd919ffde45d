"""Measure stor's blob API beside the obvious service: `python -m bench.blobs`, and `python -m bench.blobs rss`."""

import argparse
import contextlib
import json
import platform
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.blobs.loads import CLIENTS, LOADS
from bench.blobs.peers import Auth, Peer, Reference, StorFolder, StorS3
from bench.common import Table, grid, in_rounds, place, ratio, version_of
from bench.memory import FILES, watched
from tests.servers import S3Server, program

HERE = Path(__file__).parent
PEERS: tuple[type[Peer], ...] = (Reference, StorFolder, StorS3)
OURS = (StorFolder.name, StorS3.name)
MIB = 1 << 20

HOW = """\
Measured on {place}; wrk, the service, the S3 server (`weed mini`) and the auth service share the cores. {versions}.
All on loopback, {clients} clients, each request with a token. `reference` is bench/blobs/reference.py: FastAPI and
boto3 as the older service was built, on the same S3 server and the same auth service as stor. All peers run at
once, each under a prefix of its own, those with 0 files and those with 10,000; rounds interleave them, another one
first each time. A figure is the median of its rounds, a ratio the median of the ratios within a round. What is the
reference's design and not its speed: it asks the auth service on each request, where stor remembers the answer for
60 s; for /sync it reads the index and makes JSON of it (the bytes as they are would take it a third of the time), has
no ETag there, and where nothing changed sends it all again; it does not compress.
`PUT, new` begins at so many files and adds to them while it runs."""


@dataclass(frozen=True)
class Effort:
    """How long to measure, and how much is large."""

    rounds: int
    seconds: float
    large_bytes: int
    files: tuple[int, int] = (0, 10_000)


FULL = Effort(rounds=3, seconds=3.0, large_bytes=512 * MIB)
QUICK = Effort(rounds=1, seconds=1.0, large_bytes=32 * MIB)


def loads(effort: Effort, kinds: Sequence[type[Peer]]) -> list[Table]:
    """Requests a second and their p99, by wrk."""
    rates, tails = Table("requests a second", OURS), Table("p99 in ms", OURS, "{:.2f}".format)
    with _started(effort, kinds) as peers:
        for load in LOADS:
            for peer in peers:
                load.prepare(peer)
            for peer in in_rounds(peers, effort.rounds):
                sample = load.run(peer, effort.seconds)
                rates.add(_row(load.name, peer.files), peer.name, sample.rate)
                tails.add(_row(load.name, peer.files), peer.name, sample.p99_ms)
            print(f"{load.name}: done", file=sys.stderr)
    return [rates, tails]


@contextlib.contextmanager
def _started(effort: Effort, kinds: Sequence[type[Peer]]) -> Iterator[list[Peer]]:
    """Start every kind with each number of files, seeded."""
    with contextlib.ExitStack() as started:
        s3, auth = started.enter_context(S3Server("bench")), started.enter_context(Auth())
        peers = [kind(s3, auth, files) for files in effort.files for kind in kinds]
        for peer in peers:
            started.enter_context(peer)
            peer.seed()
        yield peers


def _row(load: str, files: int) -> str:
    return f"{load}, {files:,} files"


def growth(rates: Table, effort: Effort) -> str:
    """Set what a PUT costs with many files in relation to what it costs with none; 1 is what it should be."""
    few, many = effort.files
    (name,) = (load.name for load in LOADS if load.kind == "put")
    rows = []
    for peer in rates.plain()[_row(name, few)]:
        slower = ratio(rates.figures(_row(name, few), peer), rates.figures(_row(name, many), peer))
        rows.append([peer, f"{slower:.2f}"])
    return grid([f"{name}: its time at {many:,} files / at {few}", "ratio"], rows)


def rss(effort: Effort, kinds: Sequence[type[Peer]]) -> str:
    """Memory while large files go up and come down, each peer started afresh."""
    head = ["MiB resident", "before", "at most, up", "at most, down", "MiB/s up", "MiB/s down"]
    total, rows = FILES * effort.large_bytes / MIB, []
    for kind in kinds:
        with S3Server("bench") as s3, Auth() as auth, kind(s3, auth, 0) as peer:
            seen = watched(peer, "/blob/large/{}".format, peer.headers, effort.large_bytes)
        figures = [size / MIB for size in (seen.before, seen.up, seen.down)]
        figures += [total / seen.seconds_up, total / seen.seconds_down]
        rows.append([peer.name, *(f"{figure:,.0f}" for figure in figures)])
        print(f"{peer.name}: done", file=sys.stderr)
    return f"{FILES} files of {effort.large_bytes // MIB} MiB at once.\n\n{grid(head, rows)}"


def machine() -> str:
    """Say what was measured with, and on what."""
    versions = [f"weed {version_of('weed', 'version')}", f"wrk {version_of('wrk', '--version')}"]
    versions += [f"{name} {version(name)}" for name in ("twisted", "fastapi", "uvicorn", "boto3")]
    versions.append(f"Python {platform.python_version()}")
    return HOW.format(place=place(), versions=", ".join(versions), clients=CLIENTS)


def main() -> None:
    """Measure, print; a full run also rewrites results.md and results.json, a full `rss` rss.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.blobs", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("loads", "rss"), default="loads")
    parser.add_argument("--quick", action="store_true", help="one short round, 32 MiB files: a first look")
    parser.add_argument("--only", choices=[kind.name for kind in PEERS], help="measure only this peer")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended
    try:
        for name in ("weed", "wrk"):
            program(name)
    except FileNotFoundError as missing:
        sys.exit(f"{missing}; on Debian: wrk")
    effort = QUICK if options.quick else FULL
    kinds = [kind for kind in PEERS if options.only in {None, kind.name}]
    kept = not options.quick and options.only is None
    if options.what == "rss":
        _show("Memory with large files", [rss(effort, kinds)], HERE / "rss.md" if kept else None)
        return
    tables = loads(effort, kinds)
    parts = [*(table.markdown() for table in tables), growth(tables[0], effort)]
    _show("The blob API beside the obvious service", parts, HERE / "results.md" if kept else None)
    if kept:
        figures = {table.title: table.plain() for table in tables}
        (HERE / "results.json").write_text(json.dumps(figures, indent=1) + "\n")


def _show(title: str, parts: Sequence[str], kept: Path | None) -> None:
    text = "\n\n".join([f"# {title}", machine(), *parts]) + "\n"
    print(text)
    if kept is not None:
        kept.write_text(text)


if __name__ == "__main__":
    main()
