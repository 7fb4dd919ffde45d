"""Many works in one commit: each in a savepoint of its own, one fsync for all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stor.database.promise import Transaction
from stor.database.session import WriteSession
from stor.errors import Conflict, Failed, Full, StorError

Work = Callable[[Transaction], Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a work: its value, or what it raised."""

    value: Any = None
    error: BaseException | None = None


class _Lost(Exception):
    """Nothing of the transaction is kept, for this reason."""

    def __init__(self, why: StorError) -> None:
        super().__init__()
        self.why = why


def commit(session: WriteSession, works: Sequence[Work]) -> list[Outcome]:
    """Run the works one after the other and make them durable together; give what came of each.

    Where one may have spoilt it for all (it was too big for the disk, or a deferred rule is broken), each is run
    once more on its own. A disk that is broken is not asked again.
    """
    try:
        return _together(session, works)
    except _Lost as lost:
        if len(works) == 1 or not isinstance(lost.why, Full | Conflict):
            return [Outcome(error=lost.why)] * len(works)
    return [outcome for work in works for outcome in commit(session, [work])]


def _together(session: WriteSession, works: Sequence[Work]) -> list[Outcome]:
    try:
        session.begin()
        outcomes = [_apart(session, work) for work in works]
        session.commit()
    except StorError as why:
        raise _Lost(why) from None
    finally:
        session.rollback()  # of nothing, after a commit
    return outcomes


def _apart(session: WriteSession, work: Work) -> Outcome:
    try:
        return Outcome(session.apart(work))
    except BaseException as error:  # it belongs to the one who gave us the work
        if not session.begun:
            raise _Lost(error if isinstance(error, StorError) else Failed("a transaction ended early")) from error
        return Outcome(error=error)
