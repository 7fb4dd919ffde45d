"""The door before the routes: it lets in whom it knows, and slows down who guesses."""

from collections import Counter as Counting
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from prometheus_client import CollectorRegistry, Counter

from stor.access.address import neighbourhood
from stor.access.attempts import Attempts
from stor.access.credentials import Caller, Credentials, Elsewhere
from stor.access.key import prefix_of
from stor.access.known import Known
from stor.access.offers import REFUSED, Offer, Scheme, offered
from stor.access.presign import SIGNATURE
from stor.access.principal import Principal
from stor.errors import Denied, Forbidden, StorError, TooMany, Unavailable

ASKED_AT_ONCE = 512  # credentials that are being looked up elsewhere
ASKED_BY_ONE = 64  # of them for one address


class Guard:
    """Says who a caller is, at once wherever that is known here; wrong credentials cost `attempts`."""

    def __init__(self, credentials: Credentials, attempts: Attempts, registry: CollectorRegistry) -> None:
        self._attempts = attempts
        self._asking: Counting[str] = Counting()
        self._refused = Counter(
            "stor_access_refused", "Requests that were not let in, by reason.", ["reason"], registry=registry
        )
        self.trust(credentials)

    def trust(self, credentials: Credentials) -> None:
        """Let in by these from now on, and by no others."""
        self._credentials = credentials
        keys, tokens = [*_some(credentials.live), *credentials.keys], [*_some(credentials.jwt, credentials.remote)]
        self._known: dict[Scheme, Sequence[Known]] = {"key": keys, "bearer": keys + tokens, "basic": []}

    def admit(self, caller: Caller, permission: str) -> Principal | Awaitable[Principal]:
        """Give who is calling and may do this, or something to await where somebody else must be asked.

        Raises, either way: Denied, Forbidden, TooMany (with the time to wait), Unavailable. `caller.principal` is set
        as soon as it is known.
        """
        try:
            offers = offered(caller.header("x-api-key"), caller.header("authorization"))
            for offer in offers:
                for known in self._known[offer.scheme]:
                    if (principal := known.find(offer.digest)) is not None:
                        return _let_in(caller, principal, permission)
            if offers:
                return self._examine(caller, offers, permission)
            return _let_in(caller, self._signed(caller), permission)
        except StorError as why:
            self._count(why)
            raise

    def _signed(self, caller: Caller) -> Principal:
        """A signature in the query proves itself, so that a right one is no concern of the limits."""
        presigner = self._credentials.presigner
        if presigner is None or SIGNATURE not in caller.query:
            raise Denied("this needs a credential")
        found = presigner.find(caller)
        if found is None:
            self._check_limits(caller, ())
            self._guessed(caller, ())
        return found

    def _examine(self, caller: Caller, offers: Sequence[Offer], permission: str) -> Principal | Awaitable[Principal]:
        """First what proves itself, which no limit concerns; then what could be a guess."""
        credentials = self._credentials
        found, offers = credentials.by_proof(offers)
        if found is None:
            if not credentials.was_good(offers):
                self._check_limits(caller, offers)
            found = credentials.by_password(offers)
        if found is not None:
            return _let_in(caller, found, permission)
        questions = [(source, offer) for source in credentials.elsewhere for offer in offers if source.concerns(offer)]
        if questions:
            return self._ask(caller, offers, questions, permission)
        return self._guessed(caller, offers)

    async def _ask(
        self,
        caller: Caller,
        offers: Sequence[Offer],
        questions: Sequence[tuple[Elsewhere, Offer]],
        permission: str,
    ) -> Principal:
        """What cannot be known costs nothing: it may have been a good one."""
        try:
            with self._one_more(caller.remote):
                found, guesses = await _asked(questions, offers)
            if found is not None:
                return _let_in(caller, found, permission)
            self._guessed(caller, guesses)
        except StorError as why:
            self._count(why)
            raise

    @contextmanager
    def _one_more(self, remote: str) -> Iterator[None]:
        """Bound what is asked at the same time, by one address and in all."""
        address = neighbourhood(remote)
        if self._asking[address] >= ASKED_BY_ONE or self._asking.total() >= ASKED_AT_ONCE:
            raise TooMany("too many credentials are being looked up", retry_after=1)
        self._asking[address] += 1
        try:
            yield
        finally:
            self._asking[address] -= 1
            if not self._asking[address]:
                del self._asking[address]

    # ---- Limits

    def _check_limits(self, caller: Caller, offers: Sequence[Offer]) -> None:
        for key in _places(caller, offers):
            self._attempts.check(key)

    def _guessed(self, caller: Caller, offers: Sequence[Offer]) -> NoReturn:
        for key in _places(caller, offers):
            self._attempts.failed(key)
        raise Denied(REFUSED)

    def _count(self, why: StorError) -> None:
        self._refused.labels(_REASONS.get(type(why), "other")).inc()


_REASONS = {Denied: "denied", Forbidden: "forbidden", TooMany: "too_many", Unavailable: "unavailable"}


def _some(*known: Known | None) -> list[Known]:
    return [each for each in known if each is not None]


def _let_in(caller: Caller, principal: Principal, permission: str) -> Principal:
    caller.principal = principal
    if not principal.may(permission):
        raise Forbidden(f"this needs the permission {permission}")
    return principal


async def _asked(
    questions: Sequence[tuple[Elsewhere, Offer]], offers: Sequence[Offer]
) -> tuple[Principal | None, Sequence[Offer]]:
    """Give the first who is known, and what is nobody's; Denied when all are genuine, and of no use here and now."""
    unknown: Unavailable | None = None
    left = list(offers)
    for source, offer in questions:
        try:
            found = await source.ask(offer) if offer in left else None
        except Unavailable as why:
            unknown = why
        except Denied:
            left.remove(offer)
        else:
            if found is not None:
                return found, ()
    if unknown is not None:
        raise unknown
    if not left:
        raise Denied(REFUSED)
    return None, left


def _places(caller: Caller, offers: Sequence[Offer]) -> Iterator[str]:
    """Where a guess is counted: at the address it comes from, and at the prefix of the key that it could be."""
    yield caller.remote
    yield from filter(None, (prefix_of(offer.text) for offer in offers))
