"""What S3's errors mean to us, in one table."""

import re

from twisted.logger import Logger

from stor.errors import BadRequest, Failed, Full, Missing, PreconditionFailed, StorError, TooLarge, Unavailable

CONFLICT = "ConditionalRequestConflict"  # another write of the key is under way: this one was not done
_RETRY_SECONDS = 1.0
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
_ALTERED = frozenset({"BadDigest", "XAmzContentSHA256Mismatch"})
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_WORDS = {
    "NoSuchKey": Missing("no such key"),
    "PreconditionFailed": PreconditionFailed("the key has another state"),
    CONFLICT: PreconditionFailed("the key has another state"),
    "KeyTooLongError": BadRequest("this bucket takes no key with so long a name"),
    "MetadataTooLarge": BadRequest("this bucket takes less metadata"),
    "EntityTooLarge": TooLarge("more bytes than the bucket takes"),
    "InvalidObjectState": Failed("this object is archived"),
    "QuotaExceeded": Full("the bucket's quota is used up"),
    "XMinioStorageFull": Full("the bucket's disk is full"),
    "NoSuchBucket": Unavailable("the bucket does not exist"),
    "ExpiredToken": Unavailable("the bucket refuses our credential"),
    "RequestTimeTooSkewed": Unavailable("the bucket refuses us: our clock is wrong"),
    "RequestTimeout": Unavailable("the storage waited too long for us", _RETRY_SECONDS),
}
_STATUSES = {
    401: Unavailable("the bucket refuses our credential"),
    403: Unavailable("the bucket refuses our credential"),
    404: Missing("no such key"),
    412: PreconditionFailed("the key has another state"),
    413: TooLarge("more bytes than the bucket takes"),
    507: Full("the storage is full"),
}
log = Logger()


class Altered(Unavailable):
    """Other bytes came to the server than were sent; `etag` is that of what it has kept, if it has."""

    etag: str | None = None


def altered(etag: str | None = None) -> Altered:
    """Give the error for bytes that the network changed."""
    log.error("bytes for the bucket were changed on their way")
    why = Altered("the bytes were changed on their way to the storage", retry_after=_RETRY_SECONDS)
    why.etag = etag
    return why


def code_of(body: bytes) -> str:
    """Find the error's name in an answer; empty when it has none, as those to HEAD."""
    found = _CODE.search(body)
    return found[1].decode() if found else ""


def is_altered(code: str) -> bool:
    """Tell whether the server has compared the bytes with their digest, and found others."""
    return code in _ALTERED


def is_passing(status: int, code: str) -> bool:
    """Tell whether the same request may succeed a moment later."""
    return status in _BUSY or code in {CONFLICT, "RequestTimeout"}


def fault(status: int, code: str) -> StorError:
    """Give our error for one of S3's; what only the operator can mend is also logged."""
    if is_altered(code):
        return altered()
    kind = _WORDS.get(code) or _STATUSES.get(status)
    if status in {401, 403} or code in {"NoSuchBucket", "RequestTimeTooSkewed"}:
        log.error("the bucket refuses us: {status} {code}", status=status, code=code)
    if kind is None and status in _BUSY:
        kind = Unavailable(f"the storage is not well ({code or status})", _RETRY_SECONDS)
    if kind is None:
        return Failed(f"the storage answered {status} {code}".rstrip())
    if isinstance(kind, Unavailable):
        return Unavailable(str(kind), kind.retry_after)
    return type(kind)(str(kind))  # a new one: an error that is raised carries where it was
