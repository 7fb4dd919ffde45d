"""Cursors: where a listing goes on, as text that is of use to nobody but us."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from msgspec import MsgspecError, Struct, json

from stor.errors import BadRequest

_MOST_CHARACTERS = 8192  # a key and a tenant, each character escaped
_MOST_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where to go on in one order: behind the object with this value and tie; where `tie` is None, from `value` on."""

    value: str | int
    tie: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on: in which tenant and namespace, and there at a place, or at the beginning."""

    tenant: str
    namespace: str
    place: Place | None = None


class _Told(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    query: str
    tenant: str
    namespace: str
    value: str | int | None
    tie: str | None


def mark_of(query: Any) -> str:
    """Give a mark of a query, which its cursors bear; of anything that msgspec can encode."""
    return blake2b(json.encode(query), digest_size=6).hexdigest()


def write(position: Position, mark: str) -> str:
    """Give the cursor of a position in what the query with this mark finds."""
    value, tie = (None, None) if position.place is None else (position.place.value, position.place.tie)
    return _text(_Told(mark, position.tenant, position.namespace, value, tie))


def read(text: str, mark: str, kind: type[str] | type[int]) -> Position:
    """Read a cursor whose values are of this kind; BadRequest for any text that is none, or of another query."""
    told = _told(text)
    if told.query != mark:
        raise BadRequest("this cursor belongs to another query", code="INVALID_CURSOR")
    if told.value is None:
        return Position(told.tenant, told.namespace)
    if not isinstance(told.value, kind):
        raise _unknown()
    return Position(told.tenant, told.namespace, Place(told.value, told.tie))


def _text(told: _Told) -> str:
    return urlsafe_b64encode(json.encode(told)).rstrip(b"=").decode()


def _told(text: str) -> _Told:
    """What a database would refuse must not come as far as that."""
    if len(text) > _MOST_CHARACTERS:
        raise _unknown()
    try:
        told = json.decode(urlsafe_b64decode(text.encode("ascii") + b"=="), type=_Told)
    except (Error, MsgspecError, UnicodeError):
        raise _unknown() from None
    if _text(told) != text:  # base64 overlooks much
        raise _unknown()
    texts = [each for each in (told.tenant, told.namespace, told.value, told.tie) if isinstance(each, str)]
    if any("\0" in each for each in texts) or (isinstance(told.value, int) and not 0 <= told.value <= _MOST_NUMBER):
        raise _unknown()
    return told


def _unknown() -> BadRequest:
    return BadRequest("this cursor was not given by us", code="INVALID_CURSOR")
