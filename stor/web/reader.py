"""Requests out of bytes: headers by llhttp, bodies by their length or in chunks; no I/O."""

from http import HTTPStatus

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from stor.web.chunks import Chunks
from stor.web.framing import Malformed, framing

END = b"\r\n\r\n"
_NONE: frozenset[bytes] = frozenset()


class Reader:
    """Holds what was received, and reads from it when asked: first a header, then its body piece by piece.

    llhttp is given a header when all of it is here, and nothing else. So nothing depends on how the network cut the
    bytes, and a later request stays bytes until the earlier one is answered.

    After `head` has returned True, `method`, `target`, `headers` (lower-case names; several lines joined by ", "),
    `length` (of the body; None in chunks), `old` (HTTP/1.0) and `keeps` (the client wants to go on) tell of it.
    `whole` is True when all of the message was read.
    """

    __slots__ = (
        "_chunks",
        "_count",
        "_data",
        "_left",
        "_most_bytes",
        "_most_headers",
        "_parser",
        "_repeated",
        "headers",
        "keeps",
        "length",
        "method",
        "old",
        "target",
        "whole",
    )

    def __init__(self, header_bytes: int, header_count: int) -> None:
        self._most_bytes, self._most_headers = header_bytes, header_count
        self._parser = HttpRequestParser(self)
        self._data = b""
        self.whole = True
        self.method, self.target, self.headers = b"", b"", dict[bytes, bytes]()
        self.length: int | None = 0
        self.old = self.keeps = False
        self._count = self._left = 0
        self._repeated = _NONE
        self._chunks: Chunks | None = None

    @property
    def waiting(self) -> int:
        """How many bytes are here and not yet read."""
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Take what was received."""
        self._data = self._data + data if self._data else data

    def rest(self) -> bytes:
        """Give up what is here and not yet read: it is for somebody else."""
        data, self._data = self._data, b""
        return data

    def head(self) -> bool:
        """Read the next header; False when it is not here as a whole. Malformed when it is none."""
        data = self._data
        if data[:1] in {b"\r", b"\n"}:  # an empty line before a request is overlooked: RFC 9112, 2.2
            data = self._data = data.lstrip(b"\r\n")
        if not data:
            return False
        end = data.find(END) + len(END)
        if end < len(END):
            if len(data) > self._most_bytes:
                raise self._too_large(data)
            return False
        if end > self._most_bytes:
            raise self._too_large(data)
        if end < len(data):
            self._data = data[end:]
            data = data[:end]
        else:
            self._data = b""
        self._parse_head(data)
        return True

    def _too_large(self, data: bytes) -> Malformed:
        if data.find(b"\r\n", 0, self._most_bytes) < 0:
            return Malformed("the target is too long", HTTPStatus.REQUEST_URI_TOO_LONG)
        return Malformed("the header is too large", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _parse_head(self, data: bytes) -> None:
        self.headers, self._count, self._repeated = {}, 0, _NONE
        asks_upgrade = self._parse(data)
        if self._count > self._most_headers:
            raise Malformed("too many headers", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        self.method = self._parser.get_method()
        self.length, self.old = framing(data, self.method, self.target, self.headers, self._repeated)
        if self.old:
            self.keeps = False
            self.headers.pop(b"upgrade", None)  # means nothing here: RFC 9110, 7.8
        self.whole = self.length == 0
        if asks_upgrade or not self.whole:
            self._parser = HttpRequestParser(self)  # the old one waits for a body, or was given away
            self._left = self.length or 0
            self._chunks = Chunks(self._most_bytes) if self.length is None else None

    def body(self) -> bytes:
        """Give the next piece of the body, b"" when none is here. Malformed when it is none."""
        data, self._data = self._data, b""
        if self._chunks is not None:
            piece, taken = self._chunks.take(data)
            self._data, self.whole = data[taken:], self._chunks.whole
            return piece
        if len(data) > self._left:
            self._data = data[self._left :]
            data = data[: self._left]
        self._left -= len(data)
        self.whole = self._left == 0
        return data

    def _parse(self, data: bytes) -> bool:
        """Give `data` to llhttp; True when the client asks for an upgrade."""
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            return True
        except HttpParserError as why:
            raise Malformed(str(why)) from None
        return False

    # ---- what llhttp calls

    def on_url(self, target: bytes) -> None:
        """Keep the target."""
        self.target = target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._count += 1
        name, value, headers = name.lower(), value.rstrip(b" \t"), self.headers
        if name in headers:
            value = headers[name] + b", " + value
            self._repeated |= {name}
        headers[name] = value

    def on_headers_complete(self) -> None:
        """Ask at the one moment when llhttp knows."""
        self.keeps = self._parser.should_keep_alive()
