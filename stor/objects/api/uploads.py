"""Resumable uploads over HTTP: tus 1.0.0 at `/v1/uploads`."""

from collections.abc import Iterable
from http import HTTPStatus

from msgspec import json

from stor.errors import BadRequest, Missing
from stor.objects.api import uploads_about as about
from stor.objects.api.shapes import error
from stor.objects.api.uploads_headers import (
    CHECKSUMS,
    EXTENSIONS,
    KNOWN,
    RESUMABLE,
    check_type,
    check_version,
    checksum,
    length,
    number,
    planned,
    reach,
    said,
)
from stor.objects.api.uploads_shapes import described, offset, shown_upload
from stor.objects.records import Object
from stor.objects.resumable.piece import Piece
from stor.objects.resumable.records import Plan, Upload, Wanted
from stor.objects.resumable.rules import Mismatch
from stor.objects.resumable.service import Uploads
from stor.streams.sink import Sink
from stor.web.answer import JSON_HEADERS, Answer, json_answer
from stor.web.call import Call
from stor.web.routes import Route

WRITE = "objects:write"
ALL = "/v1/uploads"
ONE = f"{ALL}/<path:upload_id>"
WRONG_CHECKSUM = 460  # tus has made it up: no HTTPStatus knows it


class UploadsApi:
    """A part of the site."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    def routes(self) -> Iterable[Route]:
        """Offer the protocol; what it can is told to anybody."""
        for rule in (ALL, ONE):
            yield Route("OPTIONS", rule, self.abilities, errors=error, hot=True, about=about.OPTIONS)
        for method, rule, handler, sink, told in (
            ("POST", ALL, self.create, self.first, about.POST),
            ("GET", ONE, self.show, None, about.GET),
            ("PATCH", ONE, self.append, self.next, about.PATCH),
            ("DELETE", ONE, self.remove, None, about.DELETE),
        ):
            yield Route(
                method,
                rule,
                handler,
                WRITE,
                sink=sink,
                errors=error,
                headers=(RESUMABLE, KNOWN),
                hot=True,
                about=told,
            )

    async def abilities(self, call: Call, **_: str) -> Answer:
        """Say what is understood here."""
        most = b"%d" % self._uploads.most_bytes
        extensions, checksums = EXTENSIONS.encode(), CHECKSUMS.encode()
        headers = [(b"tus-max-size", most), (b"tus-extension", extensions), (b"tus-checksum-algorithm", checksums)]
        return Answer(204, [RESUMABLE, KNOWN, *headers])

    # ---- bytes that come

    def first(self, call: Call) -> Sink:
        """Take the beginning of an upload, or nothing; all that the header shows to be wrong is refused."""
        check_version(call)
        wanted, made = length(call), planned(call)
        call.topic = made.name.namespace
        if call.announced != 0:
            check_type(call)
        return self._uploads.begin(Plan(made, wanted, said(call)), call.announced, checksum(call))

    async def create(self, call: Call) -> Answer:
        """Make the upload."""
        try:
            upload = await self._uploads.create(_piece(call))
        except Mismatch as why:
            return _mismatch(call, why)
        location = f"{ALL}/{upload.id}".encode()
        return Answer(201, [(b"location", location), *offset(upload)])

    def next(self, call: Call) -> Sink:
        """Take a piece; whether it may come is looked at while its first bytes do."""
        check_version(call)
        check_type(call)
        start = number(call, "Upload-Offset")
        if start is None:
            raise BadRequest("Upload-Offset is missing")
        upload_id = call.path.removeprefix(f"{ALL}/")
        wanted = Wanted(upload_id, reach(call), start, call.announced, number(call, "Upload-Length"))
        return self._uploads.piece(wanted, checksum(call))

    async def append(self, call: Call, **_: str) -> Answer:
        """Keep the piece; the answer to the last one is given when there is an object."""
        piece = _piece(call)
        try:
            upload = _topical(call, await self._uploads.append(piece))
        except Mismatch as why:
            return _mismatch(call, why)
        return Answer(204, offset(upload))

    # ---- the upload

    async def show(self, call: Call, upload_id: str) -> Answer:
        """Tell how far it is: to HEAD in the headers of tus, to GET in JSON too."""
        tenant = reach(call)
        if call.method == "HEAD":
            check_version(call)
            return Answer(200, described(_topical(call, await self._uploads.settled(upload_id, tenant))))
        upload = _topical(call, await self._uploads.find(upload_id, tenant))
        made = await self._made(upload)
        headers = [header for header in described(upload) if header not in JSON_HEADERS]
        return json_answer(shown_upload(upload, made), headers=headers)

    async def remove(self, call: Call, upload_id: str) -> Answer:
        """Forget it; an object that it became stays."""
        check_version(call)
        await self._uploads.remove(upload_id, reach(call))
        return Answer(204, [RESUMABLE])

    async def _made(self, upload: Upload) -> Object | None:
        if upload.object_id is None:
            return None
        try:
            return (await self._uploads.objects.find(upload.object_id)).object
        except Missing:
            return None


def _piece(call: Call) -> Piece:
    if not isinstance(call.body, Piece):
        raise TypeError("an upload comes in pieces")
    return call.body


def _topical(call: Call, upload: Upload) -> Upload:
    call.topic = upload.draft.name.namespace
    return upload


def _mismatch(call: Call, why: Mismatch) -> Answer:
    body = json.encode(error(HTTPStatus.BAD_REQUEST, why, call.request_id))
    return Answer(WRONG_CHECKSUM, [*JSON_HEADERS, RESUMABLE], body)
