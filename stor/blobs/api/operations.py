"""What a batch is made of: operations, and the result of each."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from stor.blobs.api.preconditions import etags
from stor.blobs.rules import All, Anything, Condition, Etags, Md5, New, NotExisting, Version
from stor.errors import BadRequest, Unprocessable

MOST = 1000  # operations

Encoding = Literal["base64", "text"]
Kind = Annotated[str, Meta(max_length=255, pattern=r"^[\x20-\x7e]*$")]
Number = Annotated[int, Meta(ge=-(1 << 62), le=1 << 62)]


class Wishes(Struct, forbid_unknown_fields=True, kw_only=True):
    """The preconditions of a write, all of which must hold; without any it is unconditional."""

    path: str
    if_md5: str | None = None
    if_version: Number | None = None
    if_none_match: Literal["*"] | None = None
    if_match: str | None = None

    def condition(self) -> Condition:
        """Give them as the tree wants them."""
        found: list[Condition] = []
        if self.if_md5 is not None:
            found.append(New() if self.if_md5 == "new" else Md5(self.if_md5))
        if self.if_version is not None:
            found.append(Version(self.if_version))
        if self.if_match is not None:
            found.append(Etags(etags(self.if_match)))
        if self.if_none_match is not None:
            found.append(NotExisting())
        return All(tuple(found)) if found else Anything()


class Put(Wishes, tag="put", tag_field="op", kw_only=True):
    """Replace a file whole."""

    content: str
    encoding: Encoding = "base64"
    content_type: Kind | None = None

    def body(self) -> bytes:
        """Give the bytes; BadRequest when they are no base64."""
        if self.encoding == "text":
            return self.content.encode()
        try:
            return b64decode(self.content, validate=True)
        except ValueError:
            raise BadRequest("The content is not base64") from None


class Delete(Wishes, tag="delete", tag_field="op", kw_only=True):
    """Leave a tombstone."""


class Get(Struct, tag="get", tag_field="op", forbid_unknown_fields=True):
    """Read a file."""

    path: str
    encoding: Encoding = "base64"

    def shown(self, content: bytes) -> str:
        """Write the bytes as they were asked for; Unprocessable when they are no text."""
        if self.encoding == "base64":
            return b64encode(content).decode()
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise Unprocessable("The file is not UTF-8 text: ask for base64") from None


Operation = Get | Put | Delete


class Asked(Struct, forbid_unknown_fields=True):
    """The body of a batch."""

    operations: Annotated[list[Operation], Meta(max_length=MOST)]


class Result(Struct, omit_defaults=True):
    """What became of an operation: the file, or the error it would have been answered with by itself."""

    status: int
    path: str
    md5: str | UnsetType = UNSET
    version: int | UnsetType = UNSET
    size: int | UnsetType = UNSET
    last_modified: str | UnsetType = UNSET
    content_type: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    error_code: str | UnsetType | None = UNSET
    context: Mapping[str, str] | UnsetType | None = UNSET


class Results(Struct):
    """The answer to a batch: one result for each operation, in their order."""

    results: list[Result]
