"""What a request's headers offer as a proof of who is calling."""

from base64 import b64decode
from typing import Literal, NamedTuple

from stor.access.passwords import digest

REFUSED = "Invalid or expired token"  # what is said of a wrong credential, whichever kind it is
Scheme = Literal["key", "bearer", "basic"]
_SCHEMES: dict[str, Scheme] = {"bearer": "bearer", "apikey": "key", "basic": "basic"}


class Offer(NamedTuple):
    """One secret, how it was said, and its SHA-256, by which it is looked up."""

    scheme: Scheme
    text: str
    digest: bytes

    def __repr__(self) -> str:
        return f"Offer({self.scheme!r}, ***)"


def offered(api_key: str | None, authorization: str | None) -> list[Offer]:
    """Read `X-API-Key: K` and `Authorization: Bearer K`, `ApiKey K` or Basic.

    Of Basic only the password counts (RFC 7617); one that cannot be decoded is offered as it stands, so that it is
    counted as a failure. A scheme with nothing behind it offers nothing.
    """
    offers = []
    if api_key:
        offers.append(_offer("key", api_key))
    if authorization:
        word, _, rest = authorization.strip().partition(" ")
        scheme = _SCHEMES.get(word.lower())
        text = rest.strip()
        if scheme is not None and text:
            offers.append(_offer(scheme, _password(text) if scheme == "basic" else text))
    return offers


def _offer(scheme: Scheme, text: str) -> Offer:
    return Offer(scheme, text, digest(text.encode("utf-8", "surrogateescape")))


def _password(text: str) -> str:
    try:
        _, _, password = b64decode(text, validate=True).partition(b":")
    except ValueError:
        return text
    return password.decode("utf-8", "surrogateescape")
