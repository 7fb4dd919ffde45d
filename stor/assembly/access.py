"""Whom the HTTP APIs know, from the settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.logger import Logger

from stor.access.address import parse
from stor.access.attempts import Attempts
from stor.access.audit import Audit
from stor.access.credentials import Credentials
from stor.access.guard import Guard
from stor.access.jwks import Jwks
from stor.access.jwt import Jwt
from stor.access.known import Known, ProxyPassword, listed
from stor.access.live import LiveKeys
from stor.access.presign import Presigner, check_secret
from stor.access.rates import Gauge, Rates
from stor.access.remote import Remote
from stor.assembly.redis import proxy_password
from stor.config import Config, Secret
from stor.database.promise import Database
from stor.errors import ConfigError
from stor.folder import kept_secret
from stor.house import House
from stor.web.gate import Gate


def gate(
    config: Config, database: Database, house: House, registry: CollectorRegistry, reactor: Any
) -> tuple[Gate, LiveKeys, Presigner]:
    """Give what every call passes, the keys it knows, and who signs URLs for it.

    Raises ConfigError where strangers come and nobody is known.
    """
    _check_open(config)
    live = LiveKeys(database, registry, reactor)
    jwks = Jwks(config.access.jwks_url, reactor) if config.access.jwks_url else None
    remote = _remote(config, registry, reactor)
    audit = Audit(Logger("stor.audit"), registry, reactor)
    for service in (live, jwks, remote, audit):
        if service is not None:
            house.add(service)

    presigner = Presigner(_signing_secret(config))

    def credentials(now: Config) -> Credentials:
        strong, weak = _listed(now)
        return Credentials(
            keys=[strong],
            passwords=[weak, *_proxy_password(now)],
            live=live,
            jwt=_jwt(now, jwks),
            remote=remote,
            presigner=presigner,
        )

    attempts = Attempts(config.access.failures, config.access.failure_seconds, reactor)
    guard = Guard(credentials(config), attempts, registry)
    gauge = Gauge(_rates(config), registry, reactor)

    def prepare(new: Config) -> Callable[[], None]:
        changed, rates, secret = credentials(new), _rates(new), _signing_secret(new)
        check_secret(secret)

        def apply() -> None:
            presigner.use(secret)
            guard.trust(changed)
            gauge.rates = rates

        return apply

    house.reloads(prepare)
    return Gate(guard, gauge, audit), live, presigner


def admin_key_file(config: Config) -> Path | None:
    """Where the key of whoever runs this machine is kept; None where credentials were configured."""
    return None if _is_configured(config) or not is_loopback(config.web.host) else config.data / "admin-key"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can come by this address."""
    address = parse(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _is_configured(config: Config) -> bool:
    access = config.access
    return bool(access.api_keys or access.jwt_secret or access.jwks_url or access.auth_url)


def _check_open(config: Config) -> None:
    if not is_loopback(config.web.host) and not _is_configured(config) and proxy_password(config) is None:
        raise ConfigError(
            f"web: {config.web.host} can be reached from outside and no credential is configured; set access.api_keys, "
            "access.jwt_secret, access.jwks_url or access.auth_url"
        )


def _listed(config: Config) -> tuple[Known, Known]:
    """Give the keys that may do everything: those of the configuration, or the one made for this machine."""
    keys = [key.strip() for key in _text(config.access.api_keys).split(",") if key.strip()]
    file = admin_key_file(config)
    return listed(keys if file is None else [kept_secret(file)])


def _proxy_password(config: Config) -> list[ProxyPassword]:
    password = proxy_password(config)
    return [] if password is None else [ProxyPassword(password.encode())]


def _jwt(config: Config, jwks: Jwks | None) -> Jwt | None:
    access = config.access
    if access.jwt_secret is None and jwks is None:
        return None
    secret = _text(access.jwt_secret).encode()
    return Jwt(secret=secret, jwks=jwks, issuer=access.jwt_issuer, audience=access.jwt_audience)


def _remote(config: Config, registry: CollectorRegistry, reactor: Any) -> Remote | None:
    access = config.access
    if not access.auth_url:
        return None
    return Remote(
        access.auth_url,
        access.auth_app_id,
        registry,
        reactor,
        seconds=access.auth_seconds,
        good=access.auth_good_seconds,
        bad=access.auth_bad_seconds,
    )


def _signing_secret(config: Config) -> bytes:
    secret = config.access.presign_secret
    text = kept_secret(config.data / "presign-secret") if secret is None else secret.reveal()
    return text.encode()


def _rates(config: Config) -> Rates:
    return Rates(config.access.requests_per_second, config.access.in_flight)


def _text(secret: Secret | None) -> str:
    return "" if secret is None else secret.reveal()
