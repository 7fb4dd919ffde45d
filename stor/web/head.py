"""The first bytes of an answer: its status line and headers."""

from collections.abc import Iterable
from http import HTTPStatus

from stor.web.answer import Header

LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
WITHOUT_LENGTH = frozenset({HTTPStatus.NO_CONTENT.value, HTTPStatus.NOT_MODIFIED.value})  # RFC 9110, 8.6


def head(status: int, headers: Iterable[Header], framing: bytes, date: bytes, request_id: str) -> bytes:
    """Put it together; `framing` are whole lines that say how long the answer is and whether it is the last.

    ValueError for a header that would break a line: a value that somebody stored must not become a header.
    """
    pieces = [LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status]
    for name, value in headers:
        pieces += (name, b": ", value, b"\r\n")
    count = len(pieces) // 4 + framing.count(b"\n") + 4
    pieces += (framing, b"Date: ", date, b"\r\nX-Request-Id: ", request_id.encode(), b"\r\n\r\n")
    whole = b"".join(pieces)
    if whole.count(b"\n") != count or whole.count(b"\r") != count:
        raise ValueError("a header with a line end")
    return whole
