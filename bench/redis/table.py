"""Measurements of several peers, round by round, as a table of medians and of ratios to each peer."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import median

OURS = ("stor", "stor (pure)")


class Table:
    """One figure of every peer, measured in rounds: `add` them, then `markdown` or `plain`."""

    def __init__(self, title: str, show: Callable[[float], str] = "{:,.0f}".format) -> None:
        self.title, self._show = title, show
        self._rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, row: str, peer: str, value: float) -> None:
        """Take one peer's figure of one round; every peer has the same number of rounds in the end."""
        self._rows[row][peer].append(value)

    def plain(self) -> dict[str, Mapping[str, Sequence[float]]]:
        """All the figures, for JSON."""
        return {row: dict(peers) for row, peers in self._rows.items()}

    def markdown(self) -> str:
        """Give two tables: the medians, and the medians of ours in relation to each peer's."""
        return f"{self._medians()}\n\n{self._ratios()}"

    def _peers(self) -> list[str]:
        return list(dict.fromkeys(peer for row in self._rows.values() for peer in row))

    def _medians(self) -> str:
        peers = self._peers()
        rows = [[name, *(self._show(median(row[peer])) for peer in peers)] for name, row in self._rows.items()]
        return _markdown([self.title, *peers], rows)

    def _ratios(self) -> str:
        peers = self._peers()
        pairs = [(ours, peer) for ours in OURS if ours in peers for peer in peers if peer not in OURS]
        rows = [
            [name, *(f"{_ratio(row[ours], row[peer]):.2f}" for ours, peer in pairs)] for name, row in self._rows.items()
        ]
        return _markdown([f"{self.title}, ratio", *(f"{ours} / {peer}" for ours, peer in pairs)], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return median(one / other for one, other in zip(ours, theirs, strict=True))
