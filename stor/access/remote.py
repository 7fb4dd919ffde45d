"""Tokens that another service knows (`POST {url}/verify`)."""

from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from msgspec import DecodeError, json
from prometheus_client import CollectorRegistry, Histogram

from stor.access.authority import RETRY_AFTER, Authority, Told
from stor.access.bounded import Bounded
from stor.access.key import prefix_of
from stor.access.offers import Offer
from stor.access.principal import NOBODYS, Principal, is_plain
from stor.access.sharing import Shared
from stor.errors import Unavailable

SECONDS = 10.0
GOOD_SECONDS = 60.0
BAD_SECONDS = 5.0
KNOWN_SECONDS = 3600.0  # a token that was good is no guess
MOST = 65_536  # tokens that are remembered
NAME_CHARACTERS = 128
PERMISSIONS = frozenset({"blobs:read", "blobs:write"})
_NAMES = ("user_id", "sub", "user", "username", "email", "id")
_PLACES = ("user", "data")


class _Answer(NamedTuple):
    principal: Principal
    told: float


class Remote(Authority):
    """Asks the auth service about tokens; it is asked once by all who bring one token at the same time.

    Only digests of tokens are kept, and only so many. `good` and `bad` are for how many seconds an answer holds.
    """

    def __init__(
        self,
        url: str,
        app_id: str,
        registry: CollectorRegistry,
        reactor: Any,
        *,
        seconds: float = SECONDS,
        good: float = GOOD_SECONDS,
        bad: float = BAD_SECONDS,
        most: int = MOST,
        steady: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__("the auth service", seconds, reactor)
        self._url, self._app_id = url.rstrip("/") + "/verify", app_id
        self._good, self._bad, self._steady = good, bad, steady
        # Apart, so that a flood of invented tokens does not make us forget the good ones.
        self._known: Bounded[bytes, _Answer] = Bounded(most)
        self._refused: Bounded[bytes, float] = Bounded(most)
        self._shared: Shared[bytes, Principal | None] = Shared()
        self._took = Histogram(
            "stor_access_remote_seconds", "Time the auth service took, by answer.", ["answer"], registry=registry
        )

    def find(self, digest: bytes, /) -> Principal | None:
        """Give whom a token proves, by an answer that still holds."""
        found = self._known.get(digest)
        return None if found is None or self._steady() - found.told > self._good else found.principal

    def was_good(self, offer: Offer) -> bool:
        """Tell whether the service has called this token good in the last hour."""
        found = self._known.get(offer.digest)
        return found is not None and self._steady() - found.told <= KNOWN_SECONDS

    def concerns(self, offer: Offer) -> bool:
        """Tell whether the service may know this: any bearer token (RFC 6750, 2.1: ASCII) but keys of our own."""
        return offer.scheme == "bearer" and offer.text.isascii() and prefix_of(offer.text) is None

    async def ask(self, offer: Offer) -> Principal | None:
        """Ask about a token; None when it is refused, Unavailable when there is no answer."""
        told = self._refused.get(offer.digest)
        if told is not None and self._steady() - told <= self._bad:
            return None
        return self.find(offer.digest) or await self._shared.ask(offer.digest, lambda: self._verify(offer))

    async def _verify(self, offer: Offer) -> Principal | None:
        began, outcome = self._steady(), "none"
        try:
            told = await self._post(offer.text)
            outcome = {200: "good", 401: "refused"}.get(told.status, "other")
        finally:
            self._took.labels(outcome).observe(self._steady() - began)
        if outcome == "other":
            raise Unavailable(f"{self.name} answers {told.status}", retry_after=RETRY_AFTER)
        if outcome == "refused":
            self._known.forget(offer.digest)
            self._refused.set(offer.digest, self._steady())
            return None
        name = f"remote:{name_in(told.body) or offer.digest.hex()[:12]}"
        principal = Principal(name, PERMISSIONS, tenant=NOBODYS)  # the service does not know of tenants
        self._refused.forget(offer.digest)
        self._known.set(offer.digest, _Answer(principal, self._steady()))
        return principal

    async def _post(self, token: str) -> Told:
        body = json.encode({"token": token, "app_id": self._app_id, "api_key": token})
        return await self.ask_for("POST", self._url, body, headers={"Content-Type": "application/json"})


def name_in(body: bytes) -> str | None:
    """Find whose token it is in the service's answer, None where it does not say."""
    try:
        said = json.decode(body)
    except (DecodeError, RecursionError):
        return None
    places = [said, *(said.get(place) for place in _PLACES)] if isinstance(said, dict) else []
    words = (place.get(name) for place in places if isinstance(place, dict) for name in _NAMES)
    return next((text for word in words if (text := _text(word))), None)


def _text(word: object) -> str | None:
    if isinstance(word, bool) or not isinstance(word, str | int):
        return None
    return str(word) if is_plain(str(word), NAME_CHARACTERS) else None
