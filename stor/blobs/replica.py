"""The index in memory: what all records of the journal add up to, and the views of it."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from sys import intern

from stor.blobs.ordered import Sorted
from stor.blobs.records import Namespace, Purge, Put, Record, State
from stor.blobs.rules import Entry
from stor.blobs.view import Cursor, Moment, Row, Sums, View
from stor.threads import Threads

VIEWS = 64
"""Most views kept; each holds its body, so it is the namespaces asked for most recently that stay."""
Listener = Callable[[Sequence[Record] | None], None]
"""Told after each change which records there were; None: everything may have changed."""


class Replica:
    """Entries by path. Follows one journal: `reset` and `apply` are the only ways in.

    A change costs the same whatever the number of entries; a view costs once for each change below its namespace.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._rows: dict[str, Row] = {}  # in the order of their last change
        self._sorted = Sorted()
        self._views: OrderedDict[str, View | None] = OrderedDict()  # None: there was one, and something has changed
        self._sums: dict[str, Sums] = {}  # for each that is in `_views`
        self._listeners: list[Listener] = []
        self.namespaces: set[str] = set()
        self.moment = Moment(Cursor("", 0))
        self.last_version = 0
        """The highest version ever seen."""

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Entry]:
        return iter([row.entry for row in self._rows.values()])

    @property
    def position(self) -> int:
        """Of the last record that was applied."""
        return self.moment.now.position

    def get(self, path: str) -> Entry | None:
        """Give the entry of a path, live or a tombstone."""
        row = self._rows.get(path)
        return None if row is None else row.entry

    def listen(self, listener: Listener) -> None:
        """Call `listener` after each change; it must not change anything itself."""
        self._listeners.append(listener)

    def fits(self, record: Record) -> bool:
        """Tell whether the record's base is the version that its path has now (0: none)."""
        if isinstance(record, Namespace):
            return True
        row = self._rows.get(record.path)
        return record.base == (0 if row is None else row.entry.version)

    def reset(self, state: State) -> None:
        """Forget everything, and be what `state` says."""
        entries = sorted(state.entries, key=lambda entry: entry.position)
        self._rows = {entry.path: Row(_placed(entry, entry.position)) for entry in entries}
        self._sorted.reset(self._rows)
        self.namespaces = set(state.namespaces)
        now = Cursor(state.log, state.position)
        self.moment = Moment(now, state.purged_at, state.purged_version, state.horizon)
        highest = max((entry.version for entry in entries), default=0)
        self.last_version = max(self.last_version, highest, state.purged_version)
        self._forget_views()
        self._tell(None)

    def state(self) -> State:
        """Give everything, as a value that later changes do not touch."""
        moment = self.moment
        return State(
            log=moment.now.log,
            position=moment.now.position,
            entries=list(self),
            namespaces=frozenset(self.namespaces),
            purged_at=moment.purged_at,
            purged_version=moment.purged_version,
            horizon=moment.horizon,
        )

    def apply(self, log: str, position: int, records: Sequence[Record]) -> None:
        """Take the records of one position, the next one."""
        before = self.moment
        self.moment = Moment(Cursor(log, position), before.purged_at, before.purged_version, before.horizon)
        for record in records:
            if isinstance(record, Put):
                self._put(record.entry, position)
            elif isinstance(record, Purge):
                self._purge(record.path)
            else:
                self.namespaces.add(record.name)
        self._tell(records)

    def view(self, namespace: str = "") -> View:
        """Give the index below a namespace as it is now; kept as long as nothing changes there."""
        view = self._views.get(namespace)
        if view is None:
            rows = self._sorted.below(namespace)
            sums = self._sums.get(namespace) or Sums.of(rows)
            view, self._sums[namespace] = View(namespace, rows, sums, self.moment, self._threads), sums
        self._views[namespace] = view = view.at(self.moment)
        self._views.move_to_end(namespace)
        if len(self._views) > VIEWS:
            self._sums.pop(self._views.popitem(last=False)[0], None)
        return view

    def changed(self, since: Cursor, namespace: str = "") -> tuple[list[Entry], bool]:
        """Give what changed after a cursor, in the order of paths, and whether that had to be everything.

        Costs as much as there was change.
        """
        if since.is_reset_for(self.moment.now, self.moment.horizon):
            return [row.entry for row in self._sorted.below(namespace)], True
        head, found = namespace + "/" if namespace else "", []
        for row in reversed(self._rows.values()):
            if row.entry.position <= since.position:
                break
            if row.entry.path.startswith(head):
                found.append(row.entry)
        return sorted(found, key=lambda entry: entry.path), False

    def _put(self, entry: Entry, position: int) -> None:
        before = self._rows.pop(entry.path, None)
        row = self._rows[entry.path] = Row(_placed(entry, position))
        self._sorted.put(row)
        self.last_version = max(self.last_version, entry.version)
        for namespace in self._viewed_above(entry.path):
            self._views[namespace] = None
            self._sums[namespace].put(None if before is None else before.entry, row.entry)

    def _purge(self, path: str) -> None:
        row = self._rows.pop(path, None)
        if row is None:
            return
        self._sorted.purge(path)
        moment, gone = self.moment, row.entry
        known_by = gone.position if gone.is_deleted else moment.now.position
        self.moment = Moment(
            now=moment.now,
            purged_at=moment.now.position,
            purged_version=max(moment.purged_version, gone.version),
            horizon=max(moment.horizon, known_by),
        )
        self._forget_views()  # a purge shows in the version and the etag of every view

    def _forget_views(self) -> None:
        self._views.clear()
        self._sums.clear()

    def _viewed_above(self, path: str) -> Iterator[str]:
        """Give the namespaces that have the path below them, of those that somebody has asked for."""
        if "" in self._views:
            yield ""
        end = path.find("/") if self._views else -1
        while end >= 0:
            if path[:end] in self._views:
                yield path[:end]
            end = path.find("/", end + 1)

    def _tell(self, records: Sequence[Record] | None) -> None:
        for listener in self._listeners:
            listener(records)


def _placed(entry: Entry, position: int) -> Entry:
    """Give the entry its position; an etag that is the md5, as on S3, and a type need not be in memory twice."""
    return Entry(
        path=entry.path,
        md5=entry.md5,
        size=entry.size,
        modified=entry.modified,
        is_deleted=entry.is_deleted,
        version=entry.version,
        etag=entry.md5 if entry.etag == entry.md5 else entry.etag,
        position=position,
        content_type=None if entry.content_type is None else intern(entry.content_type),
    )
