"""What to do about each path, from what was agreed on, what is here and what is there (pure)."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from stor.client.paths import fault


class Act(Enum):
    """What is done about one path; the values are what people and programs are told."""

    NOTHING = "nothing"
    RECORD = "record"  # both sides agree, and we did not know
    FORGET = "forget"  # both sides have no file any more
    UPLOAD = "upload"
    DOWNLOAD = "download"
    DELETE_HERE = "delete here"
    DELETE_THERE = "delete there"
    KEEP_BOTH = "keep both"


class Choice(Enum):
    """What becomes of a file that two changed."""

    BOTH = "both"
    OURS = "ours"
    THEIRS = "theirs"


@dataclass(frozen=True, slots=True)
class Base:
    """What was agreed on at the last sync; `version` is the remote's, None where it did not say."""

    md5: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What the remote has: a file, or a tombstone with the md5 of the last content; size in bytes."""

    md5: str
    size: int = 0
    is_deleted: bool = False
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What is done about one path, and what was believed when that was decided; `here` is an md5."""

    act: Act
    path: str
    base: Base | None
    here: str | None
    there: Entry | None


def decide(base: Base | None, here: str | None, there: Entry | None, choice: Choice = Choice.BOTH) -> Act:
    """Decide about one path, whatever the three are. The table is in docs/sync.md."""
    if base is not None and there is not None and _went_back(base, there):
        base = None
    if here is None:
        return _gone_here(base, there)
    if there is None or there.is_deleted:
        agreed = there is not None and base is not None and base.md5 == here
        return Act.DELETE_HERE if agreed else Act.UPLOAD
    if here == there.md5:
        return Act.NOTHING if base == Base(there.md5, there.version) else Act.RECORD
    if base is not None and base.md5 == there.md5:
        return Act.UPLOAD
    if base is not None and base.md5 == here:
        return Act.DOWNLOAD
    return {Choice.BOTH: Act.KEEP_BOTH, Choice.OURS: Act.UPLOAD, Choice.THEIRS: Act.DOWNLOAD}[choice]


def _gone_here(base: Base | None, there: Entry | None) -> Act:
    if there is None or there.is_deleted:
        return Act.NOTHING if base is None else Act.FORGET
    return Act.DELETE_THERE if base is not None and base.md5 == there.md5 else Act.DOWNLOAD


def _went_back(base: Base, there: Entry) -> bool:
    """Versions never go back, unless the whole remote did: it was restored from a backup."""
    if base.version is None or there.version is None or there.version >= base.version:
        return False
    return there.is_deleted or there.md5 != base.md5


def plan(
    base: Mapping[str, Base],
    here: Mapping[str, str],
    there: Mapping[str, Entry],
    untouched: Container[str],
    choice: Choice,
) -> Iterator[Step]:
    """Decide about every path that can be synced but those in `untouched`, in order of their names."""
    for path in sorted(base.keys() | here.keys() | there.keys()):
        if path in untouched or fault(path):
            continue
        step = Step(
            decide(base.get(path), here.get(path), there.get(path), choice),
            path,
            base.get(path),
            here.get(path),
            there.get(path),
        )
        if step.act is not Act.NOTHING:
            yield step
