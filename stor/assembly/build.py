"""Which parts of the house there are, and in which order they stand."""

import resource
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry

import stor
from stor.assembly.access import admin_key_file
from stor.assembly.redis import is_wanted, password_file, redis_proxy, upstream_of
from stor.assembly.web import web_service
from stor.config import Config
from stor.errors import ConfigError
from stor.folder import Folder, kept_secret
from stor.house import House, Readiness
from stor.names import Names
from stor.tour import Tour
from stor.web.health import Health

PARTS = frozenset({"redis", "web"})


def build(config: Config, reactor: Any, only: Iterable[str] | None, again: Callable[[], Config]) -> House:
    """Give the house that `config` describes, or those of its PARTS that `only` names; nothing is started.

    `again` reads the configuration anew when the house is told to reload. Raises ConfigError.
    """
    named = PARTS if only is None else frozenset(only)
    if named - PARTS or not named:
        raise ConfigError(f"--only takes some of {', '.join(sorted(PARTS))}")
    parts = named if only is not None or is_wanted(config) else named - {"redis"}
    _raise_file_limit()
    house, registry, health = House(again), CollectorRegistry(), Health(stor.__version__, reactor)
    house.add(Names(reactor))
    if "web" in parts or config.redis.server == "local":
        house.add(Folder(config.data))
    upstream = upstream_of(config, house, reactor) if "redis" in parts or is_wanted(config) else None
    if "web" in parts:
        key_file = admin_key_file(config)
        is_new = key_file is not None and not key_file.exists()
        web = web_service(config, upstream, house, health, registry, reactor)
        house.add(web)
    if "redis" in parts and upstream is not None:
        house.add(redis_proxy(config, upstream, house, registry, reactor))
    house.add(Readiness(health))
    if only is None:
        new_key = kept_secret(key_file) if key_file is not None and is_new else None
        file = config.redis.password_file or password_file(config) if "redis" in parts else None
        house.add(Tour(lambda: web.port, key_file, new_key, config.redis.port, file, config.volume.juicefs))
    return house


def _raise_file_limit() -> None:
    """A session is two descriptors; the soft limit is often 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
