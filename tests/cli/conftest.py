"""One stor for all tests of commands that use a tenant of their own in it."""

from collections.abc import Iterator

import pytest

from tests.blobs.processes import BlobServer


@pytest.fixture(scope="session")
def object_server() -> Iterator[BlobServer]:
    """Lend a running stor; its namespaces are shared."""
    with BlobServer("") as server:
        yield server
