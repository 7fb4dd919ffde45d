"""`stor stat`: what is known of objects."""

import json
from collections.abc import Sequence

import click

from stor.cli.objects import Reach, ref, remote, work
from stor.cli.telling import CODES, Teller, seen_of
from stor.client.objects.many import every, these
from stor.client.objects.names import Ref
from stor.client.objects.transfer import Transfers
from stor.client.paths import shown


@click.command(epilog=CODES)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@remote
def stat(names: tuple[str, ...], reach: Reach, *, as_json: bool) -> None:
    r"""Look at the objects NAME (stor://namespace/tenant/key, or an id), without fetching them.

    \b
    Examples:
      stor stat stor://photos/acme/2026/cat.jpg
      stor stat --json stor://photos/acme/2026/cat.jpg
    """
    refs, teller = [ref(name) for name in names], Teller(as_json=as_json)
    work(reach, teller, lambda transfers: look_at(transfers, teller, refs, as_json=as_json))


async def look_at(transfers: Transfers, teller: Teller, refs: Sequence[Ref], *, as_json: bool) -> None:
    """Tell what the head of each says."""

    async def one(what: Ref) -> None:
        found = {"name": str(what), **seen_of(await transfers.store.head(what))}
        click.echo(json.dumps(found) if as_json else _lines(found))

    await every(these(refs), one, lambda what, why: teller.failed(str(what), why))


def _lines(found: dict[str, object]) -> str:
    """Show one to people, a line for each thing known."""
    metadata = found.pop("metadata")
    assert isinstance(metadata, dict)  # noqa: S101 - seen_of has made it
    found |= {f"metadata {name}": value for name, value in sorted(metadata.items())}
    return "\n".join(shown(f"{name.replace('_', ' ')}: {value}") for name, value in found.items())
