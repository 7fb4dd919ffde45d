"""The environment names of the time before stor.toml, which keep working."""

from collections.abc import Mapping
from dataclasses import replace

from stor.config.secret import Secret
from stor.config.sources import IMPLIED, OLDER, STOR, Setting, Settings
from stor.config.urls import RedisUrl, redis_address
from stor.errors import ConfigError

NAMES = {
    "PROXY_PASSWORD": ("redis", "password"),
    "PROXY_HOST": ("redis", "host"),
    "PROXY_PORT": ("redis", "port"),
    "PROXY_IPV6": ("redis", "ipv6"),
    "REDIS_URL": ("redis", "url"),
    "STORJ_ACCESS_KEY": ("volume", "access_key"),
    "STORJ_SECRET_KEY": ("volume", "secret_key"),
    "STORJ_BUCKET_URL": ("volume", "bucket"),
    "API_KEYS": ("access", "api_keys"),
    "JWT_SECRET": ("access", "jwt_secret"),
    "HEARE_AUTH_URL": ("access", "auth_url"),
    "HEARE_AUTH_APP_ID": ("access", "auth_app_id"),
    "DATABASE_URL": ("database", "url"),
    "S3_BUCKET": ("blobs", "bucket"),
    "S3_PREFIX": ("blobs", "prefix"),
    "S3_ENDPOINT_URL": ("blobs", "endpoint"),
    "AWS_REGION": ("blobs", "region"),
    "AWS_ACCESS_KEY_ID": ("blobs", "access_key"),
    "AWS_SECRET_ACCESS_KEY": ("blobs", "secret_key"),
    "PORT": ("web", "port"),
    "LISTEN_ADDR": ("web", "host"),
    "HOT_STORAGE_ROOT": ("objects", "hot_folder"),
    "COLD_STORAGE_ROOT": ("objects", "cold_folder"),
    "MAX_UPLOAD_SIZE_BYTES": ("objects", "max_bytes"),
    "GC_INTERVAL_SECS": ("objects", "gc_interval_seconds"),
    "GC_BATCH_SIZE": ("objects", "gc_batch"),
    "LOG_LEVEL": ("log", "level"),
    "LOG_FORMAT": ("log", "format"),
}
PARTS = ("REDIS_HOST", "REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD")  # each above its part of the URL
SYNONYMS = {"warning": "warn", "fatal": "critical"}


def from_older(environ: Mapping[str, str]) -> Settings:
    """What the older names say; an empty value says nothing."""
    said = {name: text for name, text in environ.items() if text}
    found: Settings = {
        path: Setting(said[name], f"environment {name}", OLDER) for name, path in NAMES.items() if name in said
    }
    if "STORJ_BUCKET_URL" in said:
        found["volume", "storage"] = Setting("s3", "environment STORJ_BUCKET_URL", OLDER)
    if ("blobs", "prefix") in found:
        prefix = found["blobs", "prefix"]
        found["blobs", "prefix"] = prefix._replace(value=prefix.value.strip("/"))
    _split_address(found)
    for path in (("log", "level"), ("log", "format")):
        if path in found:
            word = found[path].value.lower()
            found[path] = found[path]._replace(value=SYNONYMS.get(word, word))
    return found


def _split_address(found: Settings) -> None:
    """LISTEN_ADDR is a host, `host:port` or `[host]:port`; a PORT beside it wins over its port."""
    address = found.get(("web", "host"))
    if address is None:
        return
    host, colon, port = address.value.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):  # no port, or an IPv6 address by itself
        return
    found["web", "host"] = address._replace(value=host.strip("[]"))
    found.setdefault(("web", "port"), address._replace(value=port))


def implied(environ: Mapping[str, str]) -> Settings:
    """What holds where nobody says otherwise: with PROXY_PASSWORD the proxy was always for the network."""
    if not environ.get("PROXY_PASSWORD"):
        return {}
    return {("redis", "host"): Setting("::", "environment PROXY_PASSWORD", IMPLIED)}


def with_parts(settings: Settings, environ: Mapping[str, str]) -> None:
    """Put REDIS_HOST and its like into the upstream URL, unless a STOR_ name gave it."""
    said = {name: environ[name] for name in PARTS if environ.get(name)}
    if said.get("REDIS_PORT", "").startswith("tcp://"):  # Kubernetes says so of a service named "redis"
        del said["REDIS_PORT"]
    now = settings.get(("redis", "url"), Setting("redis://127.0.0.1", "", OLDER))
    if not said or now.rank == STOR:
        return
    try:
        url = _patched(redis_address(Secret(now.value)), said)
    except ValueError as why:
        raise ConfigError(f"redis.url: {why}") from None
    origins = [now.origin] if now.origin else []
    names = ", ".join(said)
    settings["redis", "url"] = Setting(url.text().reveal(), ", ".join([*origins, f"environment {names}"]), OLDER)


def _patched(url: RedisUrl, said: Mapping[str, str]) -> RedisUrl:
    port = said.get("REDIS_PORT", str(url.port))
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError("REDIS_PORT is no port number")
    return replace(
        url,
        host=said.get("REDIS_HOST", url.host),
        port=int(port),
        username=said.get("REDIS_USERNAME", url.username),
        password=Secret(said["REDIS_PASSWORD"]) if "REDIS_PASSWORD" in said else url.password,
    )
