"""Two suites that others wrote for Redis, run against whatever answers on a port."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.compat import sources
from tests.compat.results import DIED, Outcomes, read_junit, read_tcl
from tests.servers import clean_environment, free_port

SUITE_SECONDS = 1200.0
STUCK_SECONDS = 120
GIVE_UP = threading.Event()  # set: every running suite ends now


@dataclass(frozen=True)
class Results:
    """One run of a suite; `trouble` is the end of its output when it gave no results, else empty."""

    outcomes: Outcomes
    seconds: float
    trouble: str = ""

    def count(self, outcome: str) -> int:
        """How many tests ended so."""
        return sum(told == outcome for told in self.outcomes.values())


class Suite(Protocol):
    """A suite that can be run as a whole or by groups of its tests."""

    name: str

    def run(self, port: int, folder: Path, groups: Collection[str] = ()) -> Results:
        """Run all groups, or those named, against this port; `folder` belongs to this run."""


class Tcl:
    """Redis's own suite, in the form it has for a server that it did not start itself."""

    name = "redis-tcl"

    def __init__(self, work: Path) -> None:
        self._source = sources.redis_source(work)

    def run(self, port: int, folder: Path, groups: Collection[str] = ()) -> Results:
        """Run it from a copy of its own: it writes beside its scripts."""
        place = folder / "redis"
        for part in ("tests", "utils"):
            shutil.copytree(self._source / part, place / part)
        argv = [str(self._source / "runtest"), "--host", "127.0.0.1", "--port", str(port), "--durable"]
        argv += ["--tags", "-slow", "--skipunit", "integration/redis-cli", "--timeout", str(STUCK_SECONDS)]
        argv += [
            "--baseport",
            str(free_port(most=50000) + 32),
        ]  # the port below is its own
        for group in groups:
            argv += ["--single", group]
        output, seconds = _run(argv, place, folder / "output")
        outcomes = read_tcl(output)
        ended = "The End" in output and DIED not in outcomes.values()
        return Results(outcomes, seconds, "" if ended else output[-2000:])


class RedisPy:
    """The tests of redis-py that need one plain server and nothing else."""

    marks = ("onlycluster", "redismod", "replica", "ssl", "cp_integration", "multidb_integration")
    # These talk to clusters, sentinels, modules, several servers or servers of their own, or to none.
    elsewhere = ("cluster", "sentinel", "search", "multidb", "scenario", "maint_notifications", "test_ssl")
    nowhere = ("observability", "test_http", "test_auth", "test_parsers", "test_cwe_404")

    def __init__(self, work: Path, protocol: int) -> None:
        self.name = f"redis-py-resp{protocol}"
        self._protocol = protocol
        self._source = sources.redis_py(work).resolve()
        self._python = sources.redis_py_python(work).absolute()

    def run(self, port: int, folder: Path, groups: Collection[str] = ()) -> Results:
        """Run them in the unpacked archive, whose `redis` package comes first on the path."""
        report = (folder / "report.xml").resolve()
        argv = [str(self._python), "-m", "pytest", *groups, "--quiet", "--tb=no", "-W", "ignore"]
        argv += [
            "-p",
            "no:cacheprovider",
            "-o",
            "addopts=",
            "-o",
            "junit_family=xunit1",
            f"--junitxml={report}",
        ]
        argv += ["-m", " and ".join(f"not {mark}" for mark in self.marks)]
        argv += [f"--ignore-glob=*{part}*" for part in (*self.elsewhere, *self.nowhere)]
        argv += [f"--redis-url=redis://127.0.0.1:{port}/0", f"--protocol={self._protocol}", "--timeout=30"]
        output, seconds = _run(argv, self._source, folder / "output")
        if not report.exists():
            return Results({}, seconds, output[-2000:])
        return Results(read_junit(report.read_text()), seconds)


def _run(argv: Sequence[str], cwd: Path, output: Path) -> tuple[str, float]:
    """Run a suite in a process group of its own, which ends with it; return what it printed, and seconds.

    One that does not end in time has printed no end, or written no report: the caller sees that.
    """
    began = time.monotonic()
    environment = clean_environment(PYTHONDONTWRITEBYTECODE="1")
    with output.open("wb") as sink:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while process.poll() is None and time.monotonic() < began + SUITE_SECONDS and not GIVE_UP.wait(0.2):
        pass
    with contextlib.suppress(ProcessLookupError):  # what it left behind ends with it
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return output.read_text(errors="replace"), time.monotonic() - began
