"""What the commands share that work on the database and the stores themselves, beside a running server."""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stor.cli.config import DEFAULT
from stor.cli.sync import run
from stor.config import Config, load
from stor.errors import ConfigError, StorError

if TYPE_CHECKING:
    from stor.objects.core import Objects

configured = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help=f"The configuration; by default {DEFAULT}, where it exists.",
)


def settings(path: Path | None) -> Config:
    """Read the configuration; ConfigError where it leads to no store: a new one must not be taken for a good one."""
    config = load(path or (DEFAULT if DEFAULT.exists() else None), os.environ)
    file = config.data / "stor.db"
    if config.database.url is None and not file.exists():
        raise ConfigError(f"there is no {file}; is this the right configuration, and the right folder?")
    return config


def beside(config: Config, main: Callable[["Objects", Any], Awaitable[None]]) -> None:
    """Do `main` with the objects and a reactor; raises the StorError that ended it. A signal ends the process."""
    from stor.assembly.objects import alone  # noqa: PLC0415 - it takes half a second to load

    failures = list[StorError]()

    async def begun(reactor: Any) -> None:
        stack, objects = alone(config, reactor)
        try:
            await stack.startService()
            await main(objects, reactor)
        finally:
            await stack.stopService()

    signalled = run(begun, failures.append)
    if failures:
        raise failures[0]
    if signalled:
        sys.exit(128 + signalled)
