"""The `stor` command."""

from stor.cli.root import main

__all__ = ["main"]
