"""What every journal promises: an ordered, durable list of records that all processes agree on."""

from collections.abc import Sequence
from typing import Protocol

from stor.blobs.records import Record, State


class Follower(Protocol):
    """Is told, in order, all that the journal holds."""

    def reset(self, state: State) -> None:
        """Forget everything: this is what all records up to `state.position` add up to."""

    def apply(self, log: str, position: int, records: Sequence[Record]) -> None:
        """Take the records of the next position; they always fit what came before."""

    def __len__(self) -> int:
        """Count the entries."""

    def state(self) -> State:
        """Give what all records so far add up to, at the position of the last one."""

    def fits(self, record: Record) -> bool:
        """Tell whether the record's base is what the index has for its path now."""


class Journal(Protocol):
    """Records at positions that only grow, the same for every process; each is a step from the one before it.

    A record that changes a path names the version it replaces (`base`). The journal takes it only if that is the
    version its path has at that place of the order (0: none), as one step for all processes: a compare-and-swap for
    each path. So the last record of a path is always the one that knew all others. `Namespace` always fits.

    All calls raise Unavailable or Full. After that, records that were being appended may be in the journal or not; they
    will not turn up later behind records that contradict them.
    """

    async def open(self, follower: Follower) -> None:
        """Give the follower the state (`reset`) and from now on each position (`apply`), before any call below returns.

        The follower may be reset again later. A position is a positive number. `log` names the journal, in digits and
        lower-case letters: it changes only when the journal has been begun anew and its positions mean nothing more.
        """

    async def append(self, records: Sequence[Record]) -> list[bool]:
        """Take the records that fit, each for itself, at one position, durable and applied to the follower.

        Tells which were taken. One that was not did not fit what the follower knows now. Concurrent appends share one
        position and its cost.
        """

    async def tail(self) -> None:
        """Let the follower know everything that any process had appended when this was called; cheap when shared."""

    async def close(self) -> None:
        """Wait for what is being appended, and take no more."""
