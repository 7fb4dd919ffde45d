"""The JSON of the object store: an object, a moment, and the one shape of its errors."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from http import HTTPStatus

from msgspec import Struct

from stor.errors import StorError
from stor.objects.records import Object
from stor.objects.rules import MICROSECONDS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "OBJECT_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    411: "LENGTH_REQUIRED",
    412: "PRECONDITION_FAILED",
    413: "TOO_LARGE",
    416: "RANGE_NOT_SATISFIABLE",
    422: "UNPROCESSABLE",
    429: "TOO_MANY_REQUESTS",
    503: "UNAVAILABLE",
    507: "INSUFFICIENT_STORAGE",
}


class Shown(Struct, frozen=True, gc=False):
    """An object; `key` is null when it has none, times such as 2026-01-15T10:30:00.123456Z."""

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


class Fault(Struct, frozen=True):
    """What went wrong: a name for programs, words for people, and what either may want to know."""

    code: str
    message: str
    details: Mapping[str, str]


class Error(Struct, frozen=True):
    """The body of every error."""

    error: Fault


def moment(microseconds: int) -> str:
    """Write a time since 1970 such as 2026-01-15T10:30:00.123456Z."""
    seconds, rest = divmod(microseconds, MICROSECONDS)
    return f"{_second(seconds)}.{rest:06d}Z"


@lru_cache(maxsize=1024)  # what is made now is of the same second
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def shown(found: Object) -> Shown:
    """Show an object."""
    name = found.name
    return Shown(
        id=found.id,
        namespace=name.namespace,
        tenant_id=name.tenant,
        key=name.key or None,
        content_hash=f"sha256:{found.digest}",
        size_bytes=found.size,
        storage_class=found.storage_class.value,
        status=found.state.value,
        content_type=found.content_type,
        metadata=found.metadata,
        created_at=moment(found.created_at),
        updated_at=moment(found.updated_at),
    )


def error(status: int, why: BaseException, request_id: str) -> Error:
    """Give the body of an error; `details` has the id under which the log knows more."""
    code, context = (why.code, why.context) if isinstance(why, StorError) else (None, None)
    code = code or _CODES.get(status, "INTERNAL")
    return Error(Fault(code, str(why) or HTTPStatus(status).phrase, {**(context or {}), "request_id": request_id}))
