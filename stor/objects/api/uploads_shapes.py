"""How an upload is shown: in the headers of tus, and in JSON."""

from collections.abc import Mapping

from msgspec import Struct
from twisted.web.http import datetimeToString

from stor.objects.api.shapes import Fault, Shown, moment, shown
from stor.objects.api.uploads_headers import RESUMABLE
from stor.objects.records import Object
from stor.objects.resumable.records import State, Upload
from stor.objects.rules import MICROSECONDS
from stor.web.answer import Header


class ShownUpload(Struct, frozen=True):
    """An upload; `status` is OPEN, FINISHING (all bytes are here), DONE or FAILED, and `error` why there is no object.

    `size_bytes` is null as long as nobody has said it. `object` is null when there is none, or none any more.
    """

    id: str
    status: str
    namespace: str
    tenant_id: str
    key: str | None
    storage_class: str
    content_type: str
    metadata: Mapping[str, str]
    size_bytes: int | None
    received_bytes: int
    object_id: str | None
    content_hash: str | None
    object: Shown | None
    error: Fault | None
    created_at: str
    expires_at: str


def shown_upload(upload: Upload, made: Object | None) -> ShownUpload:
    """Show an upload with the object that it became."""
    draft, error = upload.draft, upload.error
    return ShownUpload(
        id=upload.id,
        status="FINISHING" if upload.is_whole else upload.state.value,
        namespace=draft.name.namespace,
        tenant_id=draft.name.tenant,
        key=draft.name.key or None,
        storage_class=draft.storage_class.value,
        content_type=draft.content_type,
        metadata=draft.metadata,
        size_bytes=upload.length,
        received_bytes=upload.received,
        object_id=upload.object_id,
        content_hash=None if upload.digest is None else f"sha256:{upload.digest}",
        object=None if made is None else shown(made),
        error=None if error is None else Fault(error.code or "UNAVAILABLE", str(error), error.context or {}),
        created_at=moment(upload.created_at),
        expires_at=moment(upload.expires_at),
    )


def offset(upload: Upload) -> list[Header]:
    """Give the headers that tell how far an upload is, and what it has become."""
    found: list[Header] = [RESUMABLE, (b"upload-offset", b"%d" % upload.received), (b"cache-control", b"no-store")]
    if upload.state is State.OPEN:
        found.append((b"upload-expires", bytes(datetimeToString(upload.expires_at // MICROSECONDS))))
    if upload.object_id is not None and upload.digest is not None:
        found.append((b"x-object-id", upload.object_id.encode()))
        found.append((b"x-content-hash", b"sha256:" + upload.digest.encode()))
    return found


def described(upload: Upload) -> list[Header]:
    """Give all that the headers of tus tell of an upload."""
    found = offset(upload)
    if upload.length is None:
        found.append((b"upload-defer-length", b"1"))
    else:
        found.append((b"upload-length", b"%d" % upload.length))
    if upload.said:
        found.append((b"upload-metadata", upload.said.encode()))
    return found
