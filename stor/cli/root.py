"""`stor` itself: its subcommands, and what their errors look like."""

import sys

import click

import stor
from stor.cli.blobs import blobs
from stor.cli.config import config
from stor.cli.dokku import dokku
from stor.cli.health import health
from stor.cli.keys import keys
from stor.cli.sync import sync
from stor.cli.token import token
from stor.errors import StorError


@click.group()
@click.version_option(stor.__version__, message="stor %(version)s")
def command() -> None:
    """The storage front door of a small machine.

    The server itself runs under twistd: twistd -n stor --config stor.toml run
    """


for subcommand in (blobs, config, dokku, health, keys, sync, token):
    command.add_command(subcommand)


def main() -> None:
    """Exit code 0: well. 1: an error, one line on stderr. 2: a mistyped command line."""
    try:
        command(prog_name="stor")
    except StorError as why:
        click.echo(f"stor: {why}", err=True)
        sys.exit(1)
