"""The HTTP side: what is offered, behind one gate."""

from typing import Any

from prometheus_client import CollectorRegistry
from twisted.logger import Logger

import stor
from stor.access.address import Trusted
from stor.access.keys import ApiKeys
from stor.assembly.access import gate
from stor.assembly.blobs import blobs_api
from stor.assembly.database import database_of
from stor.assembly.objects import objects_api
from stor.assembly.volume import bootstrap
from stor.config import Config, RedisUrl
from stor.house import House
from stor.keyring.api import KeysApi
from stor.volume.api import BootstrapApi
from stor.web.accesslog import AccessLog, through
from stor.web.health import Health
from stor.web.limits import Limits
from stor.web.metrics import Metrics
from stor.web.openapi import OpenApi
from stor.web.routes import Part
from stor.web.service import WebService
from stor.web.site import build_site


def web_service(
    config: Config, upstream: RedisUrl | None, house: House, health: Health, registry: CollectorRegistry, reactor: Any
) -> WebService:
    """Give the listener, with all it stands on put into the house; it is not in it itself."""
    web = config.web
    database = database_of(config, reactor)
    house.add(database)
    guarded, live, presigner = gate(config, database, house, registry, reactor)
    parts: list[Part] = [
        health,
        Metrics(registry, stor.__version__),
        KeysApi(ApiKeys(database, live)),
        blobs_api(config, database, house, health, registry, reactor),
        objects_api(config, database, presigner, house, health, registry, reactor),
    ]
    if upstream is not None:
        parts.append(BootstrapApi(bootstrap(config, upstream, reactor), is_open=web.bootstrap_open))
    parts.append(OpenApi(parts, stor.__version__))
    site = build_site(
        parts,
        Limits(
            body_bytes=web.body_bytes,
            idle_seconds=web.idle_seconds,
            connections=web.connections,
            connections_per_address=web.connections_per_address,
        ),
        AccessLog(through(Logger("stor.web")) if config.log.level in {"debug", "info"} else None, reactor),
        registry,
        gate=guarded,
        trusted=Trusted(web.trusted_proxies),
        reactor=reactor,
    )
    return WebService(site, web.host, web.port, reactor, web.drain_seconds, web.lame_duck_seconds)
