"""Which piece may be added to which upload, and which failures are for ever; values only."""

import re
import secrets
from base64 import b64decode
from dataclasses import dataclass

from msgspec import Struct, json

from stor.errors import (
    BadRequest,
    Conflict,
    Failed,
    Full,
    Missing,
    PreconditionFailed,
    StorError,
    TooLarge,
    Unavailable,
    Unprocessable,
)
from stor.objects.resumable.records import State, Upload, Wanted

FOLDER = "uploads/"
OVERTAKEN = "UPLOAD_OVERTAKEN"
ALGORITHMS = {"sha1": 20, "md5": 16, "sha256": 32, "sha512": 64}  # names of hashlib, and the digests' sizes in bytes
_COPY = re.compile(r"uploads/([0-9a-f-]{36})/([0-9]{16})-[0-9a-f]{20}")
_CODED = (BadRequest, Missing, Conflict, PreconditionFailed, Unprocessable, TooLarge, Full, Failed)
_FINAL = {"KEY_TAKEN", "DIGEST_MISMATCH", "UPLOAD_DAMAGED"}
_KINDS = {kind.__name__: kind for kind in _CODED}


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a piece must have: an algorithm (a name of hashlib) and its digest in hex."""

    algorithm: str
    digest: str


class Mismatch(StorError):
    """A piece has another checksum than was said: nothing of it was kept."""


class Doubtful(Unavailable):
    """The part at `start` is not as it was put: perhaps for ever, perhaps its store is only away."""

    def __init__(self, start: int) -> None:
        super().__init__("bytes of this upload are not found as they were put: they are looked for again")
        self.start = start


class _Kept(Struct):
    kind: str
    message: str
    code: str | None = None
    context: dict[str, str] | None = None


def checksum_of(header: str) -> Checksum:
    """Read Upload-Checksum, an algorithm and base64; BadRequest for an unknown algorithm and for what is no digest."""
    algorithm, _, text = header.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise BadRequest(f"the checksums known here are {', '.join(ALGORITHMS)}", code="UNKNOWN_CHECKSUM")
    try:
        digest = b64decode(text.strip(), validate=True)
    except ValueError:
        digest = b""
    if len(digest) != ALGORITHMS[algorithm]:
        raise BadRequest(f"a checksum of {algorithm} is the base64 of {ALGORITHMS[algorithm]} bytes")
    return Checksum(algorithm, digest.hex())


def copy_name(upload_id: str, offset: int) -> str:
    """Give the key of a new part: never used before, and never again."""
    return f"{FOLDER}{upload_id}/{offset:016}-{secrets.token_hex(10)}"


def place_of(copy: str) -> tuple[str, int] | None:
    """Give the upload and the offset that such a key names; None for any other."""
    found = _COPY.fullmatch(copy)
    return None if found is None else (found[1], int(found[2]))


def unknown(upload_id: str) -> Missing:
    """Give the error for an upload that is not there, or not for this caller: one cannot be told from the other."""
    return Missing("no such upload", code="UPLOAD_NOT_FOUND", context={"id": upload_id})


def room(upload: Upload, wanted: Wanted, most_bytes: int, most_parts: int) -> int:
    """Give how many bytes a piece may have; raises what forbids it.

    The upload's own error; Conflict for another offset than the upload's (UPLOAD_OFFSET); BadRequest for another length
    than was said before, and for one part too many; TooLarge for more bytes than there is room for.
    """
    if upload.state is State.FAILED and upload.error is not None:
        raise upload.error
    if wanted.offset != upload.received:
        context = {"offset": str(upload.received)}
        raise Conflict("the upload has another offset", code="UPLOAD_OFFSET", context=context)
    length = _length(upload, wanted)
    left = (most_bytes if length is None else min(length, most_bytes)) - upload.received
    if left < 0 or (length or 0) > most_bytes or (wanted.announced or 0) > left:
        raise too_long(max(left, 0))
    if upload.parts >= most_parts and wanted.announced != 0:
        raise BadRequest(f"an upload has at most {most_parts} parts: send larger ones", code="TOO_MANY_PARTS")
    return left


def _length(upload: Upload, wanted: Wanted) -> int | None:
    if wanted.length is None or upload.length is None:
        return upload.length if wanted.length is None else wanted.length
    if wanted.length != upload.length:
        raise BadRequest("the length of an upload is said once", code="UPLOAD_LENGTH")
    return upload.length


def too_long(left: int) -> TooLarge:
    """Give the error for more bytes than the upload has room for."""
    return TooLarge("more bytes than the upload has room for", code="UPLOAD_TOO_LONG", context={"left": str(left)})


def overtaken() -> Conflict:
    """Give the error for a piece whose place another one has taken meanwhile."""
    return Conflict("a later request has continued this upload", code=OVERTAKEN)


def damaged(start: int) -> Failed:
    """Give the error for a part that is certainly not there as it was put."""
    context = {"at": str(start)}
    return Failed("bytes of this upload were lost: begin it anew", code="UPLOAD_DAMAGED", context=context)


def is_final(error: StorError) -> bool:
    """Tell whether an object that could not be made never can be: the bytes, or the key, have decided it.

    All else may pass, as a store that refuses us for a while, and a quota that is used up.
    """
    if isinstance(error, PreconditionFailed):
        return error.code in {None, "PRECONDITION_FAILED"}
    if isinstance(error, TooLarge):
        return error.code in {"TOO_LARGE", "QUOTA_EXCEEDED"}
    return error.code in _FINAL


def kept(error: StorError) -> str:
    """Write an error down as JSON."""
    context = None if error.context is None else dict(error.context)
    return json.encode(_Kept(type(error).__name__, str(error), error.code, context)).decode()


def recalled(text: str) -> StorError:
    """Give an error that was written down; those that only time can mend come as Unavailable."""
    found = json.decode(text, type=_Kept)
    kind = _KINDS.get(found.kind)
    if kind is None:
        return Unavailable(found.message)
    return kind(found.message, code=found.code, context=found.context)
