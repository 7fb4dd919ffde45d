"""`stor` itself: its subcommands, and what their errors look like."""

import sys

import click

import stor
from stor.cli.config import config
from stor.cli.health import health
from stor.errors import StorError


@click.group()
@click.version_option(stor.__version__, message="stor %(version)s")
def command() -> None:
    """The storage front door of a small machine.

    The server itself runs under twistd: twistd -n stor --config stor.toml run
    """


command.add_command(config)
command.add_command(health)


def main() -> None:
    """Exit code 0: well. 1: an error, one line on stderr. 2: a mistyped command line."""
    try:
        command(prog_name="stor")
    except StorError as why:
        click.echo(f"stor: {why}", err=True)
        sys.exit(1)
