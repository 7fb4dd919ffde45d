"""The Redis proxy and what stands behind it, from their settings."""

import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.logger import Logger

from stor.access.address import Trusted
from stor.access.passwords import digest
from stor.children import Child, clean_environment, find
from stor.config import Config, RedisUrl, Secret, redis_address
from stor.errors import ConfigError
from stor.folder import kept_secret, make
from stor.house import House
from stor.redis import local
from stor.redis.certificate import Certificate
from stor.redis.login import Credential
from stor.redis.service import Limits, Listener, RedisProxy
from stor.redis.upstream import Server, check
from stor.redis.users import User, Users


def is_wanted(config: Config) -> bool:
    """Tell whether anything of a Redis proxy is configured; without a word there is none."""
    redis = config.redis
    return redis.server != "none" or redis.url is not None or redis.password is not None or bool(redis.users)


def upstream_of(config: Config, house: House, reactor: Any) -> RedisUrl:
    """Where the real Redis is; one of our own is put into the house when that was asked for."""
    found = _address(config)
    if found is not None:
        return found
    if config.redis.server == "none":
        raise ConfigError("redis: no upstream; set redis.url or REDIS_URL")
    if find(local.ARGV[0]) is None:
        raise ConfigError("redis: no redis-server on this machine; install it, or set redis.url or REDIS_URL")
    folder = config.data.absolute() / "redis"
    make(folder)
    password, port = secrets.token_hex(32), _free_port()
    house.add(
        Child(
            "redis-server",
            local.ARGV,
            clean_environment({}),
            reactor,
            is_ready=local.is_ready,
            stdin=local.configuration(port, folder, password),
            secrets=[password],
        )
    )
    return RedisUrl("127.0.0.1", port, username=local.USER, password=Secret(password))


def _address(config: Config) -> RedisUrl | None:
    """The upstream that is configured, None when there is none."""
    return None if config.redis.url is None else _place(config.redis.url, config)


def _place(url: Secret, config: Config) -> RedisUrl:
    """Read an upstream's URL, and see that it can be used."""
    redis = config.redis
    found = redis_address(url, ca_file=redis.ca_file, insecure_skip_verify=redis.insecure_skip_verify)
    if found.tls and found.insecure_skip_verify:
        Logger().warn("redis: the certificate of an upstream is NOT verified")
    check(server(found))
    return found


def server(place: RedisUrl) -> Server:
    """Say where an upstream is, as the proxy wants to know it."""
    return Server(place.host, place.port, place.tls, place.ca_file, place.insecure_skip_verify)


def credential(place: RedisUrl) -> Credential:
    """Say how one signs in there."""
    return Credential(place.username.encode(), place.password.reveal().encode())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def proxy_password(config: Config) -> str | None:
    """Give the password of the proxy's `default` user: the configured one, or the tour's own, kept in a file."""
    if config.redis.password is not None:
        return config.redis.password.reveal()
    if config.redis.server == "local" and not config.redis.users:
        return kept_secret(password_file(config))
    return None


def password_file(config: Config) -> Path:
    """Where the tour keeps the proxy's password."""
    return config.data / "proxy-password"


def _users(config: Config, upstream: RedisUrl) -> Users:
    password = proxy_password(config)
    found = [] if password is None else [_user("default", password, upstream)]
    for name, user in config.redis.users.items():
        place = upstream if user.upstream is None else _place(user.upstream, config)
        if user.password is not None:
            found.append(_user(name, user.password.reveal(), place))
    return Users(found, open_as=_user("default", "", upstream))


def _user(name: str, password: str, place: RedisUrl) -> User:
    return User(name, digest(password.encode()), server(place), credential(place))


def redis_proxy(
    config: Config, upstream: RedisUrl, house: House, registry: CollectorRegistry, reactor: Any
) -> RedisProxy:
    """Give the proxy, which takes changed users when the house reloads."""
    redis, limits = config.redis, config.redis.limits
    listeners = [Listener(redis.host, redis.port)]
    if redis.tls.port and redis.tls.cert_file and redis.tls.key_file:
        certificate = Certificate(redis.tls.cert_file, redis.tls.key_file, reactor)
        listeners.append(Listener(redis.host, redis.tls.port, certificate))
    proxy = RedisProxy(
        listeners,
        _users(config, upstream),
        Limits(
            connections=limits.connections,
            connections_per_address=limits.connections_per_address,
            unauthenticated=limits.unauthenticated,
            login_seconds=limits.login_seconds,
            connect_seconds=redis.connect_seconds,
            drain_seconds=redis.drain_seconds,
            failures=limits.failures,
            failure_seconds=limits.failure_seconds,
            output_bytes=limits.output_bytes,
            request_bytes=limits.request_bytes,
        ),
        Trusted(redis.proxy_protocol.trusted),
        registry,
        reactor,
    )

    def prepare(new: Config) -> Callable[[], None]:
        users = _users(new, _address(new) or upstream)
        proxy.check(users)
        return lambda: proxy.reload(users)

    house.reloads(prepare)
    return proxy
