"""What may be configured: the sections, their keys and defaults."""

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from stor.config.secret import Secret
from stor.config.urls import redis_address

Port = Annotated[int, Meta(ge=0, le=65535)]  # 0: the kernel chooses
Count = Annotated[int, Meta(ge=1)]
Number = Annotated[int, Meta(ge=0)]  # 0: off
Seconds = Annotated[float, Meta(gt=0, le=86400)]
Cidrs = tuple[str, ...]


def check_url(url: Secret | None) -> None:
    """Say now, without the URL, what is wrong with it."""
    if url is not None:
        redis_address(url)


def check_cidrs(cidrs: Cidrs) -> None:
    """Say which of `cidrs` is none."""
    for cidr in cidrs:
        try:
            ip_network(cidr, strict=False)
        except ValueError:
            raise ValueError(f"{cidr!r} is no address range such as 10.0.0.0/8") from None


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Read once, never changed."""


class Log(Section, frozen=True):
    """Where log lines begin to be worth writing, and how they look."""

    level: Literal["debug", "info", "warn", "error", "critical"] = "info"
    format: Literal["json", "text", "auto"] = "auto"


class Web(Section, frozen=True):
    """The HTTP listener."""

    host: str = "127.0.0.1"
    port: Port = 8080
    body_bytes: Count = 1 << 20
    idle_seconds: Seconds = 60.0
    connections: Count = 10_000
    connections_per_address: Count = 1000
    lame_duck_seconds: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    drain_seconds: Seconds = 10.0
    trusted_proxies: Cidrs = ()
    bootstrap_open: bool = False

    def __post_init__(self) -> None:
        check_cidrs(self.trusted_proxies)


class User(Section, frozen=True):
    """A Redis user of ours, with a password and perhaps an upstream of its own."""

    password: Secret | None = None
    password_file: Path | None = None
    upstream: Secret | None = None
    upstream_file: Path | None = None

    def __post_init__(self) -> None:
        check_url(self.upstream)


class Tls(Section, frozen=True):
    """The Redis listener that speaks TLS; port 0 is off."""

    port: Port = 0
    cert_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        if self.port and (self.cert_file is None or self.key_file is None):
            raise ValueError("a TLS port needs cert_file and key_file")


class Limits(Section, frozen=True):
    """How much strangers and clients may ask of the Redis proxy."""

    connections: Count = 10_000
    connections_per_address: Count = 1000
    unauthenticated: Count = 1000
    login_seconds: Seconds = 10.0
    failures: Count = 10
    failure_seconds: Seconds = 60.0
    output_bytes: Count = 65_536
    request_bytes: Count = 1 << 20


class ProxyProtocol(Section, frozen=True):
    """Whose word we take for the client's address."""

    trusted: Cidrs = ()

    def __post_init__(self) -> None:
        check_cidrs(self.trusted)


class Redis(Section, frozen=True):
    """The Redis proxy: where it listens, whom it lets in, and what stands behind it."""

    host: str = "127.0.0.1"
    port: Port = 6379
    ipv6: bool = True
    password: Secret | None = None
    password_file: Path | None = None
    url: Secret | None = None
    url_file: Path | None = None
    ca_file: Path | None = None
    insecure_skip_verify: bool = False
    server: Literal["none", "local"] = "none"
    drain_seconds: Seconds = 10.0
    connect_seconds: Seconds = 5.0
    users: Mapping[str, User] = field(default_factory=dict)
    tls: Tls = Tls()
    limits: Limits = Limits()
    proxy_protocol: ProxyProtocol = ProxyProtocol()

    def __post_init__(self) -> None:
        check_url(self.url)
        if "default" in self.users:
            raise ValueError("the user `default` has its password in [redis]")
        for name, user in self.users.items():
            if user.password is None:
                raise ValueError(f"the user `{name}` has no password")


class Access(Section, frozen=True):
    """Whom the HTTP APIs know, and how much each may ask."""

    api_keys: Secret | None = None
    api_keys_file: Path | None = None
    jwt_secret: Secret | None = None
    jwt_secret_file: Path | None = None
    jwks_url: str = ""
    jwt_issuer: str = ""
    jwt_audience: str = ""
    auth_url: str = ""
    auth_app_id: str = ""
    auth_seconds: Seconds = 10.0
    auth_good_seconds: Seconds = 60.0
    auth_bad_seconds: Seconds = 5.0
    presign_secret: Secret | None = None
    presign_secret_file: Path | None = None
    requests_per_second: Number = 0
    in_flight: Number = 0
    failures: Count = 10
    failure_seconds: Seconds = 60.0

    def __post_init__(self) -> None:
        for url in (self.jwks_url, self.auth_url):
            if url and not url.startswith(("http://", "https://")):
                raise ValueError("a URL of an authority begins with http:// or https://")


class Database(Section, frozen=True):
    """Where rows are kept; without a URL in SQLite below the data folder."""

    url: Secret | None = None
    url_file: Path | None = None

    def __post_init__(self) -> None:
        if self.url is not None and not self.url.reveal().startswith(("postgresql://", "postgres://")):
            raise ValueError("a database's URL begins with postgresql://")


class Blobs(Section, frozen=True):
    """The blob sync API: in a bucket where one is named, else in a folder."""

    folder: Path | None = None
    bucket: str = ""
    endpoint: str = ""
    region: str = "us-east-1"
    access_key: Secret | None = None
    access_key_file: Path | None = None
    secret_key: Secret | None = None
    secret_key_file: Path | None = None
    prefix: Annotated[str, Meta(pattern=r"^[^/\x00-\x1f]+(/[^/\x00-\x1f]+)*$", max_length=256)] = "memory"
    max_bytes: Count = 1 << 30
    max_entries: Count = 1_000_000
    history_versions: Number = 0
    history_days: Number = 0
    tombstone_days: Number = 30
    compression: Literal["none", "zstd"] = "none"

    def __post_init__(self) -> None:
        if self.bucket and self.folder is not None:
            raise ValueError("blobs are kept in a bucket or in a folder, not in both")
        if self.endpoint and not self.endpoint.startswith(("http://", "https://")):
            raise ValueError("an endpoint begins with http:// or https://")


class Objects(Section, frozen=True):
    """The object store: each class in a bucket where one is named, else in a folder."""

    hot_folder: Path | None = None
    cold_folder: Path | None = None
    hot_bucket: str = ""
    cold_bucket: str = ""
    endpoint: str = ""
    region: str = "us-east-1"
    access_key: Secret | None = None
    access_key_file: Path | None = None
    secret_key: Secret | None = None
    secret_key_file: Path | None = None
    inline_bytes: Annotated[int, Meta(ge=0, le=65_536)] = 65_536
    max_bytes: Count = 10 << 30
    upload_seconds: Seconds = 3600.0
    resumable_seconds: Annotated[float, Meta(gt=0, le=30 * 86400)] = 86_400.0
    resumable_uploads: Count = 100
    gc_interval_seconds: Seconds = 60.0
    gc_batch: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    gc_grace_seconds: Number = 60
    deleted_seconds: Number = 86_400
    scrub_bytes_per_second: Number = 8 << 20
    scrub_days: Count = 30
    floor_bytes: Number = 64 << 20

    def __post_init__(self) -> None:
        for bucket, folder in ((self.hot_bucket, self.hot_folder), (self.cold_bucket, self.cold_folder)):
            if bucket and folder is not None:
                raise ValueError("a class of objects is kept in a bucket or in a folder, not in both")
        for hot, cold in ((self.hot_bucket, self.cold_bucket), (self.hot_folder, self.cold_folder)):
            if hot and hot == cold:
                raise ValueError("hot and cold objects are kept in two places")
        if self.endpoint and not self.endpoint.startswith(("http://", "https://")):
            raise ValueError("an endpoint begins with http:// or https://")


class Volume(Section, frozen=True):
    """The JuiceFS volume that /bootstrap formats."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")] = "sharedvol"
    storage: Literal["s3", "file"] = "s3"
    bucket: str = ""
    access_key: Secret | None = None
    access_key_file: Path | None = None
    secret_key: Secret | None = None
    secret_key_file: Path | None = None
    juicefs: str = "juicefs"
    format_seconds: Seconds = 60.0


class Config(Section, frozen=True):
    """All of it; what stands in no section is for the whole program."""

    data: Path = Path("stor-data")
    log: Log = Log()
    web: Web = Web()
    redis: Redis = Redis()
    access: Access = Access()
    database: Database = Database()
    blobs: Blobs = Blobs()
    objects: Objects = Objects()
    volume: Volume = Volume()
