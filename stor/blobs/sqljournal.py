"""The journal for processes that share a database: appended in transactions, one after the other for each tree."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from twisted.logger import Logger

from stor.blobs import rows
from stor.blobs.journal import Follower
from stor.blobs.records import Namespace, Record, State
from stor.blobs.rows import Head, Page, Tail
from stor.blobs.rules import Entry
from stor.blobs.turns import Batch, Taken, Turns, choose
from stor.database.promise import Database, Transaction
from stor.errors import Unavailable

log = Logger()

MOST_RECORDS = 1000
"""At one position."""
MOST_BEHIND = 64
"""Positions that are read at once by who is behind."""
KEPT = 10_000
"""Positions whose records are kept; who is further behind loads all entries."""
SWEEP = 500
"""Positions between two deletions of what is not kept."""
TRIES = 8


@dataclass(frozen=True, slots=True)
class _Appended:
    """What was appended by others since we looked, then what was by us, and which records that were."""

    missed: Tail
    log: str
    position: int
    records: Sequence[Record]
    taken: Taken


class SqlJournal:
    """The promise of `Journal`, kept by rows of a database; `tree` is its name there, the same for all processes.

    An append locks the tree's head, so positions become visible in their order; a sequence's would not.
    """

    def __init__(self, database: Database, tree: str) -> None:
        self._database, self._name = database, tree
        self._turns = Turns(self._turn, MOST_RECORDS)
        self._tree, self._log, self._position = 0, "", 0
        self._follower: Follower

    async def open(self, follower: Follower) -> None:
        """Read everything; see `Journal`."""
        self._follower = follower
        self._tree = await self._database.write(partial(rows.tree, name=self._name))
        await self._load()

    async def append(self, records: Sequence[Record]) -> list[bool]:
        """Append what fits; see `Journal`."""
        return await self._turns.append(records)

    async def tail(self) -> None:
        """Read what there is; see `Journal`."""
        await self._turns.ask()

    async def close(self) -> None:
        """Take no more; see `Journal`."""
        await self._turns.close()

    async def _turn(self, batch: Batch) -> Taken:
        """Append what fits at the place where it is appended, and take in all up to there."""
        if not any(batch):
            await self._catch_up()
            return [[] for _ in batch]
        for _ in range(TRIES):
            work = partial(_append, tree=self._tree, log=self._log, position=self._position, batch=batch)
            appended = await self._database.write(work)
            if appended is not None:
                self._take_in(appended.log, appended.missed)
                if appended.records:
                    self._take_in(appended.log, [(appended.position, appended.records)])
                return appended.taken
            await self._catch_up()
        raise Unavailable("too many writers of the index at once", 1.0)

    async def _catch_up(self) -> None:
        """Read what was appended since we looked; load everything when that is not kept any more."""
        while True:
            work = partial(_read_on, tree=self._tree, log=self._log, position=self._position)
            head, missed = await self._database.read(work)
            if head.log == self._log and head.position < self._position:
                await self._begin_anew()
            if missed is None:
                await self._load()
                return
            self._take_in(head.log, missed)
            if self._position == head.position:
                return

    def _take_in(self, log: str, tail: Sequence[tuple[int, Sequence[Record]]]) -> None:
        for position, records in tail:
            self._log, self._position = log, position
            self._follower.apply(log, position, records)

    async def _begin_anew(self) -> None:
        """The database lost what it had acknowledged: it would give positions again that we have told to others."""
        log.critical("the database holds an older index of {tree} than before: its log is begun anew", tree=self._name)
        work = partial(rows.begin_anew, tree=self._tree, log=self._log, position=self._position)
        await self._database.write(work)

    async def _load(self) -> None:
        """Read all entries, page by page, in the order in which they changed: what changes meanwhile comes again."""
        state, began = None, 0
        while state is None or state.position - began > KEPT:  # else it may be forgotten what was purged meanwhile
            began = (await self._database.read(partial(rows.head, tree=self._tree))).position
            state = await self._loaded()
        self._log, self._position = state.log, state.position
        self._follower.reset(state)

    async def _loaded(self) -> State:
        found: dict[str, Entry] = {}
        position, path = 0, ""
        while True:
            page, state = await self._database.read(partial(_read_page, tree=self._tree, position=position, path=path))
            for entry, is_purged in page:
                found[entry.path] = entry
                if is_purged:
                    del found[entry.path]
            if state is not None:
                return replace(state, entries=list(found.values()))
            position, path = page[-1][0].position, page[-1][0].path


def _append(transaction: Transaction, tree: int, log: str, position: int, batch: Batch) -> _Appended | None:
    """Append; None when there is too much to be read before."""
    head = rows.locked_head(transaction, tree)
    missed = _missed(transaction, tree, head, log, position)
    if missed is None or len(missed) < head.position - position:
        return None
    paths = {record.path for records in batch for record in records if not isinstance(record, Namespace)}
    known = rows.current(transaction, tree, paths)
    chosen, taken = choose(batch, partial(_fits, known))
    if chosen:
        head = rows.append(transaction, tree, head, chosen, known)
        if head.position % SWEEP == 0:
            rows.forget(transaction, tree, head.position - KEPT)
    return _Appended(missed, head.log, head.position, chosen, taken)


def _read_on(transaction: Transaction, tree: int, log: str, position: int) -> tuple[Head, Tail | None]:
    head = rows.head(transaction, tree)
    return head, _missed(transaction, tree, head, log, position)


def _missed(transaction: Transaction, tree: int, head: Head, log: str, position: int) -> Tail | None:
    """Give the first of what was appended after a position; None when it cannot be told."""
    if head.log != log or head.position < position:
        return None
    if head.position == position:
        return []
    missed = rows.after(transaction, tree, position, MOST_BEHIND)
    return missed if missed and missed[0][0] == position + 1 else None


def _read_page(transaction: Transaction, tree: int, position: int, path: str) -> tuple[Page, State | None]:
    """Read the entries that follow a place; with the last page the state at that moment, but for its entries."""
    page = rows.page(transaction, tree, position, path)
    if len(page) == rows.PAGE:
        return page, None
    head = rows.head(transaction, tree)
    state = State(
        log=head.log,
        position=head.position,
        namespaces=rows.namespaces(transaction, tree),
        purged_at=head.purged_at,
        purged_version=head.purged_version,
        horizon=head.horizon,
    )
    return page, state


def _fits(known: dict[str, Entry], record: Record) -> bool:
    if isinstance(record, Namespace):
        return True
    there = known.get(record.path)
    return record.base == (0 if there is None else there.version)
