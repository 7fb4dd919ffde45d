"""`stor` itself: its subcommands, and what their errors look like."""

import sys

import click

import stor
from stor.cli.backup import backup
from stor.cli.blobs import blobs
from stor.cli.config import config
from stor.cli.cp import cp
from stor.cli.dokku import dokku
from stor.cli.fsck import fsck
from stor.cli.gc import gc
from stor.cli.get import get
from stor.cli.health import health
from stor.cli.keys import keys
from stor.cli.ls import ls
from stor.cli.put import put
from stor.cli.restore import restore
from stor.cli.rm import rm
from stor.cli.stat import stat
from stor.cli.sync import sync
from stor.cli.token import token
from stor.errors import StorError


@click.group()
@click.version_option(stor.__version__, message="stor %(version)s")
def command() -> None:
    """The storage front door of a small machine.

    The server itself runs under twistd: twistd -n stor --config stor.toml run
    """


for subcommand in (
    backup,
    blobs,
    config,
    cp,
    dokku,
    fsck,
    gc,
    get,
    health,
    keys,
    ls,
    put,
    restore,
    rm,
    stat,
    sync,
    token,
):
    command.add_command(subcommand)


def unescape(one: click.Command) -> None:
    """Have click leave the lines of examples alone: it looks for a backspace, which a raw docstring only spells."""
    one.help = (one.help or "").replace(r"\b", "\b")
    for inner in one.commands.values() if isinstance(one, click.Group) else ():
        unescape(inner)


unescape(command)


def main() -> None:
    """Exit code 0: well. 1: an error, one line on stderr. 2: a mistyped command line."""
    try:
        command(prog_name="stor")
    except StorError as why:
        click.echo(f"stor: {why}", err=True)
        sys.exit(1)
