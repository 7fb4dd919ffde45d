"""One stor for all tests that use a namespace of their own in it."""

from collections.abc import Iterator

import pytest

from tests.client.serving import TreeServer


@pytest.fixture(scope="session")
def tree_server() -> Iterator[TreeServer]:
    """Lend a running stor; its tree is shared."""
    with TreeServer() as server:
        yield server
