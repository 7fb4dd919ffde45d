"""What transactions on both databases have in common: the first statement that fails ends them."""

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Generic, Self, TypeVar

from stor.database.promise import Row, Transaction
from stor.errors import StorError

E = TypeVar("E", bound=Exception)
T = TypeVar("T")


class Statements(Generic[E]):
    """Raises `kind` in our words. PostgreSQL takes nothing more after a fault, so SQLite does not either."""

    def __init__(self, kind: type[E], tell: Callable[[E], StorError]) -> None:
        self._kind, self._tell = kind, tell
        self.error: E | None = None  # as the driver raised it
        self.fault: StorError | None = None

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one statement and give its rows."""
        raise NotImplementedError

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        """Run one statement for each row of parameters; give the number of rows it changed."""
        raise NotImplementedError

    def run(self, work: Callable[[Transaction], T]) -> T:
        """Do the work; a fault that it has swallowed is raised all the same."""
        value = work(self)
        if self.fault is not None:
            raise self.fault
        return value

    def _told(self) -> Self:
        return self

    def __enter__(self) -> None:
        """Each statement is run inside `with self._told()`; written out, for a generator's way costs as much as it."""
        if self.fault is not None:
            raise self.fault

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, self._kind):
            self.error, self.fault = error, self._tell(error)
            raise self.fault from None  # the chain could show values of rows
