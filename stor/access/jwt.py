"""JSON Web Tokens: signed by a shared secret (HS256), or by a key of an issuer (RS256, ES256)."""

from collections.abc import Callable, Mapping
from time import time
from typing import Any, NamedTuple

from jwt import PyJWK, decode, get_unverified_header
from jwt.exceptions import DecodeError, InvalidAlgorithmError, InvalidKeyError, PyJWTError

from stor.access.bounded import Bounded
from stor.access.hs256 import secret_key
from stor.access.jwks import ALGORITHMS, Jwks
from stor.access.offers import REFUSED, Offer
from stor.access.principal import PERMISSIONS, Principal, is_plain, is_tenant
from stor.errors import Denied

LEEWAY = 30.0  # seconds that two clocks may differ
MOST_CHARACTERS = 8192  # of a token
NAME_CHARACTERS = 256
_NOT_GENUINE = (DecodeError, InvalidAlgorithmError, InvalidKeyError)  # a wrong signature is a DecodeError


class _Verified(NamedTuple):
    principal: Principal
    expires: float
    generation: int


class Jwt:
    """Tells whom a token proves; what was verified once is remembered until it expires.

    Which key is tried follows from the token's `alg`, and each key is bound to one algorithm: `none`, and a public key
    used as a secret, are wrong signatures like any other.
    """

    def __init__(
        self,
        *,
        secret: bytes = b"",
        jwks: Jwks | None = None,
        issuer: str = "",
        audience: str = "",
        most: int = 8192,
        wall: Callable[[], float] = time,
    ) -> None:
        self._secret = secret_key(secret) if secret else None
        self._jwks, self._wall = jwks, wall
        self._issuer, self._audience = issuer or None, audience or None
        self._verified: Bounded[bytes, _Verified] = Bounded(most)

    def find(self, digest: bytes, /) -> Principal | None:
        """Give whom a token proves that was verified before."""
        found = self._verified.get(digest)
        if found is None or found.expires <= self._wall() or found.generation != self._generation:
            return None
        return found.principal

    def prove(self, offer: Offer) -> Principal | None:
        """Verify a token; None for what is none of ours, Denied for a genuine one that may not be used here and now."""
        header = _header(offer)
        key = None if header is None else self._key(header)
        if key is None:
            return None
        try:
            claims = decode(
                offer.text,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY,
                options={"require": ["exp", "sub"]},
            )
            expires = float(claims["exp"])
        except _NOT_GENUINE:
            return None
        except (PyJWTError, ValueError, TypeError, OverflowError):  # the signature is good, the claims are not
            raise Denied(REFUSED) from None
        principal = principal_of(claims)
        self._verified.set(offer.digest, _Verified(principal, expires, self._generation))
        return principal

    def was_good(self, offer: Offer) -> bool:
        """Tell whether this token was verified before; its key may have left the issuer's since."""
        return self._verified.get(offer.digest) is not None

    def concerns(self, offer: Offer) -> bool:
        """Tell whether the issuer may have published this token's key since we looked."""
        header = _header(offer) if self._jwks is not None else None
        return header is not None and header.get("alg") in ALGORITHMS and self._key(header) is None

    async def ask(self, offer: Offer) -> Principal | None:
        """Look for its key, and verify it then; Unavailable when that cannot be known."""
        if self._jwks is not None:
            await self._jwks.refresh()
        return self.prove(offer)

    @property
    def _generation(self) -> int:
        return 0 if self._jwks is None else self._jwks.generation

    def _key(self, header: Mapping[str, Any]) -> PyJWK | None:
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm == "HS256":
            return self._secret
        if self._jwks is None or algorithm not in ALGORITHMS:
            return None
        return self._jwks.key(kid, algorithm)


def principal_of(claims: Mapping[str, Any]) -> Principal:
    """Read the claims of a genuine token; Denied when they cannot be read, so that no mistake means all tenants."""
    name, tenant = claims.get("sub"), claims.get("tenant_id")
    if not isinstance(name, str) or not is_plain(name, NAME_CHARACTERS):
        raise Denied(REFUSED)
    if "tenant_id" in claims and not is_tenant(tenant):
        raise Denied(REFUSED)
    words = {*_words(claims.get("permissions")), *_words(claims.get("scope"))}
    return Principal(f"jwt:{name}", PERMISSIONS & words, tenant)


def _words(claim: object) -> list[str]:
    """Read a list of words, or a text of them (RFC 8693, section 4.2)."""
    if isinstance(claim, str):
        return claim.split()
    return [word for word in claim if isinstance(word, str)] if isinstance(claim, list) else []


def _header(offer: Offer) -> dict[str, Any] | None:
    if offer.scheme != "bearer" or len(offer.text) > MOST_CHARACTERS or offer.text.count(".") != 2:
        return None
    try:
        header = get_unverified_header(offer.text)
    except (PyJWTError, ValueError, RecursionError):
        return None
    return header if isinstance(header.get("alg"), str) else None
