"""API keys as JSON: what comes, what goes, and how errors look."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from msgspec import UNSET, DecodeError, Struct, UnsetType, json

from stor.access.key import Key
from stor.errors import BadRequest, StorError

_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "CONFLICT",
    413: "TOO_LARGE",
    429: "TOO_MANY_REQUESTS",
    503: "UNAVAILABLE",
    507: "FULL",
}
LIMIT, MOST_LIMIT = 50, 1000
_CURSOR = re.compile(r"([0-9]{1,18})-([0-9a-z]{1,32})")
FIRST = (-1, "")


class Wish(Struct, forbid_unknown_fields=True):
    """The body of `POST /v1/api-keys`; a tenant that is not said is the creator's."""

    name: str
    permissions: list[str]
    tenant_id: str | UnsetType | None = UNSET
    expires_in: float | None = None


class Shown(Struct):
    """A key in an answer; `key`, its text, only in the one that made it."""

    id: str
    prefix: str
    name: str
    tenant_id: str | None
    permissions: list[str]
    created_at: str
    created_by: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None
    key: str | UnsetType = UNSET


class Page(Struct):
    """Some keys, and the cursor for the next ones (None: there are no more)."""

    keys: list[Shown]
    cursor: str | None


class Wanted(NamedTuple):
    """Which page."""

    after: tuple[int, str]
    limit: int


def read_wish(body: bytes) -> Wish:
    """Read it; BadRequest says what is wrong, without the value."""
    try:
        return json.decode(body, type=Wish)
    except (DecodeError, UnicodeDecodeError) as why:
        raise BadRequest(f"the body is not what was expected: {why}") from None


def read_page(query: Mapping[str, str]) -> Wanted:
    """Read `limit` and `cursor`."""
    limit, cursor = query.get("limit", str(LIMIT)), query.get("cursor")
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MOST_LIMIT):
        raise BadRequest(f"limit is a number from 1 to {MOST_LIMIT}")
    if cursor is None:
        return Wanted(FIRST, int(limit))
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise BadRequest("this cursor was not given by us")
    return Wanted((int(found[1]), found[2]), int(limit))


def page(keys: list[Key], limit: int) -> Page:
    """Show `limit` of the keys that were found; one more says that there is a next page."""
    shown = keys[:limit]
    cursor = f"{shown[-1].created_at}-{shown[-1].id}" if len(keys) > limit else None
    return Page([show(key) for key in shown], cursor)


def show(key: Key, text: str | None = None) -> Shown:
    """Give what may be known of a key, and once its text."""
    return Shown(
        id=key.id,
        prefix=key.prefix,
        name=key.name,
        tenant_id=key.tenant,
        permissions=sorted(key.permissions),
        created_at=_moment(key.created_at),
        created_by=key.created_by,
        expires_at=None if key.expires_at is None else _moment(key.expires_at),
        last_used_at=None if key.last_used_at is None else _moment(key.last_used_at),
        revoked_at=None if key.revoked_at is None else _moment(key.revoked_at),
        key=UNSET if text is None else text,
    )


def shape(status: int, error: BaseException, request_id: str) -> Any:
    """Give the JSON of an error, as all of /v1 has it."""
    code, details = getattr(error, "code", None), getattr(error, "context", None)
    message = str(error) if isinstance(error, StorError) else ""
    return {
        "error": {
            "code": code or _CODES.get(status, "INTERNAL"),
            "message": message,
            "details": {**(details or {}), "request_id": request_id},
        }
    }


def _moment(microseconds: int) -> str:
    """Microseconds since 1970 as RFC 3339, always with six digits."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:06}Z"
