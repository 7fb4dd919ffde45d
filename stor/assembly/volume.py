"""The volume, from its settings."""

from typing import Any

from stor.assembly.redis import credential, server
from stor.config import Config, RedisUrl, Secret
from stor.redis.upstream import probe
from stor.volume.bootstrap import Bootstrap
from stor.volume.juicefs import BucketSettings, MetaUrl


def bootstrap(config: Config, upstream: RedisUrl, reactor: Any) -> Bootstrap:
    """Give what formats the volume that is configured."""
    volume = config.volume
    meta = MetaUrl(
        host=upstream.host,
        port=upstream.port,
        database=upstream.database,
        username=upstream.username,
        password=upstream.password.reveal(),
        tls=upstream.tls,
        ca_file=None if upstream.ca_file is None else str(upstream.ca_file.absolute()),
        insecure_skip_verify=upstream.insecure_skip_verify,
    )
    settings = BucketSettings(
        storage=volume.storage,
        bucket=volume.bucket,
        access_key=_revealed(volume.access_key),
        secret_key=_revealed(volume.secret_key),
        name=volume.name,
        juicefs=volume.juicefs,
        seconds=volume.format_seconds,
    )
    seconds = config.redis.connect_seconds
    return Bootstrap(meta, settings, lambda: probe(server(upstream), credential(upstream), seconds, reactor), reactor)


def _revealed(secret: Secret | None) -> str:
    return "" if secret is None else secret.reveal()
