"""What every bench needs: peers, rounds in a turned order, tables of medians and ratios, a word about the machine."""

import os
import platform
import re
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TypeVar

from tests.servers import Server, program

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
TWISTD = "from twisted.scripts.twistd import run; run()"  # needs no script on PATH


def stor_argv(config: str, part: str) -> list[str]:
    """Say how stor runs one part of itself in the foreground; PYTHONPATH must be ROOT."""
    return [
        *(sys.executable, "-c", TWISTD, "-n", "--pidfile="),
        *("stor", "--config", config, "run", "--only", part),
    ]


class Peer(Server):
    """A server that is measured beside others; `name` is the title of its column."""

    name: str

    @property
    def pid(self) -> int:
        """The process that does the work."""
        assert self.process is not None
        return self.process.pid

    def answers(self) -> bool:
        """It listens."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False


class Table:
    """One figure of every peer, measured in rounds: `add` them, then `markdown` or `plain`.

    The peers named in `ours` are set in relation to each of the others.
    """

    def __init__(self, title: str, ours: Collection[str], show: Callable[[float], str] = "{:,.0f}".format) -> None:
        self.title, self._ours, self._show = title, ours, show
        self._rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, row: str, peer: str, value: float) -> None:
        """Take one peer's figure of one round; every peer has the same number of rounds in the end."""
        self._rows[row][peer].append(value)

    def figures(self, row: str, peer: str) -> Sequence[float]:
        """All figures of one peer in one row, round by round."""
        return self._rows[row][peer]

    def plain(self) -> dict[str, Mapping[str, Sequence[float]]]:
        """All the figures, for JSON."""
        return {row: dict(peers) for row, peers in self._rows.items()}

    def markdown(self) -> str:
        """Give two tables: the medians, and the medians of ours in relation to each peer's."""
        return f"{self._medians()}\n\n{self._ratios()}" if self._pairs() else self._medians()

    def _peers(self) -> list[str]:
        return list(dict.fromkeys(peer for row in self._rows.values() for peer in row))

    def _medians(self) -> str:
        peers = self._peers()
        rows = [[name, *(self._show(median(row[peer])) for peer in peers)] for name, row in self._rows.items()]
        return grid([self.title, *peers], rows)

    def _pairs(self) -> list[tuple[str, str]]:
        peers = self._peers()
        return [(ours, peer) for ours in self._ours if ours in peers for peer in peers if peer not in self._ours]

    def _ratios(self) -> str:
        pairs = self._pairs()
        rows = [
            [name, *(shown(ratios(row[ours], row[peer])) for ours, peer in pairs)] for name, row in self._rows.items()
        ]
        return grid([f"{self.title}, ratio", *(f"{ours} / {peer}" for ours, peer in pairs)], rows)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a Markdown table whose first column is text and the others numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Give the ratio within each round, so that what slows a whole round slows both."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Give the median of the ratios within each round."""
    return median(ratios(ours, theirs))


def shown(values: Sequence[float]) -> str:
    """Give the median of ratios and, where there are several, from where to where they went."""
    middle = f"{median(values):.2f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f} to {max(values):.2f})"


def in_rounds(peers: Sequence[T], rounds: int) -> Iterator[T]:
    """Give every peer once a round, another one first each time, so that drift meets all alike."""
    for turn in range(rounds):
        first = turn % len(peers)
        yield from (*peers[first:], *peers[:first])


def place() -> str:
    """Say on what was measured."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"


def version_of(name: str, flag: str) -> str:
    """Ask a program for its version."""
    done = subprocess.run([program(name), flag], capture_output=True, text=True, timeout=10, check=False)
    found = re.search(r"\d+(?:\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def resident_bytes(pid: int) -> int:
    """Read what a process holds in memory (VmRSS); Linux only."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
