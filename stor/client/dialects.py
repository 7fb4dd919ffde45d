"""How the two dialects of the blob API say the same things: targets and headers (pure)."""

import re
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote, urlsplit

import msgspec

from stor.client.plan import Entry
from stor.errors import BadRequest, Failed

Headers = Mapping[str, str]
_MD5 = re.compile(r'(?:W/)?"?([0-9a-f]{32})"?')


class Dialect(Protocol):
    """Says where things are, below the URL, and under which condition a write is meant."""

    name: str  # of the tree, for whoever remembers it
    index: str
    events: str

    def blob(self, path: str) -> str:
        """Give the target of a file."""

    def putting(self, md5: str, seen: Entry | None) -> Headers:
        """Give the headers of a PUT that is meant only if the remote still has what was seen."""

    def deleting(self, seen: Entry) -> Headers:
        """Give the headers of a DELETE that is meant only if the remote still has what was seen."""


class Plain:
    """Conditions by the md5 of what is there."""

    name = ""
    index = "/sync"
    events = "/events"

    def blob(self, path: str) -> str:
        """Slashes stay as they are."""
        return f"/blob/{quote(path, safe='/')}"

    def putting(self, md5: str, seen: Entry | None) -> Headers:
        """Over a tombstone: its md5, which every server knows, and that nothing is live there, which stor knows too."""
        if seen is None:
            return {"content-md5": "new"}
        return {"content-md5": seen.md5} | ({"if-none-match": "*"} if seen.is_deleted else {})

    def deleting(self, seen: Entry) -> Headers:
        """By its etag."""
        return {"if-match": f'"{seen.md5}"'}


class Namespaced:
    """Conditions by version; paths are relative to the namespace, which may have slashes."""

    def __init__(self, namespace: str) -> None:
        self.name = namespace
        self._quoted = quote(namespace, safe="")
        self.index = f"/sync/{self._quoted}"
        self.events = f"/events?namespace={self._quoted}"

    def blob(self, path: str) -> str:
        """As the clients of this dialect write it: no slash but our own."""
        return f"/{self._quoted}/blob/{quote(path, safe='')}"

    def putting(self, md5: str, seen: Entry | None) -> Headers:
        """The payload's md5 goes with it: what the network spoils is refused."""
        return {"if-match-version": str(_version(seen)), "content-md5": md5}

    def deleting(self, seen: Entry) -> Headers:
        """By its version."""
        return {"if-match-version": str(_version(seen))}


def _version(seen: Entry | None) -> int:
    if seen is None:
        return 0
    if seen.version is None:
        raise Failed("the remote's index has no versions, which the namespaced dialect needs")
    return seen.version


class _File(msgspec.Struct, frozen=True):
    md5: str
    size: int
    is_deleted: bool
    version: int | None = None


class Index(msgspec.Struct, frozen=True):
    """An index as it is sent: all of it, or with `reset` false what changed."""

    files: dict[str, _File]
    cursor: str | None = None
    reset: bool = True

    def entries(self) -> dict[str, Entry]:
        """Give what it says about each path."""
        return {path: Entry(file.md5, file.size, file.is_deleted, file.version) for path, file in self.files.items()}


def read_index(body: bytes) -> Index:
    """Read the body of an index; Failed when it is none."""
    try:
        index = msgspec.json.decode(body, type=Index)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Failed("the answer is no index; is there a stor at this URL?") from None
    for path, file in index.files.items():
        if not file.is_deleted and not re.fullmatch("[0-9a-f]{32}", file.md5):
            raise Failed(f"the index has no md5 for {path!r}")
    return index


def md5_of(etag: str | None) -> str | None:
    """Give the md5 that an ETag is, if it is one."""
    found = _MD5.fullmatch(etag or "")
    return found[1] if found else None


def root_of(url: str) -> str:
    """Give a URL in the form that is remembered; BadRequest when it cannot be one of a tree."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadRequest("an http:// or https:// URL is needed")
    if parts.username is not None or parts.password is not None:
        raise BadRequest("a URL must not hold a credential: use a token file")
    if parts.query or parts.fragment:
        raise BadRequest("the URL of a tree has neither a query nor a fragment")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
