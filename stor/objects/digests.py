"""What a caller says of the digests of its bytes: Content-Digest, Content-MD5 and X-Content-Hash; values only."""

import re
from base64 import b64decode
from binascii import Error

from stor.errors import BadRequest, Unprocessable
from stor.objects.rules import digest_of

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The SHA-256 of nothing."""
_ALGORITHMS = {"sha-256": ("sha256", 32), "sha-512": ("sha512", 64)}  # by their names in RFC 9530, section 5
_BYTES = re.compile(r":([A-Za-z0-9+/]*={0,2}):")
# One member of a dictionary, RFC 8941, 3.2: its key, its value, and parameters, which mean nothing here. Alternatives
# begin with different characters, so it never looks back.
_VALUE = r'(?::[A-Za-z0-9+/=]*:|"(?:[^"\\]|\\["\\])*"|[A-Za-z0-9?*.-][!#$%&\'*+./:^_`|~A-Za-z0-9-]*)'
_KEY = r"[a-z*][a-z0-9_.*-]*"
_MEMBER = re.compile(rf"({_KEY})(?:=({_VALUE}))?(?:;[ ]*{_KEY}(?:={_VALUE})?)*[ \t]*(?:(,)[ \t]*|\Z)")


def expected(content_digest: str | None, content_md5: str | None, content_hash: str | None) -> dict[str, str]:
    """Give the digests that the bytes must have, by hashlib's names, in hex.

    Algorithms that we do not know are overlooked (RFC 9530, section 2). BadRequest for what is malformed;
    Unprocessable where two headers contradict each other, so that no bytes could have both.
    """
    found: dict[str, str] = {}
    if content_digest is not None:
        found |= _members(content_digest)
    if content_md5 is not None:
        found["md5"] = _hex(content_md5.strip(), 16, "Content-MD5")
    if content_hash is not None:
        digest = digest_of(content_hash)
        if found.setdefault("sha256", digest) != digest:
            raise Unprocessable("Content-Digest and X-Content-Hash are different", code="DIGEST_MISMATCH")
    return found


def _members(header: str) -> dict[str, str]:
    """Read a Content-Digest; of several members with one key the last counts (RFC 8941, 3.2)."""
    found, at, header = {}, 0, header.strip(" ")
    more = bool(header)
    while more:
        member = _MEMBER.match(header, at)
        if member is None:
            raise BadRequest("Content-Digest is no dictionary of digests, such as sha-256=:…:")
        key, value, comma = member.groups()
        if key in _ALGORITHMS:
            name, size = _ALGORITHMS[key]
            wrapped = _BYTES.fullmatch(value or "")
            found[name] = _hex("" if wrapped is None else wrapped[1], size, f"Content-Digest: {key}")
        at, more = member.end(), comma is not None
    return found


def _hex(text: str, size: int, what: str) -> str:
    """Give hex for base64 of so many bytes."""
    try:
        digest = b64decode(text, validate=True)
    except (Error, ValueError):
        digest = b""
    if len(digest) != size:
        raise BadRequest(f"{what} is the base64 of {size} bytes")
    return digest.hex()
