"""What RFC 9112 asks of a request's header beyond what llhttp checks; values only."""

import re
from functools import lru_cache
from http import HTTPStatus

LENGTH_DIGITS = 18  # more make no number of bytes
ONCE = frozenset({b"host", b"content-length", b"transfer-encoding"})
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")


class Malformed(Exception):
    """This is no request, or one that two servers could read differently, or too large a one."""

    def __init__(self, why: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(why)
        self.status = status


def framing(
    data: bytes, method: bytes, target: bytes, headers: dict[bytes, bytes], repeated: frozenset[bytes]
) -> tuple[int | None, bool]:
    """Give the length of the body (None: in chunks), and whether this is HTTP/1.0; `data` is the whole header.

    Malformed where the first line or the headers that frame are not as sections 2, 3 and 6 ask; `repeated` are the
    names that came more than once. llhttp takes any number of spaces in the first line, versions and protocols that
    we do not speak, any encoding that ends in `chunked`, and does not ask for a Host.
    """
    old = _is_old(data, method, target)
    if not old and not is_host(headers.get(b"host")):
        raise Malformed("HTTP/1.1 asks for one Host")
    if repeated and repeated & ONCE:
        raise Malformed("a header that frames came twice")
    encoding, length = headers.get(b"transfer-encoding"), headers.get(b"content-length")
    if encoding is not None:
        if old or length is not None or encoding.lower() != b"chunked":
            raise Malformed("an encoding that is not `chunked` alone")
        return None, old
    if length is None:
        return 0, old
    if len(length) > LENGTH_DIGITS or not length.isdigit():
        raise Malformed("a Content-Length that is no number")
    return int(length), old


@lru_cache(maxsize=256)  # most requests name the same few
def is_host(value: bytes | None) -> bool:
    """Tell whether this could be a Host: RFC 9110, 7.2."""
    return value is not None and _HOST.fullmatch(value) is not None


def _is_old(data: bytes, method: bytes, target: bytes) -> bool:
    """Compare the first line with the one that its words would make."""
    if data.startswith(b"%b %b HTTP/1.1\r\n" % (method, target)):
        return False
    if data.startswith(b"%b %b HTTP/1.0\r\n" % (method, target)):
        return True
    raise Malformed("not a request line of HTTP/1.0 or 1.1")
