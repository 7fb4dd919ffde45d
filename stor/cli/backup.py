"""`stor backup`: the object store as plain files, as of one moment, while it goes on."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from msgspec import to_builtins
from rich.filesize import decimal

from stor.cli.sync import run
from stor.config import load
from stor.errors import StorError

DEFAULT = Path("stor.toml")
INCOMPLETE = 3
MOST_SHOWN = 20


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help=f"The configuration; by default {DEFAULT}, where it exists.",
)
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="Afterwards remove all but the N newest backups.")
@click.option("--rehash", is_flag=True, help="Hash what DIR holds already, too, and copy again what is damaged there.")
@click.option(
    "--verify", "only_verify", is_flag=True, help="Make no backup: read those in DIR, and tell what is wrong."
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def backup(
    folder: Path, path: Path | None, keep: int | None, *, rehash: bool, only_verify: bool, as_json: bool
) -> None:
    r"""Add a backup of all objects to DIR, which may hold others; see docs/backup.md.

    The servers go on meanwhile. What DIR has already is not copied again. Exit code 0: well, 1: error, and the
    backups in DIR are as before, 3: some bytes are damaged, the rest is saved (or, with --verify, right).

    \b
    Examples:
      stor backup /mnt/backups/objects --keep 30
      stor backup --verify /mnt/backups/objects
    """
    if only_verify:
        if rehash or keep is not None:
            raise click.UsageError("--verify changes nothing: --keep and --rehash do not go with it")
        _verify(folder, as_json=as_json)
        return
    report = _made(folder, path, keep, rehash=rehash)
    if as_json:
        click.echo(
            json.dumps(to_builtins(report.entry) | to_builtins({"copied": report.copied, "pruned": report.pruned}))
        )
    else:
        _tell(report)
    if report.entry.damaged:
        sys.exit(INCOMPLETE)


def _tell(report: Any) -> None:
    entry, copied, pruned = report.entry, report.copied, report.pruned
    click.echo(
        f"{entry.at}: {entry.objects} objects of {decimal(entry.bytes)} in {entry.blobs} blobs;"
        f" {copied.blobs} of {decimal(copied.bytes)} were new"
    )
    if pruned.backups or pruned.blobs:
        click.echo(f"removed {pruned.backups} backups, and {pruned.blobs} blobs of {decimal(pruned.bytes)}")
    tell("damaged, not saved", [f"{digest}: {why}" for digest, why in copied.damaged.items()], entry.damaged)


def _made(folder: Path, path: Path | None, keep: int | None, *, rehash: bool) -> Any:
    """Make a backup, and give its report."""
    from stor.assembly.objects import alone  # noqa: PLC0415 - it takes half a second to load
    from stor.objects.backup.backing import Report, Wishes, back_up  # noqa: PLC0415

    config, failures = load(path or (DEFAULT if DEFAULT.exists() else None), os.environ), list[StorError]()
    made = list[Report]()

    async def main(reactor: Any) -> None:
        stack, objects = alone(config, reactor)
        try:
            await stack.startService()
            made.append(await back_up(objects, folder, Wishes(hashing=rehash, keep=keep), reactor))
        finally:
            await stack.stopService()

    finish(run(main, failures.append), failures)
    return made[0]


def finish(signalled: int, failures: list[StorError]) -> None:
    """End this process when a signal has, and raise what went wrong."""
    if failures:
        raise failures[0]
    if signalled:
        sys.exit(128 + signalled)


def tell(what: str, names: list[str], count: int) -> None:
    """Name some of many on stderr."""
    if count:
        click.echo(f"{what}: {count}", err=True)
        for name in names[:MOST_SHOWN]:
            click.echo(f"  {name}", err=True)
        if count > MOST_SHOWN:
            click.echo("  …", err=True)


def _verify(folder: Path, *, as_json: bool) -> None:
    from stor.objects.backup.verifying import verify  # noqa: PLC0415 - it takes half a second to load

    found = verify(folder)
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        click.echo(
            f"read {found.blobs} blobs of {decimal(found.bytes)}; {found.backups} backups name {found.objects} objects"
        )
        tell("wrong", found.wrong, found.faults)
    if found.faults:
        sys.exit(INCOMPLETE)
