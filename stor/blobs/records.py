"""What a journal holds: records that each change one thing, segments of them, and the state that they add up to."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from stor.blobs.rules import Entry


class Put(msgspec.Struct, frozen=True, tag="put", tag_field="kind"):
    """The path is now as `entry` says; `base` is the version it replaces in the index (0: none)."""

    entry: Entry
    base: int

    @property
    def path(self) -> str:
        """Which path it is about."""
        return self.entry.path


class Purge(msgspec.Struct, frozen=True, tag="purge", tag_field="kind"):
    """The path is no longer in the index, where it had the version `base`."""

    path: str
    base: int


class Namespace(msgspec.Struct, frozen=True, tag="namespace", tag_field="kind"):
    """The namespace has an index of its own for the older software."""

    name: str


Record = Put | Purge | Namespace


class Segment(msgspec.Struct, frozen=True, omit_defaults=True):
    """One claim of the log: `log` names the log it belongs to, `writer` who wrote it (unique for each claim)."""

    log: str
    writer: str
    records: Sequence[Record]
    format: int = 1


@dataclass(frozen=True, slots=True)
class State:
    """What all records up to `position` add up to.

    `purged_at`: the position of the last purge; `purged_version`: the highest version that a purge took away, which
    no index may go below; `horizon`: cursors below it cannot be told what went away since.
    """

    log: str = ""
    position: int = 0
    entries: Sequence[Entry] = ()
    namespaces: frozenset[str] = field(default_factory=frozenset)
    purged_at: int = 0
    purged_version: int = 0
    horizon: int = 0
