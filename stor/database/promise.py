"""What every database promises."""

from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]


class Asker(NamedTuple):
    """For whom something is read: a tenant, somebody of it, and how many seconds they wait; `inf`: are never refused.

    The default is the program itself.
    """

    tenant: str = ""
    name: str = ""
    patience: float = inf


OURSELVES = Asker()


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

    async def survey(self, work: Callable[[Transaction], T]) -> T:
        """As `read`, for work that takes minutes, and may begin anew; what cleans up after writers waits meanwhile."""

    async def browse(self, work: Callable[[Transaction], T], asker: Asker = OURSELVES) -> T:
        """As `read`, for work that looks at many rows and that anybody may ask for: nothing else waits for it.

        A few run at once; tenants come in turn, and so do those of one tenant. What an asker no longer waits for is
        not begun. TooMany when too much of the asker waits, Unavailable when it is too much in all, or takes too long.
        """
