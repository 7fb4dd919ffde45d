"""What a server says of the objects it has."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from stor.client.objects.names import Name
from stor.client.wire import Answer
from stor.errors import Failed

T = TypeVar("T")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")


class Shown(msgspec.Struct, frozen=True):
    """An object as the API shows it; times such as 2026-01-15T10:30:00.123456Z."""

    id: str
    namespace: str
    tenant_id: str
    key: str | None
    content_hash: str
    size_bytes: int
    storage_class: str
    status: str
    content_type: str
    metadata: Mapping[str, str]
    created_at: str
    updated_at: str

    @property
    def name(self) -> Name:
        """Where it is; without a key it is only found by its id."""
        return Name(self.namespace, self.tenant_id, self.key or "")

    @property
    def digest(self) -> str:
        """The SHA-256 of its bytes in hex."""
        return digest_of(self.content_hash)


class Page(msgspec.Struct, frozen=True):
    """Some objects, and what others begin with that are not listed themselves; without a cursor it is the last page."""

    objects: list[Shown]
    common_prefixes: list[str]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Made:
    """An object that was written; `is_new` False: its key had these bytes already."""

    object: Shown
    is_new: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What the head of an answer says of an object; `digest` is the SHA-256 in hex, `size` in bytes."""

    id: str
    digest: str
    size: int
    content_type: str
    storage_class: str | None
    metadata: Mapping[str, str]
    updated: str

    @property
    def etag(self) -> str:
        """By which it is known again."""
        return f'"sha256:{self.digest}"'


def seen(answer: Answer, size: int | None) -> Seen:
    """Read the head of an answer; Failed when it is none of an object."""
    if size is None:
        raise Failed("the answer does not say how long the object is")
    return Seen(
        id=answer.header("x-object-id") or "",
        digest=digest_of(answer.header("x-content-hash") or ""),
        size=size,
        content_type=answer.header("content-type") or "application/octet-stream",
        storage_class=answer.header("x-storage-class"),
        metadata=answer.headers("x-meta-"),
        updated=answer.header("last-modified") or "",
    )


def digest_of(text: str) -> str:
    """Read `sha256:<hex>`; Failed when it is none."""
    found = _HASH.fullmatch(text)
    if found is None:
        raise Failed("the answer has no content hash; is there a stor at this URL?")
    return found[1]


def decoded(body: bytes, kind: type[T]) -> T:
    """Read JSON; Failed when it is not what it should be."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Failed("the answer is not what the API says; is there a stor at this URL?") from None
