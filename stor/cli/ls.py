"""`stor ls`: which objects there are."""

import json
from dataclasses import replace

import click
from rich.filesize import decimal

from stor.cli.objects import Reach, checked, remote, work
from stor.cli.telling import CODES, Teller, object_of
from stor.client.objects.held import Shown
from stor.client.objects.many import ref_of
from stor.client.objects.names import SCHEME, Name, place
from stor.client.objects.transfer import Transfers
from stor.client.paths import shown


@click.command(epilog=CODES)
@click.argument("name", default=SCHEME)
@click.option("--recursive", "-r", is_flag=True, help="What lies deeper too, rather than the folder it is in.")
@remote
def ls(name: str, reach: Reach, *, recursive: bool, as_json: bool) -> None:
    r"""List the objects whose names begin with NAME, by key; without one all that your key may see.

    Each line has the size, the time it was changed, the class and the name, or the id of what has no key. With --json
    each line is an object as the API shows it, or {"prefix": …}.

    \b
    Examples:
      stor ls stor://photos/acme/2026/
      stor ls -r --json stor://photos/acme
    """
    where = checked(place, name, "NAME")
    delimiter = "" if recursive or not where.tenant else "/"

    async def main(transfers: Transfers) -> None:
        async for page in transfers.store.pages(where, delimiter):
            for prefix in page.common_prefixes:
                click.echo(json.dumps({"prefix": prefix}) if as_json else folder_line(replace(where, key=prefix)))
            for found in page.objects:
                click.echo(json.dumps(object_of(found)) if as_json else line(found))

    work(reach, Teller(as_json=as_json), main)


def line(found: Shown) -> str:
    """Show one to people."""
    changed, kind = shown(found.updated_at[:16].replace("T", " ")), shown(found.storage_class)
    return f"{decimal(found.size_bytes):>9}  {changed}  {kind:4}  {shown(str(ref_of(found)))}"


def folder_line(name: Name) -> str:
    """Show what has more below it."""
    return f"{'':33}  {name}"
