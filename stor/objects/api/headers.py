"""Headers: what those of an upload say of the object to come, and those that describe an object to its readers."""

from functools import lru_cache

from twisted.web.http import datetimeToString

from stor.errors import BadRequest, Forbidden, LengthRequired
from stor.objects.digests import expected
from stor.objects.records import Draft, Name, Object, StorageClass, Wish
from stor.objects.rules import check_content_type, check_metadata
from stor.web.answer import Header
from stor.web.call import Call
from stor.web.conditions import tags

DEFAULT_TYPE = "application/octet-stream"
_META = b"x-meta-"
_CLASSES = {each.value: each for each in StorageClass}
_PARTIAL = frozenset({b"content-range", b"content-encoding", b"if-modified-since", b"if-unmodified-since"})
_ASKING = frozenset({b"if-match", b"if-none-match"})
_DIGESTS = frozenset({b"content-digest", b"content-md5", b"x-content-hash"})
# Whatever was stored, a browser must not run it in our name: not as a page (sandbox), and not by guessing (nosniff).
_GUARDS: tuple[Header, ...] = (
    (b"accept-ranges", b"bytes"),
    (b"cache-control", b"private, no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
)
_RUN = {b"audioworklet", b"paintworklet", b"script", b"serviceworker", b"sharedworker", b"style", b"worker", b"xslt"}


def draft(call: Call, name: Name) -> Draft:
    """Read what is to be made under this name; BadRequest for what makes no sense, Unprocessable for contradictions."""
    headers = call.headers
    if not _PARTIAL.isdisjoint(headers):
        _refuse(call)
    kind = call.header("content-type") or DEFAULT_TYPE
    if kind is not DEFAULT_TYPE:
        check_content_type(kind)
    wish = _NO_WISH if _ASKING.isdisjoint(headers) else _wish(call, name)
    digests = {} if _DIGESTS.isdisjoint(headers) else _digests(call)
    return Draft(name, storage_class(call), kind, metadata(call), wish, digests)


_NO_WISH = Wish()


def check_length(call: Call) -> None:
    """Raise LengthRequired when nothing says how long the body is: an upload that lost its body is no empty object."""
    if not call.announced and call.announced is not None and b"content-length" not in call.headers:
        raise LengthRequired("Content-Length or Transfer-Encoding: chunked is missing")


def storage_class(call: Call) -> StorageClass:
    """Read X-Storage-Class, or `storage_class` of the query; hot when nothing is said."""
    said = call.header("x-storage-class")
    if call.raw_query:
        asked = call.query.get("storage_class", said)
        if said is not None and asked != said:
            raise BadRequest("X-Storage-Class and the query say different things")
        said = asked
    if said is None:
        return StorageClass.HOT
    found = _CLASSES.get(said.lower())
    if found is None:
        raise BadRequest("a storage class is hot or cold")
    return found


def metadata(call: Call) -> dict[str, str]:
    """Read X-Meta-…, names in lower case, values in UTF-8."""
    found = {
        name[len(_META) :].decode(): value.decode("utf-8", "surrogateescape")
        for name, value in call.headers.items()
        if name.startswith(_META)
    }
    if found:
        check_metadata(found)
    return found


def match(call: Call) -> frozenset[str] | None:
    """Read If-Match: the ETags it names, {"*"} for any, None where it does not stand. A weak one is none of ours."""
    header = call.header("if-match")
    if header is None:
        return None
    found = tags(header)
    return frozenset({"*"}) if found.is_any else found.tags


def refuse_to_run(call: Call) -> None:
    """Raise Forbidden where a browser says that it would run the bytes (Fetch Metadata): a type may be a lie."""
    if call.headers.get(b"sec-fetch-dest", b"").lower() in _RUN:
        raise Forbidden("objects are not served as scripts or styles")


def described(found: Object) -> list[Header]:
    """Give the headers of an object to read."""
    digest = found.digest.encode()
    headers = [
        (b"etag", b'"sha256:%b"' % digest),
        (b"content-type", found.content_type.encode()),
        (b"last-modified", _date(found.updated_at // 1_000_000)),
        (b"x-object-id", found.id.encode()),
        (b"x-content-hash", b"sha256:%b" % digest),
        (b"x-storage-class", found.storage_class.value.encode()),
        *_GUARDS,
    ]
    if found.metadata:
        headers += [(_META + name.encode(), value.encode()) for name, value in found.metadata.items()]
    return headers


@lru_cache(maxsize=1024)
def _date(seconds: int) -> bytes:
    """Write a time as HTTP does."""
    return bytes(datetimeToString(seconds))


def _wish(call: Call, name: Name) -> Wish:
    none_match, wanted = call.header("if-none-match"), match(call)
    if none_match is not None and none_match.strip() != "*":
        raise BadRequest("a write knows If-None-Match: * only")
    if wanted is not None and (none_match is not None or not name.key):
        raise BadRequest("If-Match is about a key that is taken")
    return Wish(none_match is not None, wanted)


def _digests(call: Call) -> dict[str, str]:
    return expected(call.header("content-digest"), call.header("content-md5"), call.header("x-content-hash"))


def _refuse(call: Call) -> None:
    """To leave out what an upload says of itself would be to store something else, or to lose somebody's work."""
    if b"content-range" in call.headers:  # RFC 9110, 14.5
        raise BadRequest("an object is written whole: Content-Range is not understood")
    if call.headers.get(b"content-encoding", b"identity").lower() not in {b"", b"identity"}:
        raise BadRequest("Content-Encoding is not kept: send the bytes as they are")
    if b"if-modified-since" in call.headers or b"if-unmodified-since" in call.headers:
        raise BadRequest("a write knows If-Match and If-None-Match: * only")
