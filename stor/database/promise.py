"""What every database promises."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]


class Transaction(Protocol):
    """All or nothing. Parameters are marked `?` on both databases; a `?` in a literal is not supported."""

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one statement and give its rows (none for what returns none)."""

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        """Run one statement for each row of parameters; give the number of rows it changed."""


class Database(Protocol):
    """Runs work in threads of its own; raises Unavailable (it is away, too slow, or too busy) and Full (no space)."""

    @property
    def kind(self) -> Literal["sqlite", "postgresql"]:
        """Which of the two it is."""

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction of its own that is durable (fsynced) when this returns.

        Concurrent writes may share one fsync. What `work` raises undoes it, and only it. `work` may be run again
        (a serialization failure, a lost group): it must have no effect but through the transaction.
        """

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on one consistent state that includes every write acknowledged before; it cannot write."""
