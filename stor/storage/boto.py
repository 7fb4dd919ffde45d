"""What S3 is asked seldom, by boto3 in threads: lists, copies, uploads in parts; and who we are to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from stor.errors import ConfigError, Missing, Unavailable
from stor.storage.faults import fault
from stor.storage.promise import Absent, Condition, Listed, Unfinished
from stor.storage.signing import Credentials
from stor.threads import Threads

_THREADS = 8
_PAGE = 1000
_SAFE = {"list_objects_v2", "list_multipart_uploads", "copy_object", "abort_multipart_upload"}  # to be asked twice
Marker = Mapping[str, str]
log = Logger()


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """Which bucket, where, and who we are there; without keys boto3's chain finds some (environment, files, roles)."""

    bucket: str
    endpoint: str | None = None  # a URL; None is AWS in `region`
    region: str = "us-east-1"
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    ca_file: Path | None = None  # the authorities of the endpoint's certificate, instead of the system's
    probe_prefix: str = ".stor/probe/"  # where the start tries what the server can, under random names
    connections: int = 64
    connect_seconds: float = 3.0
    read_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list: keys, what keys below begin with, and where the next page begins."""

    keys: Sequence[Listed]
    prefixes: Sequence[str]
    token: str | None


class Boto(Service):
    """A boto3 client whose calls run in threads of its own, and raise our errors."""

    def __init__(self, settings: BucketSettings, reactor: Any) -> None:
        self._settings = settings
        bound = 3 * (settings.connect_seconds + settings.read_seconds)
        self._threads = Threads("s3", _THREADS, reactor, seconds=bound)
        self._session: Any = None
        self._s3: Any = None

    def startService(self) -> None:
        """Take calls; `open` comes first."""
        super().startService()
        self._threads.startService()

    def stopService(self) -> Deferred[None]:
        """End what is under way."""
        super().stopService()
        return self._threads.stopService()

    async def open(self) -> str:
        """Make the client; gives the endpoint's URL."""
        self._session, self._s3 = await self._threads.run(_client, self._settings)
        return str(self._s3.meta.endpoint_url)

    async def credentials(self) -> Credentials:
        """Tell who we are; a role's are renewed in time."""
        return await self._threads.run(_credentials, self._session)

    async def page(self, prefix: str, after: str = "", token: str | None = None, delimiter: str = "") -> Page:
        """List up to 1000 keys that begin with `prefix`, from the first beyond `after` or where `token` says."""
        more = {"ContinuationToken": token} if token else {"StartAfter": after} if after else {}
        if delimiter:
            more["Delimiter"] = delimiter
        said = await self._call("list_objects_v2", Prefix=prefix, MaxKeys=_PAGE, **more)
        keys = [
            Listed(each["Key"], each["Size"], each["ETag"].strip('"'), each["LastModified"].timestamp())
            for each in said.get("Contents", ())
        ]
        prefixes = [each["Prefix"] for each in said.get("CommonPrefixes", ())]
        return Page(keys, prefixes, said.get("NextContinuationToken") if said["IsTruncated"] else None)

    async def copy(self, source: str, target: str, etag: str) -> None:
        """Copy a key if it has this etag."""
        where = {"Bucket": self._settings.bucket, "Key": source}
        await self._call("copy_object", Key=target, CopySource=where, CopySourceIfMatch=f'"{etag}"')

    async def begin_parts(self, key: str, content_type: str, metadata: Mapping[str, str]) -> str:
        """Begin an upload in parts; gives its id."""
        said = await self._call("create_multipart_upload", Key=key, ContentType=content_type, Metadata=dict(metadata))
        return str(said["UploadId"])

    async def end_parts(self, key: str, upload: str, etags: Sequence[str], when: Condition) -> str:
        """Make one key of the parts, if the condition holds; gives its etag."""
        parts = [{"ETag": f'"{etag}"', "PartNumber": n} for n, etag in enumerate(etags, 1)]
        only = {} if when is None else {"IfNoneMatch": "*"} if isinstance(when, Absent) else {"IfMatch": f'"{when}"'}
        said = await self._call(
            "complete_multipart_upload", Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **only
        )
        return str(said["ETag"]).strip('"')

    async def drop_parts(self, key: str, upload: str) -> None:
        """Forget an upload of ours; when that fails too, it is left `unfinished`."""
        try:
            await self._call("abort_multipart_upload", Key=key, UploadId=upload)
        except Exception:  # noqa: BLE001 - the error that brought us here is the one to be told
            log.failure("an upload in parts of {key} is left in the bucket", key=key)

    async def unfinished(self, prefix: str, marker: Marker) -> tuple[Sequence[Unfinished], Marker]:
        """List up to 1000 uploads in parts below `prefix`, from where the marker says; and where the next page begins.

        An empty marker is the beginning, and the end.
        """
        said = await self._call("list_multipart_uploads", Prefix=prefix, MaxUploads=_PAGE, **marker)
        found = [Unfinished(each["Key"], each["UploadId"]) for each in said.get("Uploads", ())]
        names = ("KeyMarker", "UploadIdMarker") if said.get("IsTruncated") else ()
        after = {name: said[f"Next{name}"] for name in names if said.get(f"Next{name}")}
        # Not all servers look at the prefix, and one that does not look at the marker would never come to an end.
        return [one for one in found if one.key.startswith(prefix)], {} if after == marker else after

    async def abandon(self, one: Unfinished) -> None:
        """Forget an upload; one that the server does not know is no error."""
        with suppress(Missing):
            await self._call("abort_multipart_upload", Key=one.key, UploadId=one.id)

    async def _call(self, name: str, **words: Any) -> Any:
        call, words = getattr(self._s3, name), {"Bucket": self._settings.bucket, **words}
        try:
            return await self._threads.run(_asked, call, words)
        except Unavailable:
            if name not in _SAFE:
                raise
            return await self._threads.run(_asked, call, words)


def _asked(call: Callable[..., Any], words: Mapping[str, Any]) -> Any:
    """Call boto3, and raise its errors as ours."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - half a second, only for who has S3

    try:
        return call(**words)
    except ClientError as error:
        status = error.response["ResponseMetadata"].get("HTTPStatusCode", 500)
        raise fault(status, error.response["Error"].get("Code", "")) from None
    except BotoCoreError as error:
        raise Unavailable(f"the storage cannot be reached: {type(error).__name__}", retry_after=1.0) from error


def _client(settings: BucketSettings) -> tuple[Any, Any]:
    """Give a session, which knows the credentials, and a client of it."""
    from boto3.session import Session  # noqa: PLC0415 - half a second, only for who has S3
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    keys = settings.access_key or None, settings.secret_key or None, settings.session_token or None
    config = Config(
        proxies={},  # our own connections use none either
        connect_timeout=settings.connect_seconds,
        read_timeout=settings.read_seconds,
        max_pool_connections=_THREADS,
        retries={"total_max_attempts": 1},  # we ask again ourselves, where that is safe
        request_checksum_calculation="when_required",  # others than AWS refuse the trailers
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if settings.endpoint else "auto"},
    )
    try:
        session = Session(*keys, settings.region)
        verify = None if settings.ca_file is None else os.fspath(settings.ca_file)
        return session, session.client("s3", endpoint_url=settings.endpoint, config=config, verify=verify)
    except (BotoCoreError, ValueError) as why:
        raise ConfigError(f"the bucket {settings.bucket} cannot be used: {why}") from None


def _credentials(session: Any) -> Credentials:
    known = session.get_credentials()
    if known is None:
        raise ConfigError("no credentials for S3 were found")
    frozen = known.get_frozen_credentials()
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token)
