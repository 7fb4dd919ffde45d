"""`stor restore`: a backup back into an object store, and proof that it is there."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from msgspec import to_builtins
from rich.filesize import decimal

from stor.cli.backup import DEFAULT, INCOMPLETE, finish, tell
from stor.cli.sync import run
from stor.config import load
from stor.errors import Conflict, StorError


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help=f"The configuration; by default {DEFAULT}, where it exists.",
)
@click.option("--at", metavar="T0", help="Which backup of DIR, as `stor backup` named it; by default the newest.")
@click.option("--merge", is_flag=True, help="Into a store with other objects: where a key is taken, it stays as it is.")
@click.option("--dry-run", is_flag=True, help="Only tell what is there, what would come and what could not.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def restore(folder: Path, path: Path | None, at: str | None, *, merge: bool, dry_run: bool, as_json: bool) -> None:
    r"""Restore the objects of a backup in DIR that are not there; see docs/backup.md.

    A restore that was interrupted is simply begun again. At the end all rows are compared with the backup, and all
    bytes are read and hashed. Exit code 0: all is there, 1: error, 3: something is not; it is told what.

    \b
    Examples:
      stor restore /mnt/backups/objects --dry-run
      stor restore /mnt/backups/objects --config new.toml
      stor restore /mnt/backups/objects --at 20260115T103000.123456Z --merge
    """
    entry, compared, done = _done(folder, path, at, merge=merge, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps({"backup": to_builtins(entry)} | asdict(compared if done is None else done)))
    elif done is None:
        _tell_compared(entry, compared)
    else:
        _tell_restored(entry, done)
    if done is not None and not done.is_whole(entry):
        sys.exit(INCOMPLETE)


def _done(folder: Path, path: Path | None, at: str | None, *, merge: bool, dry_run: bool) -> Any:
    """Give the backup, how the store stood to it, and what was restored; None when nothing was to be done."""
    from stor.assembly.objects import alone  # noqa: PLC0415 - it takes half a second to load
    from stor.objects.backup import restoring  # noqa: PLC0415

    config, failures = load(path or (DEFAULT if DEFAULT.exists() else None), os.environ), list[StorError]()
    found = list[Any]()

    async def main(reactor: Any) -> None:
        stack, objects = alone(config, reactor)
        try:
            await stack.startService()
            entry, compared = await restoring.look(objects, folder, at, reactor)
            if compared.strangers and not (merge or dry_run):
                raise Conflict(f"the store has {compared.strangers} objects that are not in the backup; say --merge")
            done = None if dry_run else await restoring.restore(objects, folder, entry.at, reactor)
            found.extend((entry, compared, done))
        finally:
            await stack.stopService()

    finish(run(main, failures.append), failures)
    return found


def _tell_compared(entry: Any, compared: Any) -> None:
    click.echo(
        f"{entry.at}: of {entry.objects} objects {compared.there} are there, and {compared.absent} of"
        f" {decimal(compared.absent_bytes)} would come; the store has {compared.strangers} others"
    )
    tell("changed since, would stay", compared.changed.names, compared.changed.count)
    tell("taken, would stay", compared.taken.names, compared.taken.count)


def _tell_restored(entry: Any, done: Any) -> None:
    proved = done.proved
    click.echo(f"{entry.at}: restored {done.objects} objects of {decimal(done.bytes)}; {done.there} were there")
    if done.healed:
        click.echo(f"healed {done.healed} blobs that were damaged in the store")
    click.echo(
        f"proved: {proved.rows.there} of {entry.objects} objects are as in the backup; read {proved.blobs} blobs of"
        f" {decimal(proved.bytes)}"
    )
    tell("changed since, and kept so", proved.rows.changed.names, proved.rows.changed.count)
    tell("not restored, the key is taken", done.taken.names, done.taken.count)
    tell("not restored, the backup lacks their bytes", done.lost.names, done.lost.count)
    tell("damaged in the store: begun again, a restore heals them", proved.wrong, len(proved.wrong))
