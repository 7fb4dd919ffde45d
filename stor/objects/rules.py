"""What names, types and metadata of objects may be; values only."""

import re
from collections.abc import Mapping

from stor.errors import BadRequest

KEY_BYTES = 1024
TENANT_CHARACTERS = 128
TYPE_BYTES = 255
METADATA_NAMES, METADATA_BYTES = 64, 8192
MICROSECONDS = 1_000_000

_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # controls, line ends, half characters
_TYPE = re.compile(r"[\x20-\x7e]+")
_META = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,128}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def namespace_of(text: str) -> str:
    """Give a namespace as it is kept, in lower case; BadRequest for what is none."""
    folded = text.lower() if text.isascii() else text
    if not _NAMESPACE.fullmatch(folded):
        raise BadRequest("a namespace is 1 to 64 of a-z, 0-9, `.`, `_` and `-`, the first a letter or a digit")
    return folded


def check_tenant(text: str) -> None:
    """Raise BadRequest for what names no tenant."""
    if not 0 < len(text) <= TENANT_CHARACTERS or _UNFIT.search(text):
        raise BadRequest(f"a tenant is 1 to {TENANT_CHARACTERS} characters without control characters")


def check_key(text: str) -> None:
    """Raise BadRequest for what is no key; an empty one is said by leaving it out."""
    if _UNFIT.search(text) or not 0 < len(text.encode()) <= KEY_BYTES:
        raise BadRequest(f"a key is 1 to {KEY_BYTES} bytes of UTF-8 without control characters")


def check_content_type(text: str) -> None:
    """Raise BadRequest for what cannot be sent back as a Content-Type."""
    if len(text) > TYPE_BYTES or not _TYPE.fullmatch(text):
        raise BadRequest(f"a content type is 1 to {TYPE_BYTES} printable ASCII characters")


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise BadRequest for more than 64 names or 8 KiB, and for what cannot be sent back as X-Meta- headers."""
    for name, value in metadata.items():
        if not _META.fullmatch(name):
            raise BadRequest("a name of metadata is 1 to 128 characters that a header's name may have, in lower case")
        if _UNFIT.search(value) or value != value.strip(" \t"):
            raise BadRequest("metadata holds no control characters, nor spaces around it")
    size = sum(len(name) + len(value.encode()) for name, value in metadata.items())
    if len(metadata) > METADATA_NAMES or size > METADATA_BYTES:
        raise BadRequest(f"metadata is at most {METADATA_NAMES} names and {METADATA_BYTES} bytes")


def digest_of(text: str) -> str:
    """Read `sha256:<64 hex digits>`, in any case; BadRequest for anything else."""
    found = _DIGEST.fullmatch(text.strip().lower())
    if found is None:
        raise BadRequest("a content hash is sha256: and 64 hexadecimal digits")
    return found[1]
