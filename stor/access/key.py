"""An API key: how one looks, and what is known of it."""

import re
import secrets
from dataclasses import dataclass
from string import ascii_letters, ascii_lowercase, digits

from stor.access.passwords import digest
from stor.access.principal import Principal

ID_CHARACTERS = 10
SECRET_CHARACTERS = 43  # of 62 letters and digits: 256 bits
NAME_CHARACTERS = 64
_ID = re.compile(rf"[0-9a-z]{{{ID_CHARACTERS}}}")
_FORM = re.compile(rf"(stor_[0-9a-z]{{{ID_CHARACTERS}}})_[0-9A-Za-z]{{{SECRET_CHARACTERS}}}")


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret, of which only the SHA-256 is kept (hex). Times are microseconds since 1970."""

    id: str
    digest: str
    name: str
    tenant: str | None
    permissions: frozenset[str]
    created_by: str
    created_at: int
    expires_at: int | None = None
    last_used_at: int | None = None
    revoked_at: int | None = None

    @property
    def prefix(self) -> str:
        """The beginning of the key, which may be shown."""
        return f"stor_{self.id}"

    @property
    def principal(self) -> Principal:
        """Who comes with this key; the id makes the name one that no other key can have."""
        return Principal(f"key:{self.id}:{self.name}", self.permissions, self.tenant)


@dataclass(frozen=True, slots=True, repr=False)
class Made:
    """A new key's text, to be shown once, and what is kept of it."""

    text: str
    id: str
    digest: str


def new_key() -> Made:
    """Make a key that nobody has seen: `stor_`, a readable id, and 256 random bits."""
    key_id = "".join(secrets.choice(digits + ascii_lowercase) for _ in range(ID_CHARACTERS))
    secret = "".join(secrets.choice(digits + ascii_letters) for _ in range(SECRET_CHARACTERS))
    text = f"stor_{key_id}_{secret}"
    return Made(text, key_id, digest(text.encode()).hex())


def is_id(text: str) -> bool:
    """Tell whether a key could have this id."""
    return _ID.fullmatch(text) is not None


def prefix_of(text: str) -> str | None:
    """Give the readable prefix of what looks like one of our keys, None of anything else."""
    found = _FORM.fullmatch(text)
    return None if found is None else found[1]
