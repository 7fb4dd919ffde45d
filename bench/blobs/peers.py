"""The services that are measured side by side, and the auth service that all of them ask."""

import hashlib
import http.client
import json
import secrets
import sys
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

from bench import common
from bench.common import ROOT, stor_argv
from tests.servers import S3Server, clean_environment

HERE = Path(__file__).parent
APP_ID = "stor-bench"
REGION = "us-east-1"
SEEDERS = 16
WHEN = "2026-01-15T10:30:00.123456Z"


class Auth(common.Peer):
    """`POST /verify` says yes to `token`."""

    name = "auth"

    def __init__(self) -> None:
        super().__init__()
        self.token = secrets.token_hex(16)

    @property
    def url(self) -> str:
        """What HEARE_AUTH_URL is set to."""
        return f"http://127.0.0.1:{self.port}"

    def argv(self) -> Sequence[str]:
        """Its token stands in argv: it is worth nothing anywhere else."""
        return [sys.executable, str(HERE / "auth.py"), str(self.port), self.token]


class Peer(common.Peer):
    """A blob service with so many files in it, under a prefix or in a folder of its own."""

    def __init__(self, s3: S3Server, auth: Auth, files: int) -> None:
        super().__init__()
        self.s3, self.auth, self.files = s3, auth, files
        self.prefix = f"{type(self).__name__.lower()}-{files}"

    @property
    def headers(self) -> dict[str, str]:
        """What lets a request in."""
        return {"Authorization": f"Bearer {self.auth.token}"}

    def answers(self) -> bool:
        """It is well, and so is its store."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, str]:
        """Ask once; give status, body and ETag."""
        with Caller(self) as caller:
            return caller.request(method, path, body, **headers)

    def seed(self) -> None:
        """Put its files in place, by its own API, several at a time."""
        with ThreadPoolExecutor(SEEDERS) as seeders:
            list(seeders.map(self._put_each, (range(first, self.files, SEEDERS) for first in range(SEEDERS))))

    def _put_each(self, numbers: range) -> None:
        with Caller(self) as caller:
            for number in numbers:
                status, said, _ = caller.request("PUT", f"/blob/{seeded(number)}", content(number))
                if status != 201:
                    raise RuntimeError(f"{self.name} answered a PUT by {status}: {said[:200]!r}")


class Caller:
    """One connection to a peer, with its token; a context manager."""

    def __init__(self, peer: Peer) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=30)
        self._headers = peer.headers

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, str]:
        """Ask; give status, body and ETag."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            fields["Content-Type"] = "application/octet-stream"
        self._connection.request(method, path, body, fields | self._headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read(), answer.getheader("ETag", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


class Reference(Peer):
    """bench/blobs/reference.py on the same S3 server and the same auth service."""

    name = "reference"

    def argv(self) -> Sequence[str]:
        """Uvicorn in this interpreter."""
        return [sys.executable, str(HERE / "reference.py")]

    def environment(self) -> dict[str, str]:
        """The older names."""
        return clean_environment(
            PORT=str(self.port),
            AWS_ACCESS_KEY_ID=self.s3.access_key,
            AWS_SECRET_ACCESS_KEY=self.s3.secret_key,
            AWS_REGION=REGION,
            S3_BUCKET=self.s3.bucket,
            S3_PREFIX=self.prefix,
            S3_ENDPOINT_URL=self.s3.endpoint,
            HEARE_AUTH_URL=self.auth.url,
            HEARE_AUTH_APP_ID=APP_ID,
        )

    def seed(self) -> None:
        """Write its index as 10,000 PUTs would have left it: by its API that takes minutes, for this very reason."""
        index = {"files": {seeded(number): _entry(number) for number in range(self.files)}, "index_last_modified": WHEN}
        client(self.s3).put_object(
            Bucket=self.s3.bucket,
            Key=f"{self.prefix}/.sync-index.json",
            Body=json.dumps(index).encode(),
            ContentType="application/json",
        )


class Stor(Peer):
    """stor's blob part."""

    def blobs(self) -> str:
        """Say where the bytes are, in stor.toml's words."""
        raise NotImplementedError

    def argv(self) -> Sequence[str]:
        """Only the HTTP side; the file with the keys is readable by this user alone."""
        config = self.folder / "stor.toml"
        config.touch(mode=0o600)
        config.write_text(f"""\
data = "{self.folder / "data"}"

[web]
port = {self.port}

[blobs]
{self.blobs()}

[access]
auth_url = "{self.auth.url}"
auth_app_id = "{APP_ID}"
""")
        return stor_argv(str(config), "web")

    def environment(self) -> dict[str, str]:
        """Find stor in this tree, whether it is installed or not."""
        return clean_environment(PYTHONPATH=str(ROOT))


class StorFolder(Stor):
    """stor on a folder of this machine."""

    name = "stor, folder"

    def blobs(self) -> str:
        """A folder of its own."""
        return f'folder = "{self.folder / "blobs"}"'


class StorS3(Stor):
    """stor on the same S3 server as the reference."""

    name = "stor, S3"

    def blobs(self) -> str:
        """A prefix of its own in the same bucket."""
        return f"""\
bucket = "{self.s3.bucket}"
endpoint = "{self.s3.endpoint}"
region = "{REGION}"
access_key = "{self.s3.access_key}"
secret_key = "{self.s3.secret_key}"
prefix = "{self.prefix}\""""


def seeded(number: int) -> str:
    """Name one of the files that are there from the beginning."""
    return f"notes/topic-{number % 100:02d}/file-{number:05d}.md"


def content(number: int) -> bytes:
    """1 KiB, another one for each number."""
    return f"{number:016d}".encode() * 64


def client(s3: S3Server) -> Any:
    """Give a boto3 client of our own for the S3 server."""
    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name=REGION,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        config=Config(request_checksum_calculation="when_required"),
    )


def _entry(number: int) -> dict[str, object]:
    body = content(number)
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return {"md5": md5, "last_modified": WHEN, "size": len(body), "is_deleted": False}
