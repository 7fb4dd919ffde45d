"""Credentials that are known from the configuration, each by its digest."""

from collections.abc import Iterable, Mapping
from hmac import compare_digest
from typing import Protocol

from stor.access.passwords import digest
from stor.access.principal import EVERYTHING, Principal
from stor.errors import ConfigError

STRONG_CHARACTERS = 32  # of a key that nobody guesses over the network, even if a person thought of it


class Known(Protocol):
    """Credentials that can be told from memory."""

    def find(self, digest: bytes, /) -> Principal | None:
        """Give whom the secret with this SHA-256 proves, None when nobody; never waits."""


class Keys:
    """Keys by the SHA-256 of each: a look-up by digest tells a guesser nothing about the key."""

    def __init__(self, keys: Mapping[str, Principal]) -> None:
        if "" in keys:
            raise ConfigError("an empty key would admit everybody")
        self._keys = {digest(text.encode()): principal for text, principal in keys.items()}

    def find(self, digest: bytes, /) -> Principal | None:
        """Give the principal of this key."""
        return self._keys.get(digest)


class ProxyPassword:
    """The Redis proxy's password, which over HTTP may do one thing: format the volume."""

    _principal = Principal("proxy", frozenset({"volume:format"}))

    def __init__(self, password: bytes) -> None:
        if not password:
            raise ConfigError("an empty proxy password would admit everybody")
        self._digest = digest(password)

    def find(self, digest: bytes, /) -> Principal | None:
        """Give the one principal that holds this password; takes equally long either way."""
        return self._principal if compare_digest(digest, self._digest) else None


def listed(keys: Iterable[str]) -> tuple[Keys, Keys]:
    """Take a list of keys that may everything, named by their places in it: long ones, and those that could be guessed.

    The second ones are passwords, whatever they are called: they belong behind a limit.
    """
    strong: dict[str, Principal] = {}
    weak: dict[str, Principal] = {}
    for place, text in enumerate(keys, 1):
        kind = strong if len(text) >= STRONG_CHARACTERS else weak
        kind[text] = Principal(f"listed:{place}", EVERYTHING)
    return Keys(strong), Keys(weak)
