"""A blob sync service of the obvious design, for reference: FastAPI, boto3, an index object rewritten on every PUT.

It does what the older service's README says: the precondition by a HEAD of the object, the object with its metadata,
then the index read, changed and written back under a lock; a token is checked at the auth service on each request,
over one pooled client. Handlers are plain functions, so FastAPI runs them in its thread pool. It is given what
makes it fast without changing its design: uvloop, httptools, connections for all its threads, and no access log.
"""

import hashlib
import json
import os
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from threading import Lock
from typing import Annotated, Any

import boto3
import httpx
import uvicorn
from botocore.config import Config
from botocore.exceptions import ClientError
from fastapi import Body, Depends, FastAPI, Header, HTTPException, Response

THREADS = 40  # of the pool in which FastAPI runs plain functions
AUTH_SECONDS = 10.0
MISSING = {"404", "NoSuchKey", "NotFound"}

BUCKET = os.environ["S3_BUCKET"]
PREFIX = os.environ["S3_PREFIX"]
INDEX = f"{PREFIX}/.sync-index.json"

s3: Any = boto3.client(
    "s3",
    endpoint_url=os.environ["S3_ENDPOINT_URL"],
    region_name=os.environ["AWS_REGION"],
    config=Config(max_pool_connections=THREADS, request_checksum_calculation="when_required"),
)
auth = httpx.Client(
    timeout=AUTH_SECONDS, limits=httpx.Limits(max_connections=THREADS, max_keepalive_connections=THREADS)
)
index_lock = Lock()
app = FastAPI()


def token_checked(authorization: Annotated[str | None, Header()] = None) -> None:
    """Ask the auth service, each time."""
    if not authorization or not authorization.startswith("Bearer "):
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "Missing credential")
    token = authorization.removeprefix("Bearer ")
    asked = {"token": token, "app_id": os.environ["HEARE_AUTH_APP_ID"], "api_key": token}
    try:
        answer = auth.post(os.environ["HEARE_AUTH_URL"] + "/verify", json=asked)
    except httpx.HTTPError:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "Authentication service unavailable") from None
    if answer.status_code != HTTPStatus.OK:
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "Invalid or expired token")


CHECKED = [Depends(token_checked)]


@app.get("/health")
def health() -> dict[str, str]:
    """Say that it listens."""
    return {"status": "ok", "storage": "connected"}


@app.get("/blob/{path:path}", dependencies=CHECKED)
def get_blob(path: str) -> Response:
    """Give a file."""
    try:
        found = s3.get_object(Bucket=BUCKET, Key=f"{PREFIX}/{path}")
    except ClientError as why:
        raise _not_found(why, path) from None
    if found["Metadata"].get("is-deleted") == "true":
        raise HTTPException(HTTPStatus.NOT_FOUND, f"File is deleted: {path}")
    headers = {
        "ETag": f'"{found["Metadata"]["content-md5"]}"',
        "Last-Modified": format_datetime(found["LastModified"].astimezone(UTC), usegmt=True),
    }
    return Response(found["Body"].read(), media_type=found["ContentType"], headers=headers)


@app.put("/blob/{path:path}", dependencies=CHECKED)
def put_blob(
    path: str,
    body: Annotated[bytes, Body()] = b"",
    content_md5: Annotated[str | None, Header()] = None,
    content_type: Annotated[str, Header()] = "application/octet-stream",
) -> Response:
    """Keep a file, when the precondition holds."""
    current = _current_md5(path)
    if content_md5 is not None and content_md5 != (current or "new"):
        context = {"current_md5": current or "none", "provided_md5": content_md5}
        raise HTTPException(HTTPStatus.PRECONDITION_FAILED, context)
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    _write(path, body, md5, is_deleted=False, content_type=content_type)
    created = HTTPStatus.CREATED if current is None else HTTPStatus.OK
    return Response(status_code=created, headers={"ETag": f'"{md5}"'})


@app.delete("/blob/{path:path}", dependencies=CHECKED)
def delete_blob(path: str, if_match: Annotated[str | None, Header()] = None) -> Response:
    """Put a tombstone in place of a file."""
    current = _current_md5(path)
    if current is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"File not found: {path}")
    if if_match is not None and if_match.strip('"') != current:
        raise HTTPException(HTTPStatus.PRECONDITION_FAILED, {"current_md5": current, "provided_md5": if_match})
    _write(path, b"", current, is_deleted=True, content_type="application/octet-stream")
    return Response(status_code=HTTPStatus.NO_CONTENT)


@app.get("/sync", dependencies=CHECKED)
def get_sync() -> dict[str, Any]:
    """Give the index as a value, of which FastAPI makes JSON."""
    index: dict[str, Any] = json.loads(_index_bytes())
    return index


def _not_found(why: ClientError, path: str) -> Exception:
    missing = why.response["Error"]["Code"] in MISSING
    return HTTPException(HTTPStatus.NOT_FOUND, f"File not found: {path}") if missing else why


def _current_md5(path: str) -> str | None:
    try:
        head = s3.head_object(Bucket=BUCKET, Key=f"{PREFIX}/{path}")
    except ClientError as why:
        if why.response["Error"]["Code"] in MISSING:
            return None
        raise
    md5: str = head["Metadata"]["content-md5"]
    return md5


def _write(path: str, body: bytes, md5: str, *, is_deleted: bool, content_type: str) -> None:
    """Write the object, then read the index, change it, write it back."""
    marks = {"content-md5": md5, "is-deleted": str(is_deleted).lower()}
    s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{path}", Body=body, Metadata=marks, ContentType=content_type)
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    with index_lock:
        index = json.loads(_index_bytes())
        index["files"][path] = {"md5": md5, "last_modified": now, "size": len(body), "is_deleted": is_deleted}
        index["index_last_modified"] = now
        s3.put_object(Bucket=BUCKET, Key=INDEX, Body=json.dumps(index).encode(), ContentType="application/json")


def _index_bytes() -> bytes:
    try:
        found: bytes = s3.get_object(Bucket=BUCKET, Key=INDEX)["Body"].read()
    except ClientError as why:
        if why.response["Error"]["Code"] in MISSING:
            return b'{"files": {}, "index_last_modified": null}'
        raise
    return found


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
