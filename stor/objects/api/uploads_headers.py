"""What the headers of tus 1.0.0 say, as words that the rest of the object store knows."""

import re
from base64 import b64decode
from collections.abc import Mapping
from copy import copy

from stor.access.principal import NOBODYS
from stor.errors import BadRequest, Forbidden, PreconditionFailed, UnsupportedType
from stor.objects.api.headers import DEFAULT_TYPE, draft
from stor.objects.api.places import name_said, whose
from stor.objects.records import Draft
from stor.objects.resumable.rules import ALGORITHMS, Checksum, checksum_of, unknown
from stor.objects.rules import check_metadata
from stor.web.answer import Header
from stor.web.call import Call

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,checksum,expiration,termination"
CHECKSUMS = ",".join(ALGORITHMS)
PIECE = "application/offset+octet-stream"
RESUMABLE: Header = (b"tus-resumable", VERSION.encode())
KNOWN: Header = (b"tus-version", VERSION.encode())

_NUMBER = re.compile(r"[0-9]{1,18}")
_WORD = re.compile(r"[\x21-\x2b\x2d-\x7e]+")  # of Upload-Metadata: printable, without a comma
_HEADERS = {  # words that say what headers of `POST /v1/objects` do
    "namespace": b"x-namespace",
    "tenant": b"x-tenant",
    "tenant_id": b"x-tenant",
    "key": b"x-key",
    "storage_class": b"x-storage-class",
}
_TYPES = ("content_type", "filetype")
_OF_BODY = frozenset({b"content-type", b"content-digest", b"content-md5"})  # of the piece, not of the whole


def check_version(call: Call) -> None:
    """Raise PreconditionFailed for another version of the protocol than ours, and for none."""
    if call.header("tus-resumable") != VERSION:
        raise PreconditionFailed(f"Tus-Resumable: {VERSION} is what is spoken here", code="TUS_VERSION")


def check_type(call: Call) -> None:
    """Raise UnsupportedType where a body is no piece of an upload."""
    if (call.header("content-type") or "").strip().lower() != PIECE:
        raise UnsupportedType(f"a piece of an upload has the Content-Type {PIECE}", code="UNSUPPORTED_TYPE")


def number(call: Call, name: str) -> int | None:
    """Read a header that is a number of bytes; None where it does not stand."""
    header = call.header(name.lower())
    if header is None:
        return None
    if not _NUMBER.fullmatch(header):
        raise BadRequest(f"{name} is a number of bytes")
    return int(header)


def length(call: Call) -> int | None:
    """Read the length of an upload that is to be made; None when it will be said later, which must be said now."""
    found, later = number(call, "Upload-Length"), call.header("upload-defer-length")
    if call.header("upload-concat") is not None:
        raise BadRequest("uploads are not joined here: Upload-Concat is not understood")
    if later is not None and later != "1":
        raise BadRequest("Upload-Defer-Length is 1, where it stands")
    if (found is None) == (later is None):
        raise BadRequest("an upload has an Upload-Length, or an Upload-Defer-Length: 1")
    return found


def checksum(call: Call) -> Checksum | None:
    """Read Upload-Checksum."""
    header = call.header("upload-checksum")
    return None if header is None else checksum_of(header)


def reach(call: Call) -> str | None:
    """Give the tenant whose uploads a call may mean (None: all); another one's are Missing, if they exist or not."""
    try:
        return whose(call)
    except Forbidden:
        if call.principal is None or call.principal.tenant == NOBODYS:
            raise
        raise unknown(call.path.rpartition("/")[2]) from None


def said(call: Call) -> str:
    """Give Upload-Metadata as it came; BadRequest when it is malformed."""
    header = (call.header("upload-metadata") or "").strip()
    _words(header)
    return header


def planned(call: Call) -> Draft:
    """Read what the upload is to be, from the headers of `POST /v1/objects` and from Upload-Metadata.

    Other words become metadata where they can be kept. BadRequest and Forbidden as for `POST /v1/objects`.
    """
    words = _words(said(call))
    headers = {name: value for name, value in call.headers.items() if name not in _OF_BODY}
    for word, name in _HEADERS.items():
        if word in words and headers.setdefault(name, words[word]) != words[word]:
            raise BadRequest(f"Upload-Metadata says another {word}")
    kind = next((words[word] for word in _TYPES if words.get(word)), DEFAULT_TYPE.encode())
    rest = {word: value for word, value in words.items() if word not in _HEADERS and word not in _TYPES}
    meant = copy(call)
    meant.headers = {**_metadata(rest), **headers, b"content-type": kind}
    return draft(meant, name_said(meant))


def _words(header: str) -> dict[str, bytes]:
    """Take Upload-Metadata apart."""
    words: dict[str, bytes] = {}
    for pair in header.split(",") if header else ():
        word, _, value = pair.strip(" ").partition(" ")
        if not _WORD.fullmatch(word) or word in words:
            raise BadRequest("Upload-Metadata is words, each once, with values in base64: `key YS9i,draft`")
        try:
            words[word] = b64decode(value.strip(" "), validate=True)
        except ValueError:
            raise BadRequest("the values of Upload-Metadata are base64") from None
    return words


def _metadata(words: Mapping[str, bytes]) -> dict[bytes, bytes]:
    """Give headers for those that can be metadata of an object: the others are told by the upload alone."""
    found = {}
    for word, value in words.items():
        try:
            check_metadata({word.lower(): value.decode()})
        except (BadRequest, UnicodeDecodeError):
            continue
        found[b"x-meta-" + word.lower().encode()] = value
    return found
