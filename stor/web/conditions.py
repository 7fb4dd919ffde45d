"""Whether a request still makes sense: ETags and dates, RFC 9110, section 13; values only.

An ETag is what stands in the header, quotes and `W/` included; `None` stands for a thing that does not exist.
Times are whole seconds since 1970.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache

from stor.errors import PreconditionFailed

Header = Callable[[str], str | None]  # a header's value by its lower-case name

_TAG = re.compile(r'[ \t]*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?=,|\Z)|([^,]+)')  # never looks back: it is linear
_WEAK = "W/"
_STRONG_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Tags:
    """A list of ETags, or `*` (`is_any`): whatever there is."""

    tags: frozenset[str] = frozenset()
    is_any: bool = False

    def has_strong(self, etag: str | None) -> bool:
        """Compare as If-Match does: only strong ones are equal (8.8.3.2)."""
        if etag is None:
            return False
        return self.is_any or (not etag.startswith(_WEAK) and etag in self.tags)

    def has_weak(self, etag: str | None) -> bool:
        """Compare as If-None-Match does: weakness does not count."""
        if etag is None:
            return False
        return self.is_any or etag.removeprefix(_WEAK) in {tag.removeprefix(_WEAK) for tag in self.tags}


def tags(header: str) -> Tags:
    """Read If-Match or If-None-Match. A word without quotes is taken for one with them: some clients forget them."""
    if header.strip() == "*":
        return Tags(is_any=True)
    words = ((tag, bare.strip(" \t")) for tag, bare in _TAG.findall(header))
    return Tags(frozenset(tag or f'"{bare}"' for tag, bare in words if tag or bare))


@lru_cache(maxsize=256)
def seconds(date: str) -> int | None:
    """Read an HTTP date (5.6.7), in any of its three forms; None when it is none."""
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def check_write(header: Header, etag: str | None, modified: int | None = None) -> None:
    """Raise PreconditionFailed unless If-Match, If-Unmodified-Since and If-None-Match allow a change (13.2.2)."""
    _check_same(header, etag, modified)
    none_match = header("if-none-match")
    if none_match is not None and tags(none_match).has_weak(etag):
        raise PreconditionFailed("If-None-Match: it is there already")


def is_unchanged(header: Header, etag: str | None, modified: int | None = None) -> bool:
    """Tell whether a reader has it already (304): If-None-Match, and only without it If-Modified-Since.

    PreconditionFailed where If-Match or If-Unmodified-Since want another one.
    """
    _check_same(header, etag, modified)
    none_match = header("if-none-match")
    if none_match is not None:
        return tags(none_match).has_weak(etag)
    since = _date(header("if-modified-since"))
    return since is not None and modified is not None and modified <= since


def range_applies(header: Header, etag: str | None, modified: int | None = None, now: int = 0) -> bool:
    """Tell whether Range counts: without If-Range, or when that names what is there, by a strong ETag or its date.

    Within a second there may be two things with one date. So a date is a strong validator, with which parts may be put
    together, only when it is older than a minute by the clock that made it (8.8.2.2); `now` is that clock's.
    """
    wanted = header("if-range")
    if wanted is None:
        return True
    wanted = wanted.strip()
    if wanted.startswith(('"', _WEAK)):
        return tags(wanted).has_strong(etag)
    since = seconds(wanted)
    return since is not None and since == modified and since <= now - _STRONG_SECONDS


def _check_same(header: Header, etag: str | None, modified: int | None) -> None:
    """If-Match, and only without it If-Unmodified-Since."""
    match = header("if-match")
    if match is not None:
        if not tags(match).has_strong(etag):
            raise PreconditionFailed("If-Match: it is another by now")
    elif (since := _date(header("if-unmodified-since"))) is not None and (modified is None or modified > since):
        raise PreconditionFailed("If-Unmodified-Since: it was changed")


def _date(text: str | None) -> int | None:
    return None if text is None else seconds(text)
