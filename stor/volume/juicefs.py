"""What we say to juicefs and how we read its answers; measured with juicefs 1.4.2."""

import os.path
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote, urlencode

from msgspec import DecodeError, Struct, json

from stor.errors import BadRequest, Failed

NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")  # juicefs says "alphabet", and means lower case
TEXT_CHARACTERS = 8192  # of its output that we show
_ANSI = re.compile(rb"\x1b\[[0-9;]*m")
_META_URL = re.compile(r"\b(rediss?)://\S+")
_UNFORMATTED = b"database is not formatted"


@dataclass(frozen=True)
class MetaUrl:
    """The Redis that holds a volume's metadata; the password goes by environment, never in the URL."""

    host: str
    port: int
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    ca_file: str | None = None
    insecure_skip_verify: bool = False

    @property
    def url(self) -> str:
        """The URL for argv, as juicefs (go-redis) reads it."""
        scheme = "rediss" if self.tls else "redis"
        user = f"{quote(self.username, safe='')}@" if self.username else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = {}
        if self.tls and self.ca_file is not None:
            query["tls-ca-cert-file"] = self.ca_file
        if self.tls and self.insecure_skip_verify:
            query["insecure-skip-verify"] = "true"
        return f"{scheme}://{user}{host}:{self.port}/{self.database}" + (f"?{urlencode(query)}" if query else "")


@dataclass(frozen=True)
class BucketSettings:
    """Where a volume's bytes go: `storage` is "s3" or "file", `bucket` a URL or a folder."""

    storage: str
    bucket: str
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    name: str = "sharedvol"
    juicefs: str = "juicefs"  # the program: a name or a path
    seconds: float = 60.0  # for one run of it


class Volume(NamedTuple):
    """What makes two volumes the same one."""

    name: str
    storage: str
    bucket: str


class _Setting(Struct, rename="pascal"):
    name: str
    storage: str
    bucket: str


class _Status(Struct, rename="pascal"):
    setting: _Setting


def checked(name: str) -> str:
    """Give the name back when juicefs would take it; in argv it must not look like an option."""
    if not NAME.fullmatch(name):
        raise BadRequest("a volume's name is 3 to 63 lower-case letters, digits and hyphens")
    return name


def wanted(settings: BucketSettings, name: str) -> Volume:
    """Give the volume as `juicefs status` would show it: a folder is made absolute and gets a slash."""
    bucket = settings.bucket
    if settings.storage == "file":
        bucket = os.path.abspath(bucket).rstrip("/") + "/"  # noqa: PTH100 - juicefs follows no links
    return Volume(name, settings.storage, bucket)


def status_argv(settings: BucketSettings, meta: MetaUrl) -> Sequence[str]:
    """Ask what is there."""
    return [settings.juicefs, "status", meta.url]


def format_argv(settings: BucketSettings, meta: MetaUrl, name: str) -> Sequence[str]:
    """Make a volume; without `--no-update` one that is there would silently get another bucket."""
    where = [f"--storage={settings.storage}", f"--bucket={settings.bucket}"]
    return [settings.juicefs, "format", "--no-update", *where, meta.url, name]


def status_secrets(meta: MetaUrl) -> Mapping[str, str]:
    """Give the environment that signs in to Redis."""
    return {"META_PASSWORD": meta.password} if meta.password else {}


def format_secrets(settings: BucketSettings, meta: MetaUrl) -> Mapping[str, str]:
    """Give the environment that signs in to Redis and to the bucket."""
    keys = {"ACCESS_KEY": settings.access_key, "SECRET_KEY": settings.secret_key}
    return {**status_secrets(meta), **{name: value for name, value in keys.items() if value}}


def read_status(code: int, out: bytes, err: bytes) -> Volume | None:
    """Give the volume that is there, None when there is none yet; Failed when that cannot be told."""
    if code == 0:
        try:
            found = json.decode(out, type=_Status).setting
        except DecodeError as why:
            raise Failed(f"juicefs status said what we do not understand: {why}") from None
        return Volume(found.name, found.storage, found.bucket)
    if _UNFORMATTED in err:
        return None
    raise Failed(said(err) or f"juicefs status ended with {code}")


def said(err: bytes) -> str:
    """Give its words without colours and without the address of its Redis; the end, where they are many."""
    text = _ANSI.sub(b"", err).decode("utf-8", "replace").strip()
    return _META_URL.sub(r"\1://***", text)[-TEXT_CHARACTERS:]
