"""What a key and its metadata may be, and how a key is written as a path that people can read.

    notes/one.md      notes/one.md=       the name of a file with bytes ends with `=`, so that `a` and `a/b` can both be
    a=b/50%/c+        a%3db/50%25/c%2b=   what means something here, and control characters, are quoted
    {300 letters}/x   {238 letters}+/{62 letters}/x=

A segment of 238 bytes or more goes on in a folder whose name ends with `+`; so each name fits in the 255 bytes of a
file system, and, as no undivided name is as long as a divided one's first piece, folders can be read in key order.
"""

import re
from collections.abc import Mapping

from stor.errors import BadRequest

LEAF, MORE = b"=", b"+"
KEY_BYTES = 1024
METADATA_BYTES, METADATA_NAMES = 1024, 16
_LONG = 238  # and the longest character, three bytes when quoted and four when not, and a mark: 243
_EMPTY = "%"  # a piece of no letters, for a name that ends where it was divided
_QUOTED = {code: f"%{code:02x}" for code in [*range(32), 127, *map(ord, "%=+")]}
_SPECIAL = re.compile(f"[{''.join(map(re.escape, map(chr, _QUOTED)))}]")
_QUOTE = re.compile(b"%([0-9a-f]{2})")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check(key: str) -> None:
    """Raise BadRequest for what is no key."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise BadRequest("a key is UTF-8") from None
    if not 1 <= size <= KEY_BYTES:
        raise BadRequest(f"a key has 1 to {KEY_BYTES} bytes")
    if not is_path(key):
        raise BadRequest("a key's segments are not empty, `.` or `..`")


def is_path(text: str) -> bool:
    """Tell whether its segments are such as a key may have."""
    return {"", ".", ".."}.isdisjoint(text.split("/"))


def may_begin(prefix: str) -> bool:
    """Tell whether a key may begin so: its whole segments are such as a key may have."""
    return "/" not in prefix or is_path(prefix.rpartition("/")[0])


def check_metadata(content_type: str | None, metadata: Mapping[str, str]) -> None:
    """Raise BadRequest for metadata that some store could not keep: at most 16 names and 1 KiB with the type."""
    if not all(map(_NAME.fullmatch, metadata)):
        raise BadRequest("a name of metadata is of a-z, 0-9 and -")
    if not (content_type or "").isascii():
        raise BadRequest("a content type is ASCII")
    text = "".join([content_type or "", *metadata, *metadata.values()])
    if _CONTROL.search(text):
        raise BadRequest("metadata holds no control characters")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise BadRequest("metadata is UTF-8") from None
    if len(metadata) > METADATA_NAMES or size > METADATA_BYTES:
        raise BadRequest(f"metadata is at most {METADATA_NAMES} names and {METADATA_BYTES} bytes")


def path_of(key: str) -> bytes:
    """Give the path of the file that holds the bytes of a key."""
    return b"/".join(_pieces(key)) + LEAF


def folder_of(prefix: str) -> bytes:
    """Give the path of the folder of all keys that begin with `prefix`, which ends with a slash or is empty."""
    return b"".join(piece + b"/" for piece in _pieces(prefix[:-1])) if prefix else b""


def name_of(piece: bytes) -> str | None:
    """Give the part of a key that a name, without its mark, stands for; None when it is none of ours."""
    try:
        if b"%" not in piece:
            name = piece.decode()
            return name if name and not _SPECIAL.search(name) else None
        name = (
            "" if piece == _EMPTY.encode() else _QUOTE.sub(lambda two: bytes.fromhex(two[1].decode()), piece).decode()
        )
    except UnicodeDecodeError:
        return None
    return name if (name.translate(_QUOTED) or _EMPTY).encode() == piece else None


def _pieces(path: str) -> list[bytes]:
    if _SPECIAL.search(path):
        path = path.translate(_QUOTED)
    whole = path.encode().split(b"/")
    if max(map(len, whole)) < _LONG:
        return whole
    return [piece for segment in path.split("/") for piece in _divided(segment)]


def _divided(segment: str) -> list[bytes]:
    """Divide a quoted segment at the first place beyond 238 bytes that is between two characters, and so on."""
    pieces, piece = [], b""
    for letter in re.findall("%..|.", segment):
        piece += letter.encode()
        if len(piece) >= _LONG:
            pieces.append(piece + MORE)
            piece = b""
    return [*pieces, piece or _EMPTY.encode()]
