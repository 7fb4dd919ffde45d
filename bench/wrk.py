"""wrk, which puts a load on a port for a fixed time."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers import clean_environment, program

SCRIPT = Path(__file__).with_suffix(".lua")
GRACE_SECONDS = 30.0


@dataclass(frozen=True)
class Sample:
    """What one run said: requests a second, and the times within which 50 and 99 of 100 were answered."""

    rate: float
    p50_ms: float
    p99_ms: float
    requests: int


def wrk(
    url: str,
    seconds: float,
    clients: int,
    threads: int,
    script: Path = SCRIPT,
    words: Sequence[str] = (),
    headers: Sequence[str] = (),
) -> Sample:
    """Run it to its end; the script must end as wrk.lua does. RuntimeError when one request was refused or lost."""
    argv = [program("wrk"), f"-t{threads}", f"-c{clients}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(script)]
    argv += [word for header in headers for word in ("-H", header)]
    done = subprocess.run(
        [*argv, url, "--", *words],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=seconds + GRACE_SECONDS,
        check=False,
    )
    if done.returncode or not done.stdout:
        raise RuntimeError(f"wrk ({url}): {done.stderr.strip() or done.stdout.strip()}")
    said = json.loads(done.stdout.splitlines()[-1])
    if said["refused"] or said["lost"] or not said["requests"]:
        raise RuntimeError(f"wrk ({url}): {said}")
    rate = said["requests"] / said["microseconds"] * 1e6
    return Sample(rate, said["p50"] / 1e3, said["p99"] / 1e3, said["requests"])
