"""One frozen Config, read once from a TOML file and the environment."""

from stor.config.reading import Shown, explain, load
from stor.config.secret import Secret
from stor.config.shape import Config
from stor.config.urls import RedisUrl, redis_address

__all__ = ["Config", "RedisUrl", "Secret", "Shown", "explain", "load", "redis_address"]
