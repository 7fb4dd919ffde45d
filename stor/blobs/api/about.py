"""What OpenAPI says of each route of the sync API."""

from dataclasses import replace

from msgspec import Struct

from stor.blobs.api.operations import Asked, Results
from stor.blobs.api.preconditions import VERSION
from stor.blobs.api.shapes import Error, File, Problems
from stor.web.routes import About, Media, Parameter


class Shown(Struct):
    """The index, or a part of it: a page has `next`, a delta `cursor` and `reset`."""

    files: dict[str, File]
    index_last_modified: str
    index_version: int
    next: str | None = None
    cursor: str | None = None
    reset: bool | None = None


INDEX = Media("The index", schema=Shown)
CONTENT = Media("The content", "application/octet-stream")
TENANT = Parameter("X-Tenant", "header", "Whose tree, for a credential of all tenants")
IF_MATCH = Parameter("If-Match", "header", "The live file has one of these ETags")
IF_NONE = Parameter("If-None-Match", "header", "*: nothing is here")
IF_VERSION = Parameter(VERSION, "header", "The current version; 0: nothing was ever here")
NOT_MODIFIED = Parameter("If-None-Match", "header", "The ETag that the reader has")
CHANGED = (IF_MATCH, IF_NONE, TENANT)
REFUSALS: dict[int, str | Media] = {
    400: Media("The path, a header or the body makes no sense", schema=Error),
    401: Media("No credential, or a refused one", schema=Error),
    403: Media("Not with this credential", schema=Error),
    422: Media("A header or a query that is missing or cannot be read", schema=Problems),
    429: Media("Too often, or too many at once", schema=Error),
    503: Media("The store or the auth service is away", schema=Error),
}
ABSENT: dict[int, str | Media] = {404: Media("Never there, or deleted", schema=Error)}
UNMET: dict[int, str | Media] = {412: Media("A precondition does not hold", schema=Error)}
TOO_MUCH: dict[int, str | Media] = {
    413: Media("More bytes than a file may have", schema=Error),
    507: Media("No room left", schema=Error),
}

GET = About(
    "Read a file, one of its old versions, or the list of them",
    (
        NOT_MODIFIED,
        Parameter("If-Modified-Since", "header", "The Last-Modified that the reader has"),
        IF_MATCH,
        Parameter("If-Unmodified-Since", "header", "The file has not changed since"),
        Parameter("Range", "header", "One range of bytes"),
        Parameter("If-Range", "header", "The state to which the range belongs"),
        Parameter("version", "query", "An old version"),
        Parameter("versions", "query", "The list of versions, instead of the content"),
        TENANT,
    ),
    answers={
        200: CONTENT,
        206: Media("A part of the content", "application/octet-stream"),
        304: "The reader has it",
        416: Media("A range beyond the end", schema=Error),
        **ABSENT,
        **UNMET,
        **REFUSALS,
    },
)
PUT = About(
    "Replace a file whole, if the preconditions hold",
    (Parameter("Content-MD5", "header", "new, or the md5 of the current content"), IF_VERSION, *CHANGED),
    CONTENT,
    {201: "Created", 200: "Updated", **UNMET, **TOO_MUCH, **REFUSALS},
)
DELETE = About(
    "Leave a tombstone", (IF_VERSION, IF_MATCH, TENANT), answers={204: "Deleted", **ABSENT, **UNMET, **REFUSALS}
)
NAMESPACED_PUT = replace(
    PUT,
    parameters=(Parameter("Content-MD5", "header", "The md5 of the payload"), IF_VERSION, *CHANGED),
    answers={**PUT.answers, 201: INDEX, 200: INDEX},
)
NAMESPACED_DELETE = replace(DELETE, answers={**ABSENT, **UNMET, **REFUSALS, 200: INDEX})
RESTORE = About(
    "Make an old version the current one",
    (Parameter("restore", "query", "The version", required=True), IF_VERSION, *CHANGED),
    answers={201: "Created", 200: "Updated", **ABSENT, **UNMET, **TOO_MUCH, **REFUSALS},
)
NAMESPACED_RESTORE = replace(RESTORE, answers={**RESTORE.answers, 201: INDEX, 200: INDEX})
SYNC = About(
    "Read the index, a page of it, or what changed",
    (
        NOT_MODIFIED,
        Parameter("since", "query", "The cursor of an earlier answer: only what changed after it"),
        Parameter("limit", "query", "Files in a page, 1 to 10000"),
        Parameter("after", "query", "The last path of the page before"),
        TENANT,
    ),
    answers={200: INDEX, 304: "The reader has it", **REFUSALS},
)
BATCH = About(
    "Do many operations, each for itself",
    (TENANT,),
    Media("The operations", schema=Asked),
    {200: Media("The result of each", schema=Results), 413: Media("Too large", schema=Error), **REFUSALS},
)
EVENTS = About(
    "Listen to what changes, by Server-Sent Events or WebSocket",
    (
        Parameter("since", "query", "The cursor to begin behind"),
        Parameter("Last-Event-ID", "header", "The same, from a browser that comes again"),
        Parameter("namespace", "query", "Only what is below it"),
        TENANT,
    ),
    answers={200: Media("Events", "text/event-stream"), 101: "A WebSocket", **REFUSALS},
)
