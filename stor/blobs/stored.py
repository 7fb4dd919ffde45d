"""What an object's metadata says about a file, and what we put there."""

import re
from collections.abc import Mapping

import msgspec

from stor.blobs.fragments import LAST_MOMENT
from stor.blobs.rules import Entry
from stor.storage.promise import Info

NO_BYTES = "d41d8cd98f00b204e9800998ecf8427e"
"""The md5 of nothing: an etag that says nothing, since tombstones and all empty files share it."""
ZSTD = "zstd"
_MD5 = re.compile("[0-9a-f]{32}")
LARGEST_VERSION = 1 << 53  # clients read it as a JSON number


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A file as its object alone tells it; what older software did not write down is None."""

    etag: str
    size: int  # of the plain content
    store_modified: int  # microseconds since 1970, by the store's clock
    is_deleted: bool | None
    md5: str | None
    version: int | None
    modified: int | None
    content_type: str | None
    encoding: str | None

    @property
    def is_whole(self) -> bool:
        """Tell whether the object says all about itself, as ours do."""
        return None not in {self.md5, self.is_deleted, self.version, self.modified}

    def entry(self, path: str, known: Entry | None) -> Entry | None:
        """Give the entry; what is missing is taken from what is `known`, if that is about the same bytes.

        None when the md5 is not to be had without reading them. A version that is missing is one that follows.
        """
        same = known if known is not None and known.etag == self.etag and known.size == self.size else None
        md5 = self.md5 or (same.md5 if same else None)
        if md5 is None and not self.is_deleted:
            return None
        return Entry(
            path=path,
            md5=md5 or "",
            size=self.size,
            modified=self.modified or (same.modified if same else self.store_modified),
            is_deleted=same.is_deleted if self.is_deleted is None and same else bool(self.is_deleted),
            version=self.version or (same.version if same else self._following(known)),
            etag=self.etag,
            content_type=self.content_type,
        )

    def old(self, path: str, version: int) -> Entry:
        """Give the entry of a version that was kept; its key says which it is, for older software wrote none down."""
        return Entry(
            path=path,
            md5=self.md5 or self.etag,  # what has none was put by hand, and then the etag usually is one
            size=self.size,
            modified=self.modified or self.store_modified,
            is_deleted=bool(self.is_deleted),
            version=version,
            etag=self.etag,
            content_type=self.content_type,
        )

    def _following(self, known: Entry | None) -> int:
        at = self.store_modified // 1000
        return max(at, known.version + 1) if known is not None else max(at, 1)


def is_telling(etag: str) -> bool:
    """Tell whether two states of a file with this etag hold the same bytes and are both live or both deleted."""
    return etag != NO_BYTES


def stored(info: Info) -> Stored:
    """Read an object's metadata; what makes no sense counts as missing."""
    said = info.metadata
    encoding = said.get("encoding")
    size = _number(said.get("size")) if encoding else None
    deleted, md5 = said.get("is-deleted"), said.get("content-md5", "")
    return Stored(
        etag=info.etag,
        size=0 if deleted == "true" else info.size if size is None else size,
        store_modified=min(max(int(info.modified * 1_000_000), 0), LAST_MOMENT),
        is_deleted=None if deleted is None else deleted == "true",
        md5=md5 if _MD5.fullmatch(md5) else None,
        version=_number(said.get("version"), LARGEST_VERSION) or None,
        modified=_number(said.get("modified"), LAST_MOMENT),
        content_type=info.content_type,
        encoding=encoding,
    )


def metadata(entry: Entry, encoding: str | None = None) -> Mapping[str, str]:
    """Give what is put with the bytes of an entry; `encoding` is how they are kept."""
    said = {
        "content-md5": entry.md5,
        "is-deleted": "true" if entry.is_deleted else "false",
        "version": str(entry.version),
        "modified": str(entry.modified),
    }
    if encoding is not None:
        said.update(encoding=encoding, size=str(entry.size))
    return said


def _number(text: str | None, most: int = 1 << 62) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 19:
        return None
    number = int(text)
    return number if number <= most else None
