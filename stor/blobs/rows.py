"""What a journal keeps in a database: statements on a transaction, for one tree. They block; call them in works."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from secrets import randbits, token_hex
from typing import Any

import msgspec

from stor.blobs.records import Namespace, Purge, Put, Record
from stor.blobs.rules import Entry
from stor.database.promise import Transaction

PAGE = 2000
"""Entries that are read at once."""
_LIVE, _DELETED, _PURGED = 0, 1, 2  # an entry's `state`
_MOST_MARKS = 512

_NEW_TREE = """INSERT INTO blob_tree (id, name, log, position, purged_at, purged_version, horizon)
VALUES (?, ?, ?, 0, 0, 0, 0) ON CONFLICT (name) DO NOTHING"""
_HEAD = "SELECT log, position, purged_at, purged_version, horizon FROM blob_tree WHERE id = ?"
_LOCK = """UPDATE blob_tree SET position = position WHERE id = ?
RETURNING log, position, purged_at, purged_version, horizon"""
_MOVE = "UPDATE blob_tree SET position = ?, purged_at = ?, purged_version = ?, horizon = ? WHERE id = ?"
_ANEW = "UPDATE blob_tree SET log = ?, position = ? WHERE id = ? AND log = ? AND position < ?"

_PAGE = """SELECT path, state, md5, size, modified, version, etag, position, content_type FROM blob_entry
WHERE tree = ? AND (position, path) > (?, ?) ORDER BY position, path LIMIT ?"""
_CURRENT = """SELECT path, state, md5, size, modified, version, etag, position, content_type FROM blob_entry
WHERE tree = ? AND state <> 2 AND path IN """
_PUT = """INSERT INTO blob_entry (tree, path, state, md5, size, modified, version, etag, position, content_type)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tree, path) DO UPDATE SET state = excluded.state,
md5 = excluded.md5, size = excluded.size, modified = excluded.modified, version = excluded.version,
etag = excluded.etag, position = excluded.position, content_type = excluded.content_type"""
_PURGE = "UPDATE blob_entry SET state = 2, position = ? WHERE tree = ? AND path = ?"
_FORGET = "DELETE FROM blob_entry WHERE tree = ? AND position <= ? AND state = 2"

_NAMESPACES = "SELECT name FROM blob_namespace WHERE tree = ?"
_NAMESPACE = "INSERT INTO blob_namespace (tree, name) VALUES (?, ?) ON CONFLICT DO NOTHING"
_AFTER = "SELECT position, records FROM blob_log WHERE tree = ? AND position > ? ORDER BY position LIMIT ?"
_LOG = "INSERT INTO blob_log (tree, position, records) VALUES (?, ?, ?)"
_FORGET_LOG = "DELETE FROM blob_log WHERE tree = ? AND position <= ?"

Tail = list[tuple[int, list[Record]]]
Page = list[tuple[Entry, bool]]

_encode = msgspec.json.Encoder().encode
_records = msgspec.json.Decoder(list[Record])


@dataclass(frozen=True, slots=True)
class Head:
    """Where a tree's log is, and what its purges left behind; see `records.State`."""

    log: str
    position: int
    purged_at: int
    purged_version: int
    horizon: int


def tree(transaction: Transaction, name: str) -> int:
    """Give the tree's number; a tree that was never there begins with nothing."""
    transaction.execute(_NEW_TREE, (randbits(62), name, token_hex(8)))
    ((number,),) = transaction.execute("SELECT id FROM blob_tree WHERE name = ?", (name,))
    return int(number)


def head(transaction: Transaction, tree: int) -> Head:
    """Give the head as it is."""
    (values,) = transaction.execute(_HEAD, (tree,))
    return Head(*values)


def locked_head(transaction: Transaction, tree: int) -> Head:
    """Give the head, and let nobody else append before this transaction has ended."""
    (values,) = transaction.execute(_LOCK, (tree,))
    return Head(*values)


def begin_anew(transaction: Transaction, tree: int, log: str, position: int) -> None:
    """Give the log another name and a position beyond all that were told, unless somebody has."""
    transaction.execute(_ANEW, (token_hex(8), position + 1, tree, log, position))


def after(transaction: Transaction, tree: int, position: int, most: int) -> Tail:
    """Give what was appended after a position, in order."""
    found = transaction.execute(_AFTER, (tree, position, most))
    return [(number, _records.decode(text)) for number, text in found]


def page(transaction: Transaction, tree: int, position: int, path: str) -> Page:
    """Give the entries beyond a place, in the order of their positions, and of each whether it is purged."""
    found = transaction.execute(_PAGE, (tree, position, path, PAGE))
    return [(_entry(row), row[1] == _PURGED) for row in found]


def namespaces(transaction: Transaction, tree: int) -> frozenset[str]:
    """Give the namespaces that have an index of their own."""
    return frozenset(name for (name,) in transaction.execute(_NAMESPACES, (tree,)))


def current(transaction: Transaction, tree: int, paths: Iterable[str]) -> dict[str, Entry]:
    """Give the entries that these paths have now."""
    found: dict[str, Entry] = {}
    waiting = iter(paths)
    while some := list(islice(waiting, _MOST_MARKS)):
        some += some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some))  # so that statements are few
        marks = ", ".join("?" * len(some))
        found.update((row[0], _entry(row)) for row in transaction.execute(f"{_CURRENT}({marks})", (tree, *some)))
    return found


def append(
    transaction: Transaction, tree: int, before: Head, records: Sequence[Record], known: dict[str, Entry]
) -> Head:
    """Keep records that fit at the next position; `before` is the locked head, `known` what their paths have now."""
    now = replace(before, position=before.position + 1)
    puts = [record.entry for record in records if isinstance(record, Put)]
    purges = [record.path for record in records if isinstance(record, Purge)]
    names = [record.name for record in records if isinstance(record, Namespace)]
    for path in purges:
        now = _purged(now, known[path])
    transaction.many(_PUT, [_row(tree, entry, now.position) for entry in puts])
    transaction.many(_PURGE, [(now.position, tree, path) for path in purges])
    transaction.many(_NAMESPACE, [(tree, name) for name in names])
    transaction.execute(_LOG, (tree, now.position, _encode(records).decode()))
    transaction.execute(_MOVE, (now.position, now.purged_at, now.purged_version, now.horizon, tree))
    return now


def forget(transaction: Transaction, tree: int, position: int) -> None:
    """Delete the records up to a position, and what was purged up to there."""
    transaction.execute(_FORGET_LOG, (tree, position))
    transaction.execute(_FORGET, (tree, position))


def _purged(head: Head, gone: Entry) -> Head:
    """Who was told of the deletion need not be told that it is purged; see `Replica`, which must agree."""
    told = gone.position if gone.is_deleted else head.position
    return replace(
        head,
        purged_at=head.position,
        purged_version=max(head.purged_version, gone.version),
        horizon=max(head.horizon, told),
    )


def _row(tree: int, entry: Entry, position: int) -> tuple[object, ...]:
    state = _DELETED if entry.is_deleted else _LIVE
    stamps = (entry.size, entry.modified, entry.version, entry.etag, position, entry.content_type)
    return (tree, entry.path, state, entry.md5, *stamps)


def _entry(row: tuple[Any, ...]) -> Entry:
    path, state, md5, size, modified, version, etag, position, content_type = row
    return Entry(path, md5, size, modified, state == _DELETED, version, etag, position, content_type)
