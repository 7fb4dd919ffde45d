"""What is known of an upload that comes in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stor.errors import StorError
from stor.objects.records import Draft


class State(StrEnum):
    """Where an upload is: OPEN until there is an object, or never can be one."""

    OPEN = "OPEN"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Plan:
    """An upload that somebody wants to begin; `length` in bytes, None when it will be said later.

    `said` are the words in which the client described it, given back as they came.
    """

    draft: Draft
    length: int | None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload as it is kept; sizes in bytes, times in microseconds since 1970.

    `draft` is the object that it is to be. `received` bytes are durable, in so many `parts`; `coming` is where the
    piece under way will be put. `object_id` and `digest` (SHA-256, hex) are known when it is DONE; `error` is why there
    is no object, yet or for ever; `attempt` the object that was tried last; `damaged_at` since when, at each try, a
    part was not as it was put.
    """

    id: str
    draft: Draft
    said: str
    state: State
    length: int | None
    received: int
    parts: int
    coming: str | None
    object_id: str | None
    digest: str | None
    error: StorError | None
    attempt: str | None
    claimed_until: int
    tries: int
    damaged_at: int | None
    created_at: int
    expires_at: int

    @property
    def is_whole(self) -> bool:
        """Tell whether all bytes are here, though there is no object yet."""
        return self.state is State.OPEN and self.received == self.length


@dataclass(frozen=True, slots=True)
class Part:
    """A piece that counts: `size` bytes from `start` on, under `copy` in the store of the upload's class.

    `digest` is the SHA-256 (hex) of the bytes as they came.
    """

    start: int
    size: int
    copy: str
    etag: str
    digest: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A piece that somebody wants to add: to which upload, as seen from which tenant (None: from all), and where.

    `announced` is its size, None when nobody has said it; `length` that of the whole upload, where it is said only now.
    """

    upload_id: str
    tenant: str | None
    offset: int
    announced: int | None
    length: int | None = None
