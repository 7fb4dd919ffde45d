"""Which part of a thing is asked for: RFC 9110, section 14; values only."""

import re

from stor.errors import NotSatisfiable

_ONE = re.compile(r"bytes[ \t]*=[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII | re.IGNORECASE)
_DIGITS = 18  # more make no number of bytes


def span(header: str | None, size: int) -> tuple[int, int] | None:
    """Give the first byte and the one behind the last, or None for all of it.

    One range is understood: `0-9`, `5-`, `-3`. Of several, or of what is no range, all is sent, as section 14.2
    allows. NotSatisfiable when no byte of it exists: it begins behind the end, or is a suffix of nothing.
    """
    found = _ONE.fullmatch(header) if header is not None else None
    if found is None:
        return None
    first, last = found[1], found[2]
    if not (first or last) or max(len(first), len(last)) > _DIGITS:
        return None
    if not first:
        start, stop = size - min(int(last), size), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    if start >= stop or start >= size:
        raise NotSatisfiable(f"there are {size} bytes", size)
    return start, stop


def content_range(start: int, stop: int, size: int) -> bytes:
    """Give the header Content-Range of a part."""
    return b"bytes %d-%d/%d" % (start, stop - 1, size)
