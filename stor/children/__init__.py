"""Processes that we start: kept alive (`Child`) or run once (`run`), in a clean environment."""

from stor.children.child import Child
from stor.children.environment import clean_environment, find
from stor.children.leash import IReactor
from stor.children.oneshot import Ended, run

__all__ = ["Child", "Ended", "IReactor", "clean_environment", "find", "run"]
