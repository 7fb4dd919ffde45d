"""How the index looks on the wire: times, and one fragment of JSON for each entry, joined to bodies."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from stor.blobs.rules import Entry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # isoformat then writes no offset, for the Z
LAST_MOMENT = 253_402_300_799_999_999
"""The last microsecond that has a four-digit year."""
_encode = msgspec.json.Encoder().encode


def moment(microseconds: int) -> str:
    """Write a time since 1970 such as 2026-01-15T10:30:00.123456Z."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds") + "Z"


def microseconds(text: str) -> int | None:
    """Read a time in ISO format, without an offset as UTC; None when it is none, or before 1970."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    since = read.replace(tzinfo=read.tzinfo or UTC) - _EPOCH.replace(tzinfo=UTC)
    return max(since // timedelta(microseconds=1), 0)


def fragment(entry: Entry) -> bytes:
    """Write `"path":{…}` as it stands in `files`."""
    return b'%b:{"md5":%b,"last_modified":"%b","size":%d,"is_deleted":%b,"version":%d}' % (
        _encode(entry.path),
        _encode(entry.md5),
        moment(entry.modified).encode(),
        entry.size,
        b"true" if entry.is_deleted else b"false",
        entry.version,
    )


def head_length(namespace: str) -> int:
    """Tell how many bytes of a fragment are its opening quote and the namespace; 0 when there is no namespace."""
    return len(_encode(namespace + "/")) - 1 if namespace else 0


def relative(fragments: Iterable[bytes], head: int) -> list[bytes]:
    """Cut the namespace off the fragments: JSON text is encoded letter by letter, so its head can go as bytes."""
    return [b'"' + each[head:] for each in fragments] if head else list(fragments)


def document(files: list[bytes], modified: int, version: int, **extra: object) -> bytes:
    """Join fragments to the body of `/sync`; `extra` keys follow those of the contract."""
    tail = b"".join(b",%b:%b" % (_encode(name), _encode(value)) for name, value in extra.items())
    stamp = moment(modified).encode()
    return b'{"files":{%b},"index_last_modified":"%b","index_version":%d%b}' % (b",".join(files), stamp, version, tail)
