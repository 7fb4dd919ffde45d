"""What a write may do to a path, decided from values alone: entries, conditions, the exact refusals."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from stor.errors import BadRequest, Missing, PreconditionFailed

INDEX_NAME = ".sync-index.json"
KEY_BYTES = 1024
"""Most bytes of an S3 key."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_DAY = 86_400_000_000


class Entry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One path of the index: a live file, or the tombstone of one (size 0, the md5 of its last content).

    `modified` is in microseconds since 1970, `version` grows with each write of the path, `etag` is the store's own
    (opaque), `position` is where in the journal the path last changed.
    """

    path: str
    md5: str
    size: int
    modified: int
    is_deleted: bool
    version: int
    etag: str
    position: int = 0
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Anything:
    """No condition."""


@dataclass(frozen=True, slots=True)
class New:
    """Content-MD5: new. Nothing was ever here; a tombstone counts as something."""


@dataclass(frozen=True, slots=True)
class Md5:
    """Content-MD5: the current content, or the last one before the tombstone, has this md5."""

    md5: str


@dataclass(frozen=True, slots=True)
class Version:
    """If-Match-Version: the entry, live or a tombstone, has this version; 0: nothing was ever here."""

    version: int


@dataclass(frozen=True, slots=True)
class NotExisting:
    """If-None-Match: *. Nothing is here; a tombstone is nothing."""


@dataclass(frozen=True, slots=True)
class Etags:
    """If-Match: a live file is here, and has one of these md5s; None stands for `*`, any."""

    md5s: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class All:
    """Several conditions; the first that does not hold is told."""

    conditions: tuple["Condition", ...]


Condition = Anything | New | Md5 | Version | NotExisting | Etags | All
ANY = None
"""What `Etags` takes for `If-Match: *`."""


def judge(condition: Condition, current: Entry | None) -> None:
    """Raise PreconditionFailed unless a write under this condition may replace `current` (None: nothing is here)."""
    match condition:
        case All(conditions):
            for each in conditions:
                judge(each, current)
        case New() | Version(0) if current is not None:
            raise _refusal("File already exists", condition, current)
        case NotExisting() if current is not None and not current.is_deleted:
            raise _refusal("File already exists", condition, current)
        case Md5() | Version() | Etags() if current is None and condition != Version(0):
            raise _refusal("File does not exist", condition, current)
        case Md5(md5) if current is not None and current.md5 != md5:
            raise _refusal("Content-MD5 mismatch", condition, current)
        case Version(version) if current is not None and current.version != version:
            raise _refusal("Version mismatch", condition, current)
        case Etags() if current is not None and current.is_deleted:
            raise _refusal("File does not exist", condition, current)
        case Etags(md5s) if current is not None and md5s is not None and current.md5 not in md5s:
            raise _refusal("Content-MD5 mismatch", condition, current)


def creates(condition: Condition, current: Entry | None) -> bool:
    """Tell whether a write that may happen makes something new (201) rather than changing what is there (200).

    A revived tombstone was there; only who asked for nothing to exist (If-None-Match: *) is told that it is new.
    """
    if current is None:
        return True
    asked = condition.conditions if isinstance(condition, All) else (condition,)
    return current.is_deleted and NotExisting() in asked


def needs_any(path: str, current: Entry | None) -> Entry:
    """Give what can be deleted, a live file or a tombstone; Missing for what was never there."""
    if current is None:
        raise Missing(f"File not found: {path}")
    return current


def needs_live(path: str, current: Entry | None) -> Entry:
    """Give what can be read; Missing with the contract's texts for what was never there, or is deleted."""
    entry = needs_any(path, current)
    if entry.is_deleted:
        raise Missing(f"File is deleted: {path}")
    return entry


def unexpired(entry: Entry | None, now: float, tombstone_days: float) -> Entry | None:
    """Give the entry as it counts at `now`, in seconds since 1970: a tombstone of so many days (0: ever) is nothing."""
    if entry is None or not entry.is_deleted or not tombstone_days:
        return entry
    return None if entry.modified < now * 1_000_000 - tombstone_days * _DAY else entry


def next_version(now: float, *seen: int) -> int:
    """Give the version of a write at `now` (seconds since 1970): milliseconds, and beyond all that were seen."""
    return max(int(now * 1000), max(seen, default=0) + 1)


def check_path(path: str, prefix: str = "") -> None:
    """Raise BadRequest for what cannot be a file's path below `prefix`."""
    _check_segments(path, "path")
    if len(f"{prefix}/{path}".encode()) > KEY_BYTES:
        raise BadRequest(f"The path is too long: with its prefix a key has at most {KEY_BYTES} bytes")
    if path.rpartition("/")[2] == INDEX_NAME:
        raise BadRequest(f"{INDEX_NAME} is reserved")


def check_namespace(namespace: str) -> None:
    """Raise BadRequest for what cannot be a namespace: one or more segments of paths."""
    _check_segments(namespace, "namespace")
    if len(namespace.encode()) > KEY_BYTES:
        raise BadRequest("The namespace is too long")


def _check_segments(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"The {what} is not UTF-8") from None
    if _CONTROL.search(text):
        raise BadRequest(f"The {what} has a control character")
    if any(segment in {"", ".", ".."} for segment in text.split("/")):
        raise BadRequest(f"The {what} has an empty segment, '.' or '..'")


def _refusal(text: str, condition: Condition, current: Entry | None) -> PreconditionFailed:
    """Say what is there and what was asked for, by the kind of thing that was asked for; all values are text."""
    kind, asked = ("version", str(condition.version)) if isinstance(condition, Version) else ("md5", _asked(condition))
    there = "none" if current is None else str(current.version) if kind == "version" else current.md5
    context = {f"current_{kind}": there, f"provided_{kind}": asked}
    if current is not None and current.is_deleted:
        context["is_deleted"] = "true"
    return PreconditionFailed(text, code="PRECONDITION_FAILED", context=context)


def _asked(condition: Condition) -> str:
    match condition:
        case New():
            return "new"
        case Md5(md5):
            return md5
        case Etags(md5s) if md5s is not None:
            return _joined(md5s)
    return "*"


def _joined(md5s: Iterable[str]) -> str:
    return ", ".join(sorted(md5s))
