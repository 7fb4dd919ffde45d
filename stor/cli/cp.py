"""`stor cp`: from here to there, from there to here, and from one name to another."""

import click

from stor.cli.get import fetch_below, fetch_one
from stor.cli.objects import Reach, folder, ref, remote, work, writing
from stor.cli.put import named, put_each, store_below
from stor.cli.telling import CODES, Teller
from stor.client.objects.held import Shown
from stor.client.objects.many import every, objects_below, ref_of, these
from stor.client.objects.names import Name, Ref, is_remote
from stor.client.objects.transfer import Transfers
from stor.client.objects.wish import Manner


@click.command(epilog=CODES)
@click.argument("source")
@click.argument("target")
@click.option("--recursive", "-r", is_flag=True, help="All that is below a folder.")
@writing
@remote
def cp(source: str, target: str, manner: Manner, reach: Reach, *, recursive: bool, as_json: bool) -> None:
    r"""Copy SOURCE to TARGET; at least one of them is remote (stor://namespace/tenant/key, or an id).

    Between a file and an object it is `stor put` or `stor get`. Between two objects no bytes move where the tenant of
    TARGET has them already; otherwise they go through this machine, and nothing of them is kept. Type, metadata and
    class are kept, unless it is said otherwise.

    \b
    Examples:
      stor cp cat.jpg stor://photos/acme/2026/
      stor cp stor://photos/acme/2026/cat.jpg stor://photos/acme/best/
      stor cp -r stor://www/acme/site stor://www/acme/site-backup
    """
    teller = Teller(as_json=as_json, is_long=recursive)
    if not is_remote(target):
        if not is_remote(source):
            raise click.UsageError("neither is remote: stor://namespace/tenant/key")
        fetch_below(reach, teller, source, target) if recursive else fetch_one(reach, teller, source, target)
    where = folder(target)
    if not is_remote(source):
        if recursive:
            store_below(reach, teller, [source], where, manner)
        names = named([source], where)
        work(reach, teller, lambda transfers: put_each(transfers, teller, names, manner))
    if recursive:
        below = folder(source)
        work(reach, teller, lambda transfers: copy_below(transfers, teller, below, where, manner))
    what = ref(source)
    name = where.below(_last(what)) if where.is_folder else where
    work(reach, teller, lambda transfers: copy_one(transfers, teller, what, name, manner))


def _last(what: Ref) -> str:
    """Say how an object is called in a folder: as the last part of its key, or by its id."""
    last = what.key.rpartition("/")[2] if isinstance(what, Name) else what.id
    if not last:
        raise click.UsageError("SOURCE is a folder: say -r")
    return last


async def copy_one(transfers: Transfers, teller: Teller, what: Ref, name: Name, manner: Manner) -> None:
    """Copy one object."""

    async def one(what: Ref) -> None:
        teller.done(await transfers.copy(what, name, manner))

    await every(these([what]), one, lambda what, why: teller.failed(str(what), why))


async def copy_below(transfers: Transfers, teller: Teller, source: Name, target: Name, manner: Manner) -> None:
    """Copy all objects below a name; those without a key stay where they are."""

    async def one(found: Shown) -> None:
        if found.key:
            name = target.below(found.key.removeprefix(source.folder))
            teller.done(await transfers.copy(ref_of(found), name, manner))

    below = objects_below(transfers.store, source)
    await every(below, one, lambda found, why: teller.failed(str(ref_of(found)), why))
    teller.summary()
