"""The house, put together from its configuration: the only place where parts meet."""

import resource
import secrets
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.logger import Logger

import stor
from stor.access.address import Trusted
from stor.access.attempts import Attempts
from stor.access.guard import Guard, Locked, Open
from stor.access.passwords import digest
from stor.access.principal import Principal, ProxyPassword
from stor.children import Child, clean_environment, find
from stor.config import Config, RedisUrl, Secret, redis_address
from stor.errors import ConfigError
from stor.folder import Folder, kept_secret, make
from stor.house import House, Readiness
from stor.names import Names
from stor.redis import local
from stor.redis.certificate import Certificate
from stor.redis.login import Credential
from stor.redis.service import Limits, Listener, RedisProxy
from stor.redis.upstream import Server, check, probe
from stor.redis.users import User, Users
from stor.tour import Tour
from stor.volume.api import BootstrapApi
from stor.volume.bootstrap import Bootstrap
from stor.volume.juicefs import BucketSettings, MetaUrl
from stor.web.health import Health
from stor.web.limits import Limits as WebLimits
from stor.web.metrics import Metrics
from stor.web.service import WebService
from stor.web.site import build_site

PARTS = frozenset({"redis", "web"})


def build(config: Config, reactor: Any, only: Iterable[str] | None, again: Callable[[], Config]) -> House:
    """Give the house that `config` describes, or those of its PARTS that `only` names; nothing is started.

    `again` reads the configuration anew when the house is told to reload. Raises ConfigError.
    """
    parts = PARTS if only is None else frozenset(only)
    if parts - PARTS or not parts:
        raise ConfigError(f"--only takes some of {', '.join(sorted(PARTS))}")
    _raise_file_limit()
    house, registry, health = House(again), CollectorRegistry(), Health()
    house.add(Names(reactor))
    upstream = _upstream(config, house, reactor)
    if "web" in parts:
        web = _web(config, upstream, house, health, registry, reactor)
        house.add(web)
    if "redis" in parts:
        house.add(_redis(config, upstream, house, registry, reactor))
    house.add(Readiness(health))
    if parts == PARTS and config.redis.url is None:
        file = config.redis.password_file or password_file(config)
        house.add(Tour(config.redis.port, file, lambda: web.port, config.volume.juicefs))
    return house


def _raise_file_limit() -> None:
    """A session is two descriptors; the soft limit is often 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# ---- Redis


def _upstream(config: Config, house: House, reactor: Any) -> RedisUrl:
    """Where the real Redis is; one of our own is put into the house when that was asked for."""
    found = _address(config)
    if found is not None:
        return found
    if config.redis.server == "none":
        raise ConfigError("redis: no upstream; set redis.url or REDIS_URL")
    if find(local.ARGV[0]) is None:
        raise ConfigError("redis: no redis-server on this machine; install it, or set redis.url or REDIS_URL")
    house.add(Folder(config.data))
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
    check(_server(found))
    return found


def _server(place: RedisUrl) -> Server:
    return Server(place.host, place.port, place.tls, place.ca_file, place.insecure_skip_verify)


def _credential(place: RedisUrl) -> Credential:
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
    return User(name, digest(password.encode()), _server(place), _credential(place))


def _redis(config: Config, upstream: RedisUrl, house: House, registry: CollectorRegistry, reactor: Any) -> RedisProxy:
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


# ---- HTTP


class _Password:
    """The proxy's password as a credential over HTTP, and another one after a reload."""

    def __init__(self, password: str | None) -> None:
        self.now = None if password is None else ProxyPassword(password.encode())

    def find(self, secret: bytes) -> Principal | None:
        """Give the principal that holds the password of today."""
        return None if self.now is None else self.now.find(secret)


def _web(
    config: Config,
    upstream: RedisUrl,
    house: House,
    health: Health,
    registry: CollectorRegistry,
    reactor: Any,
) -> WebService:
    web, limits = config.web, config.redis.limits
    password = _Password(proxy_password(config))

    def prepare(new: Config) -> Callable[[], None]:
        other = _Password(proxy_password(new))
        return lambda: setattr(password, "now", other.now)

    house.reloads(prepare)
    attempts = Attempts(limits.failures, limits.failure_seconds, reactor)
    guard: Guard = Open() if web.bootstrap_open else Locked([password], attempts)
    site = build_site(
        [
            health,
            Metrics(registry, stor.__version__),
            BootstrapApi(_bootstrap(config, upstream, reactor), guard),
        ],
        WebLimits(body_bytes=web.body_bytes, idle_seconds=web.idle_seconds),
        Logger("stor.web"),
        registry,
        trusted=Trusted(web.trusted_proxies),
        reactor=reactor,
    )
    return WebService(site, web.host, web.port, reactor)


def _bootstrap(config: Config, upstream: RedisUrl, reactor: Any) -> Bootstrap:
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
    return Bootstrap(meta, settings, lambda: probe(_server(upstream), _credential(upstream), seconds, reactor), reactor)


def _revealed(secret: Secret | None) -> str:
    return "" if secret is None else secret.reveal()
