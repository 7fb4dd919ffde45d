"""Passwords are kept as digests and compared in constant time."""

from hashlib import sha256
from hmac import compare_digest


def digest(text: bytes) -> bytes:
    """Give the 32 bytes of SHA-256 of a password, which is what we keep of it."""
    return sha256(text).digest()


def same(given: bytes, kept: bytes) -> bool:
    """Tell whether `given` is the password whose digest was kept; takes equally long either way."""
    return compare_digest(digest(given), kept)
