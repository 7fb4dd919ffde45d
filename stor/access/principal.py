"""Who a caller is, and the credentials by which we know."""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from stor.access.passwords import digest, same
from stor.errors import ConfigError


@dataclass(frozen=True)
class Principal:
    """Somebody we know by `name`, and what they may do, such as `volume:write`."""

    name: str
    permissions: frozenset[str]

    def may(self, permission: str) -> bool:
        """Tell whether this permission was given; `admin` has them all."""
        return permission in self.permissions or "admin" in self.permissions


ANYONE = Principal("anyone", frozenset())


class Credentials(Protocol):
    """One kind of credential."""

    def find(self, secret: bytes) -> Principal | None:
        """Give whom this secret proves, None when nobody."""


class Keys:
    """API keys, by the SHA-256 of each: a look-up by digest tells a guesser nothing about the key."""

    def __init__(self, keys: Mapping[bytes, Principal]) -> None:
        self._keys = dict(keys)

    def find(self, secret: bytes) -> Principal | None:
        """Give the principal of this key."""
        return self._keys.get(digest(secret))


class ProxyPassword:
    """The Redis proxy's password, which over HTTP may do one thing: write the volume (format it)."""

    _principal = Principal("proxy", frozenset({"volume:write"}))

    def __init__(self, password: bytes) -> None:
        if not password:
            raise ConfigError("an empty proxy password would admit everybody")
        self._digest = digest(password)

    def find(self, secret: bytes) -> Principal | None:
        """Give the one principal that holds this password."""
        return self._principal if same(secret, self._digest) else None


def offered(authorization: str | None, api_key: str | None) -> Iterator[bytes]:
    """Read the secrets a request brings: `X-API-Key: K`, `Authorization: Bearer K`, `ApiKey K`, or Basic.

    Of Basic only the password counts (RFC 7617); one that cannot be decoded is offered as it stands, so that
    it is counted as a failure.
    """
    if api_key:
        yield api_key.encode("utf-8", "surrogateescape")
    scheme, _, rest = (authorization or "").strip().partition(" ")
    words = rest.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() == "basic":
        yield _basic(words)
    elif scheme.lower() in {"bearer", "apikey"}:
        yield words


def _basic(words: bytes) -> bytes:
    try:
        _, _, password = b64decode(words, validate=True).partition(b":")
    except ValueError:
        return words
    return password
