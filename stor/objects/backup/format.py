"""What is written in a folder of backups; values only."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from msgspec import Meta, Struct, ValidationError, json
from msgspec.structs import replace

from stor.errors import Failed
from stor.objects.records import Name, Object, State, StorageClass

INDEX = "backup.json"
HASH = re.compile(r"[0-9a-f]{64}")
MOST = (1 << 63) - 1  # of whatever is counted: what both databases can hold
_MOMENT = "%Y%m%dT%H%M%S.%fZ"  # ISO 8601 without signs that some file systems refuse
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z")
Moment = Annotated[datetime, Meta(tz=True)]
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class Entry(Struct, frozen=True, kw_only=True):
    """One backup: what it holds, counted, and the SHA-256 of its lists.

    `blobs` and `blob_bytes` are what could be saved; `damaged` blobs could not.
    """

    at: str
    objects: int
    bytes: int
    quotas: int
    blobs: int
    blob_bytes: int
    damaged: int
    manifest_sha256: str
    blob_list_sha256: str


class Index(Struct, frozen=True):
    """The file backup.json: the backups of the folder, newest last; what is not in it is none."""

    format: Literal["stor-backup"] = "stor-backup"
    version: Literal[1] = 1
    backups: tuple[Entry, ...] = ()


class Begin(Struct, frozen=True, tag="begin", tag_field="type"):
    """The first line of a manifest."""

    format: Literal["stor-backup"]
    version: Literal[1]
    at: str


class Quota(Struct, frozen=True, tag="quota", tag_field="type"):
    """What a tenant may have; null is no limit."""

    tenant_id: str
    bytes: int | None
    objects: int | None


class Saved(Struct, frozen=True, tag="object", tag_field="type"):
    """An object, named as the API names it."""

    id: str
    tenant_id: str
    namespace: str
    key: str | None
    content_hash: str
    size_bytes: int
    storage_class: StorageClass
    content_type: str
    metadata: dict[str, str]
    created_at: Moment
    updated_at: Moment

    @property
    def digest(self) -> str:
        """The SHA-256 in hex."""
        return self.content_hash.removeprefix("sha256:")


class End(Struct, frozen=True, tag="end", tag_field="type"):
    """The last line of a manifest: a list that was cut off lacks it."""

    objects: int
    bytes: int


class Source(Struct, frozen=True, array_like=True):
    """Where bytes are in the store; `copy` None: in the row of their blob."""

    blob: int
    storage_class: StorageClass
    copy: str | None


class Wanted(Struct, frozen=True):
    """Bytes that a backup needs, and all the places where they are."""

    digest: str
    size: int
    sources: list[Source]


Line = Begin | Quota | Saved | End
_INDEX, _WANTED = json.Decoder(Index), json.Decoder(Wanted)
_ENCODER = json.Encoder()


def encoded(line: Line | Wanted) -> bytes:
    """Write a line, its end too."""
    return _ENCODER.encode(line) + b"\n"


def index_text(index: Index) -> bytes:
    """Write backup.json, for people too."""
    return json.format(_ENCODER.encode(index)) + b"\n"


def index_of(text: bytes) -> Index:
    """Read backup.json; Failed when it is none that we know."""
    try:
        index = _INDEX.decode(text)
    except ValidationError as why:
        raise Failed(f"{INDEX} is none that this version of stor can read: {why}") from None
    except ValueError as why:
        raise Failed(f"{INDEX} is damaged: {why}") from None
    if not all(map(_is_sound, index.backups)):
        raise Failed(f"{INDEX} names a backup that is none")
    return index


def _is_sound(entry: Entry) -> bool:
    """Tell whether a backup may be called so, and so large: the name becomes that of files."""
    try:
        later(entry.at)
    except (ValueError, OverflowError):
        return False
    return bool(_NAME.fullmatch(entry.at)) and all(0 <= count <= MOST for count in (entry.objects, entry.bytes))


def wanted_of(text: bytes) -> Wanted:
    """Read a line that we have written ourselves."""
    return _WANTED.decode(text)


def name_of(microseconds: int) -> str:
    """Name a backup by its moment."""
    return _moment(microseconds).strftime(_MOMENT)


def later(name: str) -> str:
    """Give the name of the next microsecond: the clock may have been set back."""
    moment = datetime.strptime(name, _MOMENT).replace(tzinfo=UTC)
    return (moment + _MICROSECOND).strftime(_MOMENT)


def saved(found: Object) -> Saved:
    """Give an object as a backup holds it."""
    return Saved(
        id=found.id,
        tenant_id=found.name.tenant,
        namespace=found.name.namespace,
        key=found.name.key or None,
        content_hash=f"sha256:{found.digest}",
        size_bytes=found.size,
        storage_class=found.storage_class,
        content_type=found.content_type,
        metadata=dict(found.metadata),
        created_at=_moment(found.created_at),
        updated_at=_moment(found.updated_at),
    )


def object_of(line: Saved) -> Object:
    """Give the object that a line tells of."""
    return Object(
        line.id,
        Name(line.namespace, line.tenant_id, line.key or ""),
        State.COMMITTED,
        line.storage_class,
        line.digest,
        line.size_bytes,
        line.content_type,
        line.metadata,
        microseconds(line.created_at),
        microseconds(line.updated_at),
    )


def microseconds(moment: datetime) -> int:
    """Give a time as rows have it: since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def replaced(index: Index, backups: tuple[Entry, ...]) -> Index:
    """Give the index with other backups."""
    return replace(index, backups=backups)


def _moment(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND
