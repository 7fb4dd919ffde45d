"""`stor get`: objects become files."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from stor.cli.objects import PIPE, Reach, folder, ref, remote, work
from stor.cli.telling import CODES, Teller
from stor.client.objects.held import Shown
from stor.client.objects.many import every, objects_below, path_of, ref_of, these
from stor.client.objects.names import Name, Ref
from stor.client.objects.transfer import Transfers


@click.command(epilog=CODES)
@click.argument("name")
@click.argument("target", metavar="[FILE|DIR|-]", default=".")
@click.option("--recursive", "-r", is_flag=True, help="All objects below a folder.")
@remote
def get(name: str, target: str, reach: Reach, *, recursive: bool, as_json: bool) -> None:
    r"""Fetch the object NAME (stor://namespace/tenant/key, or its id) into a file, or to standard output.

    The file appears when all of it is there and has the right hash. What broke off stays in a hidden folder
    beside it (.FILE.….stor-part), and the next get goes on with it. With -r all objects below NAME become files below
    a folder.

    \b
    Examples:
      stor get stor://photos/acme/2026/cat.jpg
      stor get stor://backups/acme/shop.sql - | psql shop
      stor get -r stor://www/acme/site site
    """
    teller = Teller(as_json=as_json, is_long=recursive)
    if recursive:
        fetch_below(reach, teller, name, target)
    fetch_one(reach, teller, name, target)


def fetch_below(reach: Reach, teller: Teller, name: str, target: str) -> NoReturn:
    """Fetch what is below a name."""
    where = folder(name)
    work(reach, teller, lambda transfers: get_below(transfers, teller, where, Path(target)))


def fetch_one(reach: Reach, teller: Teller, name: str, target: str) -> NoReturn:
    """Fetch one object, into a file or a pipe."""
    what = ref(name)
    if target != PIPE:
        file = file_of(what, target)
        work(reach, teller, lambda transfers: get_one(transfers, teller, what, file))
    if teller.as_json:
        raise click.UsageError("with --json an object cannot be written to standard output")
    work(reach, teller, lambda transfers: get_pipe(transfers, teller, what))


def file_of(what: Ref, target: str) -> Path:
    """Say into which file an object goes: in a folder it keeps the last part of its key."""
    if not (Path(target).is_dir() or target.endswith("/")):
        return Path(target)
    name = what.key.rpartition("/")[2] if isinstance(what, Name) else what.id
    if name in {"", ".", ".."} or "\0" in name:
        raise click.UsageError("its key does not end with the name of a file; say which file it shall be, or -r")
    return Path(target, name)


async def get_one(transfers: Transfers, teller: Teller, what: Ref, file: Path) -> None:
    """Fetch one object into a file."""

    async def one(what: Ref) -> None:
        teller.done(await transfers.get(what, file))

    await every(these([what]), one, lambda what, why: teller.failed(str(what), why))


async def get_pipe(transfers: Transfers, teller: Teller, what: Ref) -> None:
    """Write one object to standard output, and nothing else."""

    async def one(what: Ref) -> None:
        await transfers.get_pipe(what, sys.stdout.fileno())

    await every(these([what]), one, lambda what, why: teller.failed(str(what), why))


async def get_below(transfers: Transfers, teller: Teller, where: Name, root: Path) -> None:
    """Fetch all objects below a name."""

    async def one(found: Shown) -> None:
        file = path_of((found.key or "").removeprefix(where.folder), root)
        teller.done(await transfers.get(ref_of(found), file, root))

    await every(objects_below(transfers.store, where), one, lambda found, why: teller.failed(str(ref_of(found)), why))
    teller.summary()
