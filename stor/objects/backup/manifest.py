"""Manifests as they are read: no line is believed that no object or quota could have made."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec import json

from stor.errors import BadRequest, Failed
from stor.objects.backup.format import HASH, MOST, Begin, End, Entry, Line, Quota, Saved, microseconds
from stor.objects.ids import is_id
from stor.objects.rules import check_content_type, check_key, check_metadata, check_tenant, namespace_of

_LINE = json.Decoder(Line)
_HASH = re.compile(f"sha256:{HASH.pattern}")
_LATEST = microseconds(datetime.max.replace(tzinfo=UTC))
_DIGITS = 64


def checked(lines: Iterator[bytes], entry: Entry) -> Iterator[Saved | Quota]:
    """Read a manifest; Failed when it is not whole, is not the one of its entry, or has a line that cannot be."""
    begin, objects, size, last = next(lines, b""), 0, 0, ""
    if not isinstance(first := _line(1, begin), Begin) or first.at != entry.at:
        raise Failed("the manifest is that of another backup")
    for number, text in enumerate(lines, 2):
        line = _line(number, text)
        if isinstance(line, End):
            if (line.objects, line.bytes) != (objects, size) or (objects, size) != (entry.objects, entry.bytes):
                raise Failed("the manifest has not as many objects as it says")
            return
        if isinstance(line, Begin) or (isinstance(line, Saved) and line.id <= last):
            raise _senseless(number, "it is not its turn")
        if isinstance(line, Saved):
            objects, size, last = objects + 1, size + line.size_bytes, line.id
        yield line
    raise Failed("the manifest is not whole")


def digest_of(line: bytes) -> str:
    """Read a line of a list of blobs; Failed when it begins with no digest."""
    digest = line[:_DIGITS].decode("ascii", "replace")
    if not HASH.fullmatch(digest):
        raise Failed("a line of the list of blobs makes no sense")
    return digest


def _line(number: int, text: bytes) -> Line:
    """Read a line of a manifest; Failed when it makes no sense."""
    try:
        line: Line = _LINE.decode(text)
        if isinstance(line, Saved):
            _check_saved(line)
        elif isinstance(line, Quota):
            _check_quota(line)
    except (ValueError, RecursionError, BadRequest) as why:
        raise _senseless(number, why) from None
    return line


def _senseless(number: int, why: object) -> Failed:
    return Failed(f"line {number} of the manifest makes no sense: {why}")


def _check_saved(line: Saved) -> None:
    """Raise BadRequest for what cannot be an object: it would be served as if somebody had stored it."""
    check_tenant(line.tenant_id)
    if namespace_of(line.namespace) != line.namespace:
        raise BadRequest("a namespace is in lower case")
    if line.key is not None:
        check_key(line.key)
    check_content_type(line.content_type)
    check_metadata(line.metadata)
    if not (is_id(line.id) and _HASH.fullmatch(line.content_hash)):
        raise BadRequest("the id or the hash is none")
    _check_counts(line.size_bytes)
    if not all(0 <= microseconds(moment) <= _LATEST for moment in (line.created_at, line.updated_at)):
        raise BadRequest("a time lies outside of 1970 to 9999")


def _check_quota(line: Quota) -> None:
    check_tenant(line.tenant_id)
    _check_counts(line.bytes or 0, line.objects or 0)


def _check_counts(*counts: int) -> None:
    if not all(0 <= count <= MOST for count in counts):
        raise BadRequest(f"a number lies outside of 0 to {MOST}")
