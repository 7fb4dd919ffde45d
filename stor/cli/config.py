"""`stor config check`: what is configured, and where each value came from."""

import json
import os
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stor.config import Shown, explain

DEFAULT = Path("stor.toml")


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help=f"The file to check; by default {DEFAULT}, where it exists.",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts: a list of {key, value, origin}.")
def check(path: Path | None, *, as_json: bool) -> None:
    r"""Print the effective values, secrets hidden; exit code 1 when the configuration is wrong.

    \b
    Examples:
      stor config check
      stor config check --config stor.example.toml --json
    """
    settings = explain(path or (DEFAULT if DEFAULT.exists() else None), os.environ)
    if as_json:
        click.echo(json.dumps([setting._asdict() for setting in settings], indent=2))
    else:
        Console().print(table(settings))


def table(settings: list[Shown]) -> Table:
    """For people; nothing in a value is taken for markup."""
    shown = Table("key", "value", "from", box=None, pad_edge=False)
    for setting in settings:
        style = "dim" if setting.origin == "default" else None
        shown.add_row(*(Text(text) for text in setting), style=style)
    return shown
