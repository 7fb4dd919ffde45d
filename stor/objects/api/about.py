"""What OpenAPI says of each route of the object store."""

from msgspec import Struct

from stor.objects.api.changing import Wanted
from stor.objects.api.presigning import Asked, Signed
from stor.objects.api.shapes import Error, Shown
from stor.web.routes import About, Media, Parameter


class Held(Struct):
    """Bytes that are here."""

    content_hash: str
    size_bytes: int


BYTES = Media("The bytes", "application/octet-stream")
TENANT = Parameter("X-Tenant", "header", "Whose, for a credential of all tenants")
IF_MATCH = Parameter("If-Match", "header", "The object has one of these ETags")
REFUSALS: dict[int, str | Media] = {
    400: Media("A name, a header or the body makes no sense", schema=Error),
    401: Media("No credential, or a refused one", schema=Error),
    403: Media("Not with this credential, or not for this tenant", schema=Error),
    429: Media("Too often, or too many at once", schema=Error),
    503: Media("The database or the store is away", schema=Error),
}
ABSENT: dict[int, str | Media] = {404: Media("Not there, or not for this credential", schema=Error)}
UNMET: dict[int, str | Media] = {412: Media("A precondition does not hold", schema=Error)}
_MAKING: dict[int, str | Media] = {
    201: Media("Made", schema=Shown),
    200: Media("The key has these bytes already", schema=Shown),
    404: Media("X-Content-Hash without a body: no object of this tenant has these bytes", schema=Error),
    409: Media("The key is taken, or being written", schema=Error),
    411: Media("Neither Content-Length nor chunks", schema=Error),
    413: Media("More bytes than an object may have", schema=Error),
    422: Media("The bytes have another digest than was said", schema=Error),
    507: Media("No room left, or a quota used up", schema=Error),
    **UNMET,
    **REFUSALS,
}
_SAYING = (
    Parameter("X-Storage-Class", "header", "hot or cold; the query's storage_class says the same"),
    Parameter("Content-Type", "header", "Kept; application/octet-stream when nothing is said"),
    Parameter("Content-Digest", "header", "sha-256 or sha-512 of the bytes (RFC 9530)"),
    Parameter("Content-MD5", "header", "MD5 of the bytes in base64"),
    Parameter("X-Content-Hash", "header", "sha256: and hex; without a body: take the bytes that are here"),
    Parameter("If-Match", "header", "Replace what the key has, if it has one of these ETags"),
    Parameter("If-None-Match", "header", "*: only if the key is free"),
)

POST = About(
    "Make an object",
    (
        Parameter("X-Namespace", "header", "Or the query's namespace", required=True),
        Parameter("X-Tenant", "header", "Or tenant_id of the query; left out, the credential's own"),
        Parameter("X-Key", "header", "Or the query's key; left out, the object has none"),
        *_SAYING,
    ),
    BYTES,
    _MAKING,
)
PUT = About("Make an object under a key: {namespace}/{tenant}/{key}", _SAYING, BYTES, _MAKING)
GET = About(
    "Read an object",
    (
        Parameter("Range", "header", "One range of bytes"),
        Parameter("If-Range", "header", "The state to which the range belongs"),
        Parameter("If-None-Match", "header", "The ETag that the reader has"),
        Parameter("If-Modified-Since", "header", "The Last-Modified that the reader has"),
        IF_MATCH,
        TENANT,
    ),
    answers={
        200: BYTES,
        206: Media("A part of the bytes", "application/octet-stream"),
        304: "The reader has it",
        416: Media("A range beyond the end", schema=Error),
        **ABSENT,
        **UNMET,
        **REFUSALS,
    },
)
PATCH = About(
    "Change what is said of an object, or its class",
    (IF_MATCH, TENANT),
    Media("What is to be different", schema=Wanted),
    {200: Media("The object", schema=Shown), **ABSENT, **UNMET, **REFUSALS},
)
DELETE = About("Delete an object", (IF_MATCH, TENANT), answers={204: "Deleted", **ABSENT, **UNMET, **REFUSALS})
HELD = About(
    "Tell whether an object of the caller's tenant has these bytes",
    (TENANT,),
    answers={200: Media("It has", schema=Held), **ABSENT, **REFUSALS},
)
PRESIGN = About(
    "Make a URL that needs no credential",
    (TENANT,),
    Media("For what, and for how long", schema=Asked),
    {200: Media("The URL", schema=Signed), 409: Media("It has no key to PUT to", schema=Error), **ABSENT, **REFUSALS},
)
