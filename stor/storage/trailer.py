"""What follows the bytes of a key in its file: what was said about them when they were put.

It has one size, so that a listing knows the bytes' size without opening the file; it is text, for those who look:
a line of JSON, and a line with the size of the bytes before it and a checksum, both hexadecimal.
"""

from collections.abc import Mapping
from zlib import crc32

from msgspec import DecodeError, Struct, field, json

from stor.errors import Damaged

SIZE = 2560  # of a trailer; the 1 KiB that `check_metadata` lets through fits, even if all of it is quotes
_END = b" stor/1\n"
_FOOT = 16 + 8 + len(_END)
_ROOM = SIZE - _FOOT - 2


class Said(Struct, frozen=True):
    """What was said about the bytes."""

    type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def write(size: int, content_type: str | None, metadata: Mapping[str, str]) -> bytes:
    """Give the trailer for so many bytes."""
    line = b"\n" + json.encode(Said(content_type, metadata)).ljust(_ROOM) + b"\n" + b"%016x" % size
    return line + b"%08x" % crc32(line) + _END


def read(trailer: bytes, size: int) -> Said:
    """Read the trailer of so many bytes; raises Damaged when that is not what it was written for."""
    line, checksum = trailer[: SIZE - 8 - len(_END)], trailer[SIZE - 8 - len(_END) : -len(_END)]
    if len(trailer) != SIZE or not trailer.endswith(_END) or checksum != b"%08x" % crc32(line):
        raise Damaged("a stored file is damaged: its trailer is not whole")
    if line[-16:] != b"%016x" % size:
        raise Damaged("a stored file is damaged: it has not its size")
    try:
        return json.decode(line[:-17], type=Said)
    except DecodeError:
        raise Damaged("a stored file is damaged: its trailer makes no sense") from None
