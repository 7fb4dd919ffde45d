"""`stor token`: sign a JWT with the configured secret."""

import json
import os
import time
from pathlib import Path
from typing import Any

import click
from jwt import encode

from stor.access.hs256 import secret_key
from stor.access.principal import check_permissions
from stor.cli.config import DEFAULT
from stor.cli.keys import seconds
from stor.config import load
from stor.errors import ConfigError

_OURS = {"sub", "iat", "exp", "permissions", "tenant_id", "iss", "aud"}


@click.command()
@click.argument("name")
@click.option(
    "--permission", "-p", "permissions", multiple=True, required=True, help="Such as blobs:read; may be repeated."
)
@click.option("--tenant", help="The only tenant it is for; by default it is for all tenants.")
@click.option("--expires-in", default="1h", show_default=True, help="Such as 15m or 30d.")
@click.option("--claim", "claims", multiple=True, help="A further claim, NAME=JSON; may be repeated.")
@click.option("--config", type=click.Path(path_type=Path), help="The file that stor runs with.")
def token(
    name: str,
    permissions: tuple[str, ...],
    tenant: str | None,
    expires_in: str,
    claims: tuple[str, ...],
    config: Path | None,
) -> None:
    r"""Print a token (HS256) for NAME, signed with access.jwt_secret (JWT_SECRET); no server is asked.

    access.jwt_issuer and access.jwt_audience are put into it where they are set. A token cannot be taken back: keep it
    short, or make a key with `stor keys create`.

    \b
    Examples:
      stor token alice -p blobs:read -p blobs:write
      stor token ci -p objects:write --tenant acme --expires-in 15m --claim 'run=42'
    """
    access = load(config or (DEFAULT if DEFAULT.exists() else None), os.environ).access
    if access.jwt_secret is None:
        raise ConfigError("there is no secret to sign with: set access.jwt_secret_file, or JWT_SECRET")
    check_permissions(set(permissions))
    now = int(time.time())
    said: dict[str, Any] = dict(_claim(text) for text in claims)
    said |= {"sub": name, "iat": now, "exp": now + seconds(expires_in), "permissions": sorted(set(permissions))}
    if tenant is not None:
        said["tenant_id"] = tenant
    said |= {claim: text for claim, text in (("iss", access.jwt_issuer), ("aud", access.jwt_audience)) if text}
    click.echo(encode(said, secret_key(access.jwt_secret.reveal().encode()), "HS256"))


def _claim(text: str) -> tuple[str, object]:
    name, mark, value = text.partition("=")
    if not mark or name in _OURS:
        raise click.BadParameter("a claim is NAME=JSON, and none that has an option", param_hint="--claim")
    try:
        return name, json.loads(value)
    except ValueError:
        raise click.BadParameter(f"{name}: this is no JSON", param_hint="--claim") from None
