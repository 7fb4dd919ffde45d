"""Names that are used once for ever: of objects, and of stored copies."""

import re
from os import urandom
from time import time_ns

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """Give a UUID of version 7 (RFC 9562): it begins with the time, so that an index has what is new together."""
    time, chance = f"{time_ns() // 1_000_000:012x}", urandom(10).hex()
    variant = "89ab"[int(chance[3], 16) & 3]
    return f"{time[:8]}-{time[8:]}-7{chance[:3]}-{variant}{chance[4:7]}-{chance[7:19]}"


def is_id(text: str) -> bool:
    """Tell whether a text could be an object's id."""
    return _ID.fullmatch(text) is not None


def copy_name(digest: str) -> str:
    """Give the key of a new copy of these bytes: never used before, and never again."""
    return f"sha256/{digest[:2]}/{digest}.{urandom(10).hex()}"
