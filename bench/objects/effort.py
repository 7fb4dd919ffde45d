"""How long is measured, and how much is many and large."""

import os
from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Effort:
    """`keys` are read at random; `objects` are many; `backlog` is what the collector has to do, inline and in files."""

    rounds: int
    seconds: float
    large_bytes: int
    keys: int
    objects: int
    backlog: tuple[int, int]


FULL = Effort(rounds=3, seconds=3.0, large_bytes=1024 * MIB, keys=10_000, objects=1_000_000, backlog=(20_000, 10_000))
QUICK = Effort(rounds=1, seconds=1.0, large_bytes=64 * MIB, keys=1000, objects=20_000, backlog=(3000, 1500))


def settle() -> None:
    """Wait for the disk to have all that was written: who did not ask for it shall not cost the next one."""
    os.sync()
