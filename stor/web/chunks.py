"""A body in chunks (RFC 9112, 7.1), strict where leniency would let two servers read two things; values only."""

import re
from http import HTTPStatus

from stor.web.framing import Malformed

LINE_BYTES = 1024  # of a chunk's size and its extensions
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_END = b"\r\n"


class Chunks:
    """Takes the chunks apart; extensions and trailers mean nothing to us. `whole` is True behind the last."""

    __slots__ = ("_begun", "_left", "_most", "_trailer", "whole")

    def __init__(self, most: int) -> None:
        """A trailer may have `most` bytes."""
        self._most = most
        self._left = 0  # bytes of the chunk under way
        self._begun = False  # a chunk: its line end is still to come
        self._trailer = -1  # bytes of the trailer so far; below 0 there is none yet
        self.whole = False

    def take(self, data: bytes) -> tuple[bytes, int]:
        """Give the bytes of the body that are in `data`, and how much of `data` they took; the rest must come again.

        Malformed when these are no chunks.
        """
        pieces, at = [], 0
        while not self.whole:
            if self._left:
                piece = data[at : at + self._left]
                self._left -= len(piece)
                at += len(piece)
                pieces.append(piece)
                if self._left:
                    break
            if self._begun:
                after = self._line_end(data, at)
            elif self._trailer < 0:
                after = self._size(data, at)
            else:
                after = self._field(data, at)
            if after is None:
                break
            at = after
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), at

    def _line_end(self, data: bytes, at: int) -> int | None:
        """Read what ends a chunk."""
        found = data[at : at + len(_END)]
        if not _END.startswith(found):
            raise Malformed("a chunk that is longer than it said")
        if len(found) < len(_END):
            return None
        self._begun = False
        return at + len(_END)

    def _size(self, data: bytes, at: int) -> int | None:
        """Read the line that begins a chunk."""
        end = data.find(_END, at, at + LINE_BYTES)
        if end < 0:
            if len(data) - at >= LINE_BYTES:
                raise Malformed("a chunk without a size")
            return None
        found = _SIZE.fullmatch(data, at, end)
        if found is None:
            raise Malformed("a chunk whose size is no number")
        self._left = int(found[1], 16)
        if self._left:
            self._begun = True
        else:
            self._trailer = 0
        return end + len(_END)

    def _field(self, data: bytes, at: int) -> int | None:
        """Read a line of the trailer; an empty one ends it."""
        room = self._most - self._trailer
        end = data.find(_END, at, at + room)
        if end < 0:
            if len(data) - at >= room:
                raise Malformed("the trailer is too large", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return None
        if end == at:
            self.whole = True
        elif not _FIELD.fullmatch(data, at, end):
            raise Malformed("a line in the trailer that is no header")
        end += len(_END)
        self._trailer += end - at
        return end
