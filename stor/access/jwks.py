"""The public keys of whoever issues tokens, from a JWKS URL (RFC 7517)."""

from collections.abc import Mapping
from contextlib import suppress
from math import inf
from typing import Any

from jwt import PyJWK
from jwt.exceptions import PyJWTError
from msgspec import DecodeError, json
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from stor.access.authority import Authority
from stor.access.sharing import Rounds
from stor.errors import Unavailable

log = Logger()

FETCH_EVERY = 300.0  # seconds
FETCH_SECONDS = 5.0  # one may take
PAUSE_SECONDS = 30.0  # between two fetches because of keys that are not known
MOST_KEYS = 256
ALGORITHMS = {"RS256": ("RSA", None), "ES256": ("EC", "P-256")}

JwkSet = Mapping[tuple[str, str], PyJWK]  # by kid and algorithm


class Jwks(Authority):
    """Fetches the keys now and then, and when one is missed; `generation` counts how often they were others."""

    def __init__(self, url: str, reactor: Any) -> None:
        super().__init__("the issuer of the token keys", FETCH_SECONDS, reactor)
        self.generation = 0
        self._url, self._clock = url, reactor
        self._keys: JwkSet = {}
        self._body: bytes | None = None
        self._tried = -inf
        self._failed = True  # the last time, or never tried
        self._rounds = Rounds(self._fetch)
        self._loop = LoopingCall(self._again)
        self._loop.clock = reactor

    def startService(self) -> None:
        """Begin to fetch; an issuer that is away now keeps nobody from starting."""
        super().startService()
        self._loop.start(FETCH_EVERY)

    def stopService(self) -> Deferred[None]:
        """Fetch no more."""
        if self._loop.running:
            self._loop.stop()
        return super().stopService()

    def key(self, kid: str | None, algorithm: str) -> PyJWK | None:
        """Give the key for tokens with this header; without a kid only when a single one fits."""
        if kid is not None:
            return self._keys.get((kid, algorithm))
        fitting = [key for (_, fits), key in self._keys.items() if fits == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    async def refresh(self) -> None:
        """Fetch because a key was missed; not again within 30 seconds. Unavailable when the last fetch failed."""
        if self._rounds.running or not 0 <= self._clock.seconds() - self._tried < PAUSE_SECONDS:
            await self._rounds.now()
        elif self._failed:
            raise Unavailable(f"{self.name} cannot be reached", retry_after=PAUSE_SECONDS)

    async def _again(self) -> None:
        with suppress(Unavailable):  # said in the log; the old keys stay
            await self._rounds.now()

    async def _fetch(self) -> None:
        self._tried, self._failed = self._clock.seconds(), True
        told = await self.ask_for("GET", self._url, headers={"Accept": "application/json"})
        if told.status != 200:
            raise Unavailable(f"{self.name} answers {told.status}", retry_after=PAUSE_SECONDS)
        if told.body != self._body:
            self._keys, self._body = read(told.body), told.body
            self.generation += 1
            log.info("{count} keys for tokens", count=len(self._keys))
        self._failed = False


def read(body: bytes) -> JwkSet:
    """Take from a JWKS the public keys that may verify RS256 and ES256; Unavailable when it is none."""
    try:
        words = json.decode(body)["keys"][:MOST_KEYS]
    except (DecodeError, RecursionError, KeyError, TypeError):
        raise Unavailable("the JWKS cannot be read", retry_after=PAUSE_SECONDS) from None
    found: dict[tuple[str, str], PyJWK] = {}
    for word in words:
        for algorithm in ALGORITHMS:
            if _fits(word, algorithm) and (key := _key(word, algorithm)) is not None:
                found[word["kid"], algorithm] = key
    return found


def _fits(word: Any, algorithm: str) -> bool:
    """Tell whether this is a public key that is meant for verifying with this algorithm (RFC 7517, section 4)."""
    kty, curve = ALGORITHMS[algorithm]
    if not isinstance(word, dict) or not isinstance(word.get("kid"), str):
        return False
    uses = word.get("key_ops")
    return (
        (word.get("kty"), word.get("crv")) == (kty, curve)
        and word.get("use", "sig") == "sig"
        and word.get("alg", algorithm) == algorithm
        and (uses is None or (isinstance(uses, list) and "verify" in uses))
        and "d" not in word
    )


def _key(word: dict[str, Any], algorithm: str) -> PyJWK | None:
    try:
        key = PyJWK(word, algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    return None if key.Algorithm.check_key_length(key.key) else key  # RSA has at least 2048 bits
