"""All by which we may know who is calling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stor.access.jwt import Jwt
from stor.access.known import Known
from stor.access.live import LiveKeys
from stor.access.offers import REFUSED, Offer
from stor.access.presign import Presigner
from stor.access.principal import Principal
from stor.access.remote import Remote
from stor.errors import Denied


class Caller(Protocol):
    """What we want to know of a request, and tell it: `principal`, also when it may not do what it wants."""

    principal: Principal | None

    @property
    def method(self) -> str:
        """In capitals."""

    @property
    def path(self) -> str:
        """Decoded."""

    @property
    def query(self) -> Mapping[str, str]:
        """Looked at only where no header brings a credential."""

    @property
    def remote(self) -> str:
        """The client's true address."""

    def header(self, name: str) -> str | None:
        """Give a header by its lower-case name."""


class Elsewhere(Known, Protocol):
    """Credentials about which somebody else may have to be asked."""

    def was_good(self, offer: Offer) -> bool:
        """Tell whether it was good a while ago, so that it is no guess."""

    def concerns(self, offer: Offer) -> bool:
        """Tell whether asking makes sense."""

    async def ask(self, offer: Offer) -> Principal | None:
        """Ask; None when it is nobody's, Unavailable when that cannot be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Without any of them nobody is let in.

    `keys` are too long to be guessed, and are looked up whatever else happens; `passwords` could be guessed, and are
    compared only within the limits.
    """

    keys: Sequence[Known] = ()
    passwords: Sequence[Known] = ()
    live: LiveKeys | None = None
    jwt: Jwt | None = None
    remote: Remote | None = None
    presigner: Presigner | None = None

    @property
    def elsewhere(self) -> tuple[Elsewhere, ...]:
        """Those who may have to ask."""
        sources: tuple[Elsewhere | None, ...] = (self.live, self.jwt, self.remote)
        return tuple(source for source in sources if source is not None)

    def by_proof(self, offers: Sequence[Offer]) -> tuple[Principal | None, Sequence[Offer]]:
        """Give whom a signature proves, and what is worth another look; Denied when nothing is.

        A genuine token that may not be used here and now is neither a proof nor a guess.
        """
        if self.jwt is None:
            return None, offers
        left = []
        for offer in offers:
            try:
                found = self.jwt.prove(offer)
            except Denied:
                continue
            if found is not None:
                return found, ()
            left.append(offer)
        if not left:
            raise Denied(REFUSED)
        return None, left

    def by_password(self, offers: Sequence[Offer]) -> Principal | None:
        """Give who has one of these passwords; all are compared, so the time taken does not tell which one it was."""
        found = [known.find(offer.digest) for offer in offers for known in self.passwords]
        return next((principal for principal in found if principal is not None), None)

    def was_good(self, offers: Sequence[Offer]) -> bool:
        """Tell whether one of these was good a while ago, and only has to be asked about again."""
        return any(source.was_good(offer) for source in self.elsewhere for offer in offers)
