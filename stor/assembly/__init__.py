"""The house, put together from its configuration: the only place where parts meet."""

from stor.assembly.build import build

__all__ = ["build"]
