"""How S3 says in headers what we know of a key."""

import re
import time
from base64 import b64decode, b64encode
from binascii import Error
from calendar import month_abbr, timegm
from collections.abc import Mapping
from functools import lru_cache

from stor.errors import Failed
from stor.storage.promise import Absent, Condition, Info

PUT_ID = "stor-put"  # metadata of ours: which put this state is of
_META = "x-amz-meta-"
_NO_TYPE = "binary/octet-stream"  # what S3 says when none was given; said, since some servers guess one
_PLAIN = re.compile(r"[!-~]([ -~]*[!-~])?")
_WORD = re.compile(r"=\?UTF-8\?B\?([A-Za-z0-9+/=]*)\?=", re.IGNORECASE)
_MONTHS = {name: n for n, name in enumerate(month_abbr)}


def said(content_type: str | None, metadata: Mapping[str, str]) -> dict[str, str]:
    """Give the headers for what is said about the bytes."""
    headers = {_META + name: _encoded(value) for name, value in metadata.items()}
    headers["content-type"] = _NO_TYPE if content_type is None else content_type
    return headers


def for_boto(headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Give the content type and the metadata, both as they are sent, of what `said` gave."""
    return headers["content-type"], {name.removeprefix(_META): headers[name] for name in headers if _META in name}


def condition(when: Condition) -> dict[str, str]:
    """Give the header for a condition."""
    if when is None:
        return {}
    return {"if-none-match": "*"} if isinstance(when, Absent) else {"if-match": f'"{when}"'}


def span(start: int, stop: int | None) -> dict[str, str]:
    """Give the header for a range; the whole needs none."""
    if not start and stop is None:
        return {}
    return {"range": f"bytes={start}-{'' if stop is None else stop - 1}"}


def info(key: str, headers: Mapping[str, str]) -> Info:
    """Read what an answer says about a key."""
    try:
        size = int((headers.get("content-range") or headers["content-length"]).rpartition("/")[2])
        modified = seconds(headers["last-modified"])
        etag = headers["etag"].strip('"')
    except (KeyError, ValueError):
        raise Failed("the storage's answer lacks a size, an ETag or a date") from None
    kind = headers.get("content-type", _NO_TYPE)
    return Info(key, size, etag, modified, None if kind == _NO_TYPE else kind, metadata_of(headers))


def metadata_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Read the metadata, without what only we need."""
    return {
        name[len(_META) :]: _decoded(value)
        for name, value in headers.items()
        if name.startswith(_META) and name != _META + PUT_ID
    }


def put_id(headers: Mapping[str, str]) -> str | None:
    """Tell which put this state is of, where that was said."""
    return headers.get(_META + PUT_ID)


def date(headers: Mapping[str, str]) -> float:
    """Read when the server answered; some do not say."""
    return seconds(headers["date"]) if "date" in headers else time.time()


@lru_cache(maxsize=1024)
def seconds(date: str) -> float:
    """Read an HTTP date (RFC 9110 section 5.6.7, its one form that may be sent)."""
    _, day, month, year, clock, _ = date.split()
    hour, minute, second = clock.split(":")
    return float(timegm((int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second))))


def _encoded(value: str) -> str:
    """Headers are ASCII: what is not, or could be taken for encoded, is written as RFC 2047 says, as S3 itself does."""
    if _PLAIN.fullmatch(value) and not value.startswith("=?"):
        return value
    return f"=?UTF-8?B?{b64encode(value.encode()).decode()}?="


def _decoded(value: str) -> str:
    word = _WORD.fullmatch(value)
    if word is None:
        return value
    try:
        return b64decode(word[1], validate=True).decode()
    except (Error, UnicodeDecodeError):
        return value  # somebody else's
