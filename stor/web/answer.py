"""What a handler gives back: an answer, or the connection to another protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Struct, json
from twisted.internet.interfaces import IProtocol

from stor.streams.stream import Body

Header = tuple[bytes, bytes]
JSON_HEADERS: tuple[Header, ...] = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class Answer(Struct, frozen=True):  # made four times as fast as a frozen dataclass
    """Status, headers (lower-case names) and body; the room adds Content-Length, Date, Connection and X-Request-Id.

    A Stream is closed by the room in any case, and sent in chunks when its `length` is None. `length` here is for
    HEAD: the Content-Length that GET would have said.
    """

    status: int = 200
    headers: Sequence[Header] = ()
    body: Body = b""
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Switch:
    """101: from here on the connection belongs to `protocol`, which may have a `retire()` for when we drain."""

    headers: Sequence[Header]
    protocol: IProtocol


def json_answer(value: Any, status: int = 200, headers: Sequence[Header] = ()) -> Answer:
    """Give `value` as JSON that nobody may keep."""
    return Answer(status, (*JSON_HEADERS, *headers) if headers else JSON_HEADERS, json.encode(value))
