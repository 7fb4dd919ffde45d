"""Fixtures that several folders share; the servers themselves are in `tests/servers.py`."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.servers import RedisServer, S3Server

settings.register_profile("stor", deadline=None, derandomize=True)  # the same examples on every machine
settings.load_profile("stor")


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Lend a redis-server without a password for one test."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Lend one S3 server to all tests; each uses a bucket or a prefix of its own."""
    with S3Server() as server:
        yield server
