"""What OpenAPI says of resumable uploads."""

from stor.objects.api.about import ABSENT, REFUSALS, UNMET
from stor.objects.api.shapes import Error
from stor.objects.api.uploads_headers import PIECE
from stor.objects.api.uploads_shapes import ShownUpload
from stor.web.routes import About, Media, Parameter

_VERSION = Parameter("Tus-Resumable", "header", "1.0.0", required=True)
_CHECKSUM = Parameter("Upload-Checksum", "header", "An algorithm and the base64 of the piece's digest")
_OFFSET = Parameter("Upload-Offset", "header", "Bytes that are here already", required=True)
_MISMATCH: dict[int, str | Media] = {460: Media("The piece has another checksum; nothing of it was kept", schema=Error)}
_TAKING: dict[int, str | Media] = {
    409: Media("Another offset, a later request, or a key that is taken", schema=Error),
    413: Media("More bytes than there is room for", schema=Error),
    415: Media(f"A body that is not {PIECE}", schema=Error),
    507: Media("No room left, or a quota used up", schema=Error),
    **UNMET,
    **_MISMATCH,
    **REFUSALS,
}

OPTIONS = About("What resumable uploads can", answers={204: "In the headers of tus 1.0.0"})
POST = About(
    "Begin a resumable upload, with its first bytes or without",
    (
        _VERSION,
        Parameter("Upload-Length", "header", "Its size in bytes; else Upload-Defer-Length: 1"),
        Parameter("Upload-Metadata", "header", "namespace, tenant, key, storage_class, content_type, and metadata"),
        _CHECKSUM,
    ),
    Media("The first bytes, or nothing", PIECE),
    {201: "Begun: go on at Location from Upload-Offset", **_TAKING},
)
PATCH = About(
    "Continue a resumable upload",
    (_VERSION, _OFFSET, _CHECKSUM),
    Media("The bytes from Upload-Offset on", PIECE),
    {204: "Kept; after the last bytes X-Object-Id names the object", **ABSENT, **_TAKING},
)
GET = About(
    "How far a resumable upload is; HEAD, with Tus-Resumable, tells it in headers",
    answers={200: Media("The upload, and its object when there is one", schema=ShownUpload), **ABSENT, **REFUSALS},
)
DELETE = About(
    "Give a resumable upload up; an object that it became stays",
    (_VERSION,),
    answers={204: "Given up", **ABSENT, **UNMET, **REFUSALS},
)
