"""URLs that carry their own permission: one method, one path, one tenant, until a moment."""

import hmac
from collections.abc import Callable, Mapping
from hashlib import sha256
from time import time
from typing import Protocol
from urllib.parse import quote, urlencode

from msgspec import json

from stor.access.offers import REFUSED
from stor.access.principal import Principal
from stor.errors import BadRequest, ConfigError, Denied, Forbidden

METHODS = frozenset({"GET", "HEAD", "PUT"})
LONGEST = 7 * 86400  # seconds
SECRET_BYTES = 32
SIGNATURE = "stor-signature"
_BY, _EXPIRES, _PERMISSION, _TENANT = "stor-by", "stor-expires", "stor-permission", "stor-tenant"
_OURS = frozenset({_BY, _EXPIRES, _PERMISSION, _TENANT, SIGNATURE})
_DIGITS = 12
_NAMED = "presigned:"  # what the names of no others begin with


class Signed(Protocol):
    """What a signature is about."""

    @property
    def method(self) -> str:
        """In capitals."""

    @property
    def path(self) -> str:
        """Decoded."""

    @property
    def query(self) -> Mapping[str, str]:
        """All of it."""

    def header(self, name: str) -> str | None:
        """Give a header by its lower-case name."""


def check_secret(secret: bytes) -> None:
    """Raise ConfigError for one that could be guessed."""
    if len(secret) < SECRET_BYTES:
        raise ConfigError(f"the secret that signs URLs must have at least {SECRET_BYTES} bytes")


def is_presigned(principal: Principal) -> bool:
    """Tell whether somebody is known by a URL alone."""
    return principal.name.startswith(_NAMED)


class Presigner:
    """Makes such URLs and knows them again. All processes that share a `secret` know each other's."""

    def __init__(self, secret: bytes, *, wall: Callable[[], float] = time) -> None:
        self._wall = wall
        self.use(secret)

    def use(self, secret: bytes) -> None:
        """Sign with this secret from here on; what another one signed is not known any more."""
        check_secret(secret)
        self._secret = secret

    def sign(
        self,
        giver: Principal,
        permission: str,
        method: str,
        path: str,
        seconds: float,
        query: Mapping[str, str] | None = None,
    ) -> str:
        """Give the path, percent-encoded, with a query that lets in whoever brings it, for so many seconds.

        `query` are the parameters that the request will have beside ours: neither more nor others. Raises Forbidden
        when `giver` may not do this, BadRequest for a method or a time that cannot be signed.
        """
        if not giver.may(permission):
            raise Forbidden(f"this needs the permission {permission}")
        if method not in METHODS or not 0 < seconds <= LONGEST:
            raise BadRequest(f"a URL can be signed for {', '.join(sorted(METHODS))}, for 1 to {LONGEST} seconds")
        said = dict(query or {})
        if not _OURS.isdisjoint(said):
            raise BadRequest("parameters that begin with stor- are for signatures")
        said |= {_BY: giver.name, _EXPIRES: str(int(self._wall() + seconds)), _PERMISSION: permission}
        if giver.tenant is not None:
            said[_TENANT] = giver.tenant
        said[SIGNATURE] = self._signature(method, path, said)
        return f"{quote(path)}?{urlencode(said)}"

    def find(self, caller: Signed) -> Principal | None:
        """Give whom a request's query proves, None when the signature is wrong; Denied for a genuine one too late."""
        query = caller.query
        given, expires = query.get(SIGNATURE, ""), query.get(_EXPIRES, "")
        right = self._signature(caller.method, caller.path, query)
        if not hmac.compare_digest(given.encode(), right.encode()):
            return None
        # The tenant was signed: a header that names another one is no part of what was given.
        if not _is_before(self._wall(), expires) or caller.header("x-tenant") is not None:
            raise Denied(REFUSED)
        return Principal(f"{_NAMED}{query[_BY]}", frozenset({query[_PERMISSION]}), query.get(_TENANT))

    def _signature(self, method: str, path: str, query: Mapping[str, str]) -> str:
        """A JSON list of all that counts: two different requests are never the same text."""
        rest = sorted((name, value) for name, value in query.items() if name != SIGNATURE)
        return hmac.new(self._secret, json.encode(["stor presign 1", method, path, rest]), sha256).hexdigest()


def _is_before(now: float, expires: str) -> bool:
    return expires.isascii() and expires.isdigit() and len(expires) <= _DIGITS and now < int(expires)
