"""The collector at work while uploads come, beside the same uploads where there is nothing to collect."""

import sqlite3
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from bench.common import Table, ratios
from bench.objects import loads
from bench.objects.bulk import Bulk, preload
from bench.objects.effort import Effort, settle
from bench.objects.peers import Stor
from bench.objects.result import Result, Target
from bench.wrk import Sample

INLINE, FILES = "blobs in the database", "blobs in files"
SETTINGS = "gc_interval_seconds = 1\ngc_grace_seconds = 0\n"
NO_INLINE = "inline_bytes = 0\n"
FOLDER = "objects/hot/data"
MOST_ROUNDS = 15
WARM_SECONDS = 1.0
LEFT = "SELECT COUNT(*) FROM object_blob WHERE id <= ?"


@dataclass
class _Seen:
    """What was seen: blobs gone, seconds that it took, uploads a second with and without the collector at work."""

    gone: int = 0
    seconds: float = 0.0
    busy: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)


class Store(Stor):
    """A stor that collects all the time."""

    def __init__(self, settings: str) -> None:
        super().__init__()
        self.settings = SETTINGS + settings
        self._files: list[Path] = []

    def owe(self, backlog: int) -> None:
        """Put in what is to be collected, in rows or in files."""
        folder = self.data / FOLDER
        preload(self, Bulk(backlog, "DELETING", folder if NO_INLINE in self.settings else None))
        self._files = [path for path in folder.rglob("*") if path.is_file()]

    def left(self, count: int) -> int:
        """Count what is still there of the first `count`: their rows, or their files if these are more."""
        with closing(sqlite3.connect(f"file:{self.data / 'stor.db'}?mode=ro", uri=True)) as db:
            ((rows,),) = db.execute(LEFT, (count,))
        return max(int(rows), sum(path.exists() for path in self._files))


def collector(effort: Effort) -> Result:
    """Blobs a minute, and what is left of the uploads' rate."""
    rates = Table("1 KiB uploads a second, the collector", ["at work"])
    targets = []
    for name, settings, backlog in zip((INLINE, FILES), ("", NO_INLINE), effort.backlog, strict=True):
        seen = _measure(settings, backlog, effort)
        for busy, idle in zip(seen.busy, seen.idle, strict=True):
            rates.add(name, "at work", busy)
            rates.add(name, "idle", idle)
        targets += [
            Target(f"{name} collected in a minute", [seen.gone / seen.seconds * 60], 10_000),
            Target(f"uploads while {name} are collected / without", ratios(seen.busy, seen.idle), 0.7),
        ]
    return Result([rates], targets)


def _measure(settings: str, backlog: int, effort: Effort) -> _Seen:
    """Each in turn takes uploads; who has no turn is stopped (SIGSTOP), so that it collects nothing meanwhile."""
    with ExitStack() as stack:
        busy, idle = Store(settings), Store(settings)
        for peer in (busy, idle):
            stack.callback(peer.close)
        busy.owe(backlog)
        settle()
        for peer in (busy, idle):
            peer.start()
            stack.callback(peer.resume)
            loads.uploads(peer, WARM_SECONDS)
            peer.pause()
        seen, left = _Seen(), busy.left(backlog)
        while left and len(seen.busy) < MOST_ROUNDS:
            seen.idle.append(_turn(idle, effort.seconds).rate)
            began, before = time.monotonic(), left
            rate = _turn(busy, effort.seconds).rate
            seen.seconds += time.monotonic() - began
            left = busy.left(backlog)
            seen.gone += before - left
            seen.busy.append(rate)
        if not left and len(seen.busy) > 1:  # in the last round it came to its end
            seen.busy.pop()
            seen.idle.pop()
        return seen


def _turn(peer: Store, seconds: float) -> Sample:
    peer.resume()
    try:
        return loads.uploads(peer, seconds)
    finally:
        peer.pause()
