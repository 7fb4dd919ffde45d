"""What somebody wants of an object that is written (pure)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from stor.client.objects.names import Name
from stor.errors import BadRequest

_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_META = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,128}")


@dataclass(frozen=True, slots=True)
class Wish:
    """An object as it is to be; what is None is the server's choice.

    `match` is the ETag of what is to be replaced, `*` for whatever is there; `absent`: there must be nothing.
    `digest` (SHA-256 in hex) is what the bytes must have.
    """

    name: Name
    storage_class: str | None = None
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)
    match: str | None = None
    absent: bool = False
    digest: str | None = None

    def headers(self) -> dict[str, str]:
        """Give what is said in headers; BadRequest for what no header can hold."""
        said = {"content-type": self.content_type}
        if self.storage_class is not None:
            said["x-storage-class"] = self.storage_class
        if self.match is not None:
            said["if-match"] = self.match
        if self.absent:
            said["if-none-match"] = "*"
        if self.digest is not None:
            said["x-content-hash"] = f"sha256:{self.digest}"
        for text in said.values():
            if _UNFIT.search(text):
                raise BadRequest(f"{text!r} has control characters")
        return said | {f"x-meta-{name}": value for name, value in self.metadata.items()}


@dataclass(frozen=True, slots=True)
class Manner:
    """How objects are to be written, whatever their names; None: as it is known of each, or the server's choice.

    `replaces`: whatever a key has is replaced. `skips`: bytes that the tenant has already are not sent.
    """

    storage_class: str | None = None
    content_type: str | None = None
    metadata: Mapping[str, str] | None = None
    match: str | None = None
    absent: bool = False
    replaces: bool = False
    skips: bool = False

    def wish(self, name: Name, content_type: str, digest: str | None = None) -> Wish:
        """Give the wish for one object, whose type was guessed."""
        return Wish(
            name=name,
            storage_class=self.storage_class,
            content_type=self.content_type or content_type,
            metadata=self.metadata or {},
            match=self.match,
            absent=self.absent,
            digest=digest,
        )


def metadata_of(words: tuple[str, ...]) -> dict[str, str]:
    """Read each `name=value`; BadRequest for what cannot be sent."""
    found = {}
    for word in words:
        name, mark, value = word.partition("=")
        if not mark or not _META.fullmatch(name.lower()) or _UNFIT.search(value):
            raise BadRequest(f"{word!r}: metadata is name=value, on one line, the name as that of a header")
        found[name.lower()] = value
    return found


def etag_of(text: str) -> str:
    """Read an ETag with or without quotes, a bare digest, or `*`; BadRequest for anything else."""
    found = re.fullmatch(r'"?(?:sha256:)?([0-9a-f]{64})"?', text)
    if found is not None:
        return f'"sha256:{found[1]}"'
    if text != "*":
        raise BadRequest(f"{text!r}: an ETag is sha256: and 64 hexadecimal digits, or *")
    return text
