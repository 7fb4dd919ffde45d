"""`stor put`: files, folders and pipes become objects."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from stor.cli.objects import PIPE, Reach, folder, remote, work, writing
from stor.cli.telling import CODES, Teller
from stor.client.objects.many import every, files_below, key_of, these
from stor.client.objects.names import Name
from stor.client.objects.transfer import Transfers
from stor.client.objects.wish import Manner

Names = Sequence[tuple[str, Name]]


@click.command(epilog=CODES)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.argument("target", metavar="NAME")
@click.option("--recursive", "-r", is_flag=True, help="All files below a folder.")
@click.option("--no-key", is_flag=True, help="Give it no key: it is found by its id only.")
@writing
@remote
def put(
    files: tuple[str, ...],
    target: str,
    manner: Manner,
    reach: Reach,
    *,
    recursive: bool,
    no_key: bool,
    as_json: bool,
) -> None:
    r"""Store each FILE (-: standard input, as it comes) under NAME, stor://namespace/tenant/key.

    A NAME without a key, or whose key ends with a slash, is a folder: each FILE keeps its own name in it. With -r, FILE
    is a folder, and so is NAME. A key that has other bytes is left alone (exit code 4) unless it is said otherwise.

    \b
    Examples:
      stor put cat.jpg stor://photos/acme/2026/
      pg_dump shop | stor put - stor://backups/acme/shop.sql --class cold
      stor put -r site stor://www/acme/site --replace
    """
    where = folder(target)
    teller = Teller(as_json=as_json, is_long=recursive)
    if recursive:
        store_below(reach, teller, files, where, manner)
    names = _keyless(files, where) if no_key else named(files, where)
    work(reach, teller, lambda transfers: put_each(transfers, teller, names, manner))


def store_below(reach: Reach, teller: Teller, files: Sequence[str], where: Name, manner: Manner) -> NoReturn:
    """Store what is below one folder."""
    root = Path(files[0])
    if len(files) > 1 or not root.is_dir():
        raise click.UsageError("-r takes one folder")
    work(reach, teller, lambda transfers: put_below(transfers, teller, root, where, manner))


def _keyless(files: Sequence[str], where: Name) -> Names:
    if where.key:
        raise click.UsageError("--no-key, and NAME has a key")
    return [(file, where) for file in files]


def named(files: Sequence[str], where: Name) -> Names:
    """Say under which name each file is stored."""
    for file in files:
        if file != PIPE and Path(file).is_dir():
            raise click.UsageError(f"{file} is a folder: say -r")
    if where.is_folder:
        if PIPE in files:
            raise click.UsageError("what comes from a pipe needs a NAME with a key, or --no-key")
        return [(file, where.below(Path(file).name)) for file in files]
    if len(files) > 1:
        raise click.UsageError("several files need a folder: a NAME that ends with a slash")
    return [(files[0], where)]


async def put_each(transfers: Transfers, teller: Teller, names: Names, manner: Manner) -> None:
    """Store files under names."""

    async def one(job: tuple[str, Name]) -> None:
        file, name = job
        if file == PIPE:
            teller.done(await transfers.put_pipe(sys.stdin.fileno(), name, manner))
        else:
            teller.done(await transfers.put(Path(file), name, manner))

    await every(these(names), one, lambda job, why: teller.failed(str(job[1]), why))


async def put_below(transfers: Transfers, teller: Teller, root: Path, where: Name, manner: Manner) -> None:
    """Store all files below a folder."""

    async def one(path: Path) -> None:
        teller.done(await transfers.put(path, where.below(key_of(path, root)), manner))

    below = files_below(root, transfers.hands, teller.passed)
    await every(below, one, lambda path, why: teller.failed(str(path), why))
    teller.summary()
