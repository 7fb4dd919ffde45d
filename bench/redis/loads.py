"""The loads that redis-benchmark puts on a port, each as long as asked for whatever the port's speed."""

import csv
import subprocess
from dataclasses import dataclass

from tests.servers import clean_environment, program

RUN_SECONDS = 90.0  # a run that takes longer has gone wrong
TRIAL_SECONDS = 0.3
TESTS = ("SET", "GET")
LARGE = 65536  # bytes; values from here on are counted in hundreds a second
LEAST_EACH = 150  # requests of each client, unless they are large


@dataclass(frozen=True)
class Sample:
    """What one run said: requests a second, and the time within which 99 of 100 were answered."""

    rate: float
    p99_ms: float


@dataclass(frozen=True)
class Load:
    """So many clients, each with so many requests under way, on values of this size."""

    name: str
    clients: int
    pipeline: int = 1
    size: int = 3

    def run(self, port: int, password: str, requests: int) -> dict[str, Sample]:
        """Put this many SETs and as many GETs on a port that listens; RuntimeError when one fails."""
        argv = [program("redis-benchmark"), "-h", "127.0.0.1", "-p", str(port), "-a", password]
        argv += ["-t", "set,get", "--csv", "-n", str(requests)]
        argv += ["-c", str(self.clients), "-P", str(self.pipeline), "-d", str(self.size)]
        done = subprocess.run(
            argv, env=clean_environment(), capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )
        rows = {row["test"]: row for row in csv.DictReader(done.stdout.splitlines())}
        if done.returncode or set(rows) != set(TESTS):
            raise RuntimeError(f"redis-benchmark ({self.name}): {done.stderr.strip() or done.stdout.strip()}")
        return {test: Sample(float(row["rps"]), float(row["p99_latency_ms"])) for test, row in rows.items()}

    def requests_for(self, seconds: float, port: int, password: str) -> int:
        """Find out, by runs that also warm the port up, how many requests take about that long.

        redis-benchmark logs its clients in while the clock runs, and the first latency of each has its login in
        it: a run must be long enough for the one, and have requests enough (a p99 is of 1 in 100) for the other.
        """
        least = LEAST_EACH * self.clients if self.size < LARGE else 0
        requests = max(200, 4 * self.clients * self.pipeline) if self.size < LARGE else 4 * self.clients
        while True:
            rate = min(sample.rate for sample in self.run(port, password, requests).values())
            if requests / rate >= TRIAL_SECONDS:
                return max(least, int(rate * seconds))
            requests *= 4


LOADS = (
    Load("1 client", clients=1),
    Load("50 clients", clients=50),
    Load("500 clients", clients=500),
    Load("50 clients, pipeline 16", clients=50, pipeline=16),
    Load("10 clients, 1 MiB values", clients=10, size=1 << 20),
)
