"""What a measurement gives: tables, and targets that are met or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.common import Table, grid, shown
from bench.wrk import Sample


@dataclass(frozen=True)
class Target:
    """A figure of each round that is to be at least (or, where it is a cost, at most) `limit` in the middle."""

    text: str
    figures: Sequence[float]
    limit: float
    is_cost: bool = False

    @property
    def met(self) -> bool:
        """Whether it is."""
        figure = median(self.figures)
        return figure <= self.limit if self.is_cost else figure >= self.limit

    def cells(self) -> list[str]:
        """Give its row in the table of targets."""
        limit = f"{'at most' if self.is_cost else 'at least'} {self.limit:,g}"
        return [self.text, limit, shown(self.figures), "yes" if self.met else "NO"]


@dataclass(frozen=True)
class Result:
    """Tables as they are shown and, the same in numbers, kept; notes in Markdown; targets."""

    tables: Sequence[Table] = ()
    targets: Sequence[Target] = ()
    notes: Sequence[str] = field(default_factory=list)


class Samples:
    """wrk's figures of several peers: rates, and the times of the middle and of the slowest in a hundred."""

    def __init__(self, title: str, ours: Sequence[str]) -> None:
        self.rates = Table(f"{title}: requests a second", ours)
        self.middles = Table(f"{title}: p50 in ms", ours, "{:.2f}".format)
        self.tails = Table(f"{title}: p99 in ms", ours, "{:.2f}".format)

    def add(self, row: str, peer: str, sample: Sample) -> None:
        """Take one run."""
        self.rates.add(row, peer, sample.rate)
        self.middles.add(row, peer, sample.p50_ms)
        self.tails.add(row, peer, sample.p99_ms)

    @property
    def tables(self) -> list[Table]:
        """All three."""
        return [self.rates, self.middles, self.tails]


def targets_table(targets: Sequence[Target]) -> str:
    """Give a Markdown table of targets."""
    return grid(["target", "limit", "measured", "met"], [target.cells() for target in targets])
