"""Measure the object store beside its peers and the machine's own limits: `python -m bench.objects`."""

import argparse
import json
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from bench.common import place, version_of
from bench.objects.collecting import collector
from bench.objects.effort import FULL, QUICK, Effort
from bench.objects.larges import larges, memory
from bench.objects.loads import CLIENTS
from bench.objects.million import million
from bench.objects.result import Result, targets_table
from bench.objects.smalls import reads, uploads
from tests.servers import program

HERE = Path(__file__).parent
MEASUREMENTS: dict[str, Callable[[Effort], Result]] = {
    "uploads": uploads,
    "reads": reads,
    "larges": larges,
    "memory": memory,
    "million": million,
    "collector": collector,
}
NEEDED = ("weed", "juicefs", "wrk", "nginx", "redis-server")

HOW = """\
Measured on {place}; wrk, the server and its database share the cores. {versions}.
All on loopback and one disk, wrk with one thread and {clients} clients. All peers of a measurement run at once, idle
but for the one whose turn it is; rounds interleave them, another one first each time, and before each turn the disk
has all that was written. A figure is the median of its rounds, a ratio the median of the ratios within a round, with
the least and the most of them. Keys are new and far from each other, contents differ. `stor` is a process as it is
started in earnest, with its defaults (SQLite, folders, small objects in the database), an API key that is asked for,
metrics, and no access log (level `warn`), as no peer writes one; `stor, PostgreSQL` has its rows and small objects
there. `file per object` is bench/objects/replay.py on the same PostgreSQL: three commits and two fsyncs an upload.
SeaweedFS is its filer (`weed server -filer`), which asks for no key and does not fsync, and the same with
`?fsync=true`, which is true of the bytes and not of their names. `juicefs gateway` has its rows in a Redis that keeps
nothing, files without fsync, and its requests are signed beforehand. nginx writes by its DAV module, without fsync."""


def measure(names: list[str], effort: Effort) -> tuple[str, dict[str, object]]:
    """Run these one after the other; give what is to be shown, and the figures."""
    parts, targets, figures = [], [], {}
    for name in names:
        began = time.monotonic()
        result = MEASUREMENTS[name](effort)
        targets += result.targets
        parts += [*(table.markdown() for table in result.tables), *result.notes]
        figures |= {table.title: table.plain() for table in result.tables}
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    figures["targets"] = {target.text: [target.limit, *target.figures] for target in targets}
    text = "\n\n".join(["# The object store beside its peers", machine(), targets_table(targets), *parts])
    return text + "\n", figures


def machine() -> str:
    """Say what was measured with, and on what."""
    programs = {"weed": "version", "juicefs": "version", "nginx": "-v", "wrk": "--version"}
    versions = [f"{name} {version_of(name, flag)}" for name, flag in programs.items()]
    versions.append(f"PostgreSQL {version_of('psql', '--version')}")
    versions += [f"{name} {version(name)}" for name in ("twisted", "uvicorn", "uvloop", "psycopg")]
    versions.append(f"Python {platform.python_version()}")
    return HOW.format(place=place(), versions=", ".join(versions), clients=CLIENTS)


def main() -> None:
    """Measure, print; a full run also rewrites results.md and results.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.objects", description=__doc__)
    parser.add_argument("--only", choices=MEASUREMENTS, action="append", help="measure only this; may be said again")
    parser.add_argument("--rounds", type=int, help="how often, where each peer has turns")
    parser.add_argument("--quick", action="store_true", help="one short round, and less of everything: a first look")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended
    try:
        for name in NEEDED:
            program(name)
    except FileNotFoundError as missing:
        sys.exit(f"{missing}; on Debian: wrk, nginx, redis-server, postgresql")
    _use_a_disk()
    effort = QUICK if options.quick else FULL
    if options.rounds is not None:
        effort = replace(effort, rounds=options.rounds)
    text, figures = measure(options.only or list(MEASUREMENTS), effort)
    print(text)
    if not options.quick and options.only is None:
        (HERE / "results.md").write_text(text)
        (HERE / "results.json").write_text(json.dumps(figures, indent=1) + "\n")


def _use_a_disk() -> None:
    """What is fsynced in memory says nothing: where temporary files are in memory, use /var/tmp."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    places = [(point, kind) for point, kind in mounts if Path(tempfile.gettempdir()).is_relative_to(point)]
    if max(places, key=lambda each: len(each[0]))[1] == "tmpfs":
        tempfile.tempdir = "/var/tmp"  # noqa: S108 - each peer makes a folder of its own in it


if __name__ == "__main__":
    main()
