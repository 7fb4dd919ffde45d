"""`stor blobs`: what an operator does to a tree of blobs."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from stor.cli.sync import run
from stor.config import load
from stor.errors import StorError

DEFAULT = Path("stor.toml")


@click.group()
def blobs() -> None:
    """Look after blobs."""


@blobs.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help=f"The configuration; by default {DEFAULT}, where it exists.",
)
@click.option("--tenant", help="Whose tree; by default the one of nobody in particular.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: {objects, corrected, strange, unreadable}.")
def reindex(path: Path | None, tenant: str | None, *, as_json: bool) -> None:
    r"""Make the index show what the objects say; other processes may go on meanwhile.

    Each start of stor does the same. `strange` are keys that are no path of a file, `unreadable` are objects
    that cannot be looked at: the index shows them as before.

    \b
    Examples:
      stor blobs reindex
      stor blobs reindex --config stor.toml --tenant acme --json
    """
    from stor.assembly.blobs import alone  # noqa: PLC0415 - it takes half a second to load
    from stor.blobs.tenants import folder_of  # noqa: PLC0415

    config = load(path or (DEFAULT if DEFAULT.exists() else None), os.environ)
    folder, failures, found = "" if tenant is None else folder_of(tenant), list[StorError](), dict[str, int]()

    async def main(reactor: Any) -> None:
        stack, tree = alone(config, folder, reactor)
        try:
            await stack.startService()
            found.update(asdict(tree.found))
        finally:
            await stack.stopService()

    signalled = run(main, failures.append)
    if failures:
        raise failures[0]
    if signalled:
        sys.exit(128 + signalled)
    if as_json:
        click.echo(json.dumps(found))
    else:
        click.echo(", ".join(f"{number} {what}" for what, number in found.items()))
