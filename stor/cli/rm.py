"""`stor rm`: objects are deleted."""

from collections.abc import Sequence

import click

from stor.cli.objects import Reach, checked, folder, ref, remote, work
from stor.cli.telling import CODES, Teller
from stor.client.objects.held import Shown
from stor.client.objects.many import every, objects_below, ref_of, these
from stor.client.objects.names import Name, Ref
from stor.client.objects.transfer import Transfers
from stor.client.objects.wish import etag_of


@click.command(epilog=CODES)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--recursive", "-r", is_flag=True, help="All objects below each NAME.")
@click.option("--if-match", metavar="ETAG", help="Only if it has this ETag.")
@remote
def rm(names: tuple[str, ...], if_match: str | None, reach: Reach, *, recursive: bool, as_json: bool) -> None:
    r"""Delete the objects NAME (stor://namespace/tenant/key, or an id).

    \b
    Examples:
      stor rm stor://photos/acme/2026/cat.jpg
      stor rm -r stor://www/acme/site
    """
    match = None if if_match is None else checked(etag_of, if_match, "--if-match")
    teller = Teller(as_json=as_json, is_long=recursive)
    if recursive:
        folders = [folder(name) for name in names]
        work(reach, teller, lambda transfers: remove_below(transfers, teller, folders, match))
    refs = [ref(name) for name in names]
    work(reach, teller, lambda transfers: remove_each(transfers, teller, refs, match))


async def remove_each(transfers: Transfers, teller: Teller, refs: Sequence[Ref], match: str | None) -> None:
    """Delete objects."""

    async def one(what: Ref) -> None:
        teller.done(await transfers.delete(what, match))

    await every(these(refs), one, lambda what, why: teller.failed(str(what), why))


async def remove_below(transfers: Transfers, teller: Teller, folders: Sequence[Name], match: str | None) -> None:
    """Delete all objects below names."""

    async def one(found: Shown) -> None:
        teller.done(await transfers.delete(ref_of(found), match))

    for where in folders:
        below = objects_below(transfers.store, where)
        await every(below, one, lambda found, why: teller.failed(str(ref_of(found)), why))
    teller.summary()
