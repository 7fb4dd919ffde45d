"""`stor keys`: make, list and revoke the API keys of a running stor."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stor.cli.config import DEFAULT
from stor.config import load
from stor.errors import BadRequest, ConfigError, Denied, Failed, Missing, Unavailable

ADMIN_KEY = "admin-key"  # in the data folder; see stor.assembly
SECONDS = 10.0
ANSWER_BYTES = 1 << 22
PAGE = 1000
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_ERRORS = {400: BadRequest, 401: Denied, 403: Denied, 404: Missing, 503: Unavailable}
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class _NoRedirects(HTTPRedirectHandler):
    """A key is for the server that was named, not for whoever it points to."""

    def redirect_request(self, *args: Any, **more: Any) -> None:
        return None


@dataclass(frozen=True)
class Server:
    """A running stor, and the key for it."""

    url: str
    key: str

    def __repr__(self) -> str:
        return f"Server({self.url!r}, ***)"

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Give the JSON that it answers (None for none); raises the StorError that fits any other status."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url.rstrip("/") + path, data, method=method)  # noqa: S310 - checked in `server`
        request.add_header("Authorization", f"Bearer {self.key}")
        proxies = [ProxyHandler({})] if urlsplit(self.url).hostname in _LOOPBACK else []
        opener = build_opener(_NoRedirects(), *proxies)
        try:
            with opener.open(request, timeout=SECONDS) as answer:
                said = answer.read(ANSWER_BYTES)
        except HTTPError as refusal:
            with refusal:
                raise _ERRORS.get(refusal.code, Failed)(_words(refusal.code, refusal.read(ANSWER_BYTES))) from None
        except (OSError, HTTPException) as why:
            raise Unavailable(f"{self.url} does not answer: {getattr(why, 'reason', why)}") from None
        return json.loads(said) if said else None


def _words(status: int, body: bytes) -> str:
    """Give what the server says, as far as a terminal may see it."""
    try:
        said = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        said = ""
    shown = "".join(letter if letter.isprintable() else "?" for letter in said[:500])
    return f"{shown or 'the server refuses'} ({status})"


def server(url: str | None, key_file: Path | None, config: Path | None) -> Server:
    """Find the server and the key: what was said, else the environment, else the data folder of the configuration."""
    settings = load(config or (DEFAULT if DEFAULT.exists() else None), os.environ)
    where = url or os.environ.get("STOR_URL") or f"http://127.0.0.1:{settings.web.port}"
    if not where.startswith(("http://", "https://")):
        raise click.BadParameter("an http:// or https:// URL is needed", param_hint="--url")
    if key_file is None and (key := os.environ.get("STOR_KEY")):
        return Server(where, _checked(key.strip(), "STOR_KEY"))
    file = key_file or settings.data / ADMIN_KEY
    try:
        return Server(where, _checked(file.read_text().strip(), str(file)))
    except (OSError, UnicodeDecodeError) as why:
        told = "" if key_file else "; say --key-file, or set STOR_KEY"
        raise ConfigError(f"{file}: {getattr(why, 'strerror', why)}{told}") from None


def _checked(key: str, place: str) -> str:
    """A line break would end the header, and an error would show the key."""
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigError(f"{place} holds no key")
    return key


def seconds(text: str) -> int:
    """Read `90`, `90s`, `15m`, `12h` or `30d`."""
    found = re.fullmatch(r"([0-9]{1,12})([smhd]?)", text)
    if found is None or int(found[1]) == 0:
        raise click.BadParameter("a time is said as 90s, 15m, 12h or 30d")
    return int(found[1]) * UNITS[found[2]]


def reaching(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options by which it finds the server."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="For scripts."),
        click.option("--config", type=click.Path(path_type=Path), help="The file that stor runs with."),
        click.option(
            "--key-file",
            type=click.Path(path_type=Path),
            help="Holds the key to come with; by default STOR_KEY, else the admin key in the data folder.",
        ),
        click.option("--url", help="Where stor answers; by default STOR_URL, else the configured port on loopback."),
    ):
        command = option(command)
    return command


@click.group()
def keys() -> None:
    """Look after the API keys of a running stor."""


@keys.command()
@click.argument("name")
@click.option(
    "--permission", "-p", "permissions", multiple=True, required=True, help="Such as blobs:read; may be repeated."
)
@click.option("--tenant", help="The only tenant it is for; by default that of the key you come with.")
@click.option("--all-tenants", is_flag=True, help="For all tenants, whatever the key you come with is for.")
@click.option("--expires-in", help="Such as 12h or 30d; by default it does not end.")
@reaching
def create(
    name: str,
    permissions: tuple[str, ...],
    tenant: str | None,
    expires_in: str | None,
    url: str | None,
    key_file: Path | None,
    config: Path | None,
    *,
    all_tenants: bool,
    as_json: bool,
) -> None:
    r"""Make a key called NAME. Only the key goes to stdout, and nobody can show it again.

    \b
    Examples:
      stor keys create ci -p blobs:read -p blobs:write --expires-in 30d > ci.key
      stor keys create acme-admin -p admin --tenant acme --json
    """
    if tenant is not None and all_tenants:
        raise click.UsageError("--tenant and --all-tenants say two things")
    wish: dict[str, object] = {"name": name, "permissions": list(permissions)}
    if tenant is not None or all_tenants:
        wish["tenant_id"] = tenant
    if expires_in is not None:
        wish["expires_in"] = seconds(expires_in)
    made = server(url, key_file, config).call("POST", "/v1/api-keys", wish)
    if as_json:
        click.echo(json.dumps(made, indent=2))
        return
    click.echo(made["key"])
    click.echo(f"{made['id']}: {', '.join(made['permissions'])}; shown this once", err=True)


@keys.command("list")
@reaching
def show(url: str | None, key_file: Path | None, config: Path | None, *, as_json: bool) -> None:
    """List the keys that yours may see, oldest first, revoked ones too."""
    found = list(_all(server(url, key_file, config)))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        Console().print(_table(found))


@keys.command()
@click.argument("key_id", metavar="ID")
@reaching
def revoke(key_id: str, url: str | None, key_file: Path | None, config: Path | None, *, as_json: bool) -> None:
    """Revoke the key with this ID; within 5 seconds it lets nobody in any more."""
    key_id = key_id.removeprefix("stor_")
    server(url, key_file, config).call("DELETE", f"/v1/api-keys/{quote(key_id, safe='')}")
    click.echo(json.dumps({"id": key_id, "revoked": True}) if as_json else f"{key_id} is revoked")


def _all(place: Server) -> Iterator[Mapping[str, Any]]:
    """Follow the pages to the end."""
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": PAGE} | ({"cursor": cursor} if cursor else {})
        page = place.call("GET", f"/v1/api-keys?{urlencode(query)}")
        yield from page["keys"]
        cursor = page["cursor"]


def _table(found: list[Mapping[str, Any]]) -> Table:
    """For people; nothing in a value is taken for markup."""
    shown = Table("id", "name", "tenant", "permissions", "ends", "last use", "revoked", box=None, pad_edge=False)
    for key in found:
        words = (
            key["id"],
            key["name"],
            "(all)" if key["tenant_id"] is None else key["tenant_id"],
            " ".join(key["permissions"]),
            *((key[moment] or "-")[:16] for moment in ("expires_at", "last_used_at", "revoked_at")),
        )
        shown.add_row(*(Text(word) for word in words), style="dim" if key["revoked_at"] else None)
    return shown
