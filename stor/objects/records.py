"""What the object store knows of: objects, the bytes they refer to, and drafts of what is to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """Where an object is in its life: it goes down this list, and never back; readers see COMMITTED alone."""

    WRITING = "WRITING"
    COMMITTED = "COMMITTED"
    DELETING = "DELETING"  # nobody sees it any more; its reference to the bytes is still counted
    DELETED = "DELETED"


class StorageClass(StrEnum):
    """Which store the bytes are in."""

    HOT = "hot"
    COLD = "cold"


@dataclass(frozen=True, slots=True)
class Name:
    """Whose object it is and what it is called; an empty `key` is none."""

    namespace: str
    tenant: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Object:
    """An object; `digest` is the SHA-256 of its bytes in hex, `size` in bytes, times in microseconds since 1970."""

    id: str
    name: Name
    state: State
    storage_class: StorageClass
    digest: str
    size: int
    content_type: str
    metadata: Mapping[str, str]
    created_at: int
    updated_at: int

    @property
    def etag(self) -> str:
        """The strong ETag, quotes included."""
        return f'"sha256:{self.digest}"'


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that objects refer to: in `data`, or under the key `copy` in the store of their class.

    `etag` is that of the copy when its bytes were last hashed. `damage` says why they cannot be given, None when whole.
    """

    id: int
    digest: str
    storage_class: StorageClass
    size: int
    copy: str | None
    etag: str
    damage: str | None
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Found:
    """A committed object and its bytes."""

    object: Object
    blob: Blob


@dataclass(frozen=True, slots=True)
class Wish:
    """What must hold of a key that is written.

    Nothing asked: it must be free, or its bytes the same. `absent`: it must be free (If-None-Match: *). `match`: it
    must be taken, by an object with one of these ETags (quotes included; {"*"}: by any), which is replaced.
    """

    absent: bool = False
    match: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """An object that somebody wants to make; its bytes must have the digests `expected` (names of hashlib, hex).

    `upload`: the id of the resumable upload that it comes from, whose bytes count against the quota already.
    """

    name: Name
    storage_class: StorageClass = StorageClass.HOT
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)
    wish: Wish = Wish()
    expected: Mapping[str, str] = field(default_factory=dict)
    upload: str = ""


@dataclass(frozen=True, slots=True)
class Created:
    """What came of a draft; `is_new` False: the key had these bytes already, under this object."""

    object: Object
    is_new: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different about an object; None: as it was."""

    content_type: str | None = None
    metadata: Mapping[str, str] | None = None
    storage_class: StorageClass | None = None
