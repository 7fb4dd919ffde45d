"""Test cases with folders and a stor, in which each test has a namespace of its own."""

from uuid import uuid4

import pytest
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from stor.client import Remote, Silence, Wishes, sync
from tests.client.serving import files_in
from tests.places import folder


class Machine:
    """A folder of one machine."""

    def __init__(self, case, url, token, namespace):
        self.root = folder(case)
        self.remote = Remote(url, token, reactor, namespace=namespace)
        case.addCleanup(self.remote.close)

    def write(self, path, content):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def delete(self, path):
        (self.root / path).unlink()

    def files(self):
        return {path: content.decode() for path, content in files_in(self.root).items()}

    async def sync(self, progress=None, **wishes):
        return await sync(self.root, self.remote, reactor, Wishes(**wishes), progress or Silence())


class MachineCase(TestCase):
    timeout = 60

    @pytest.fixture(autouse=True)
    def _lend(self, tree_server):
        self.server = tree_server

    def setUp(self):
        self.namespace = f"tests/{uuid4().hex}"
        self.direct = self.server.direct(self.namespace + "/")
        self.addCleanup(self.direct.close)
        self.one, self.two = self.machine(), self.machine()

    def machine(self, url=None):
        return Machine(self, url or self.server.url, self.server.token, self.namespace)

    def there(self):
        return {path: content.decode() for path, content in self.direct.files().items()}

    def counts(self, outcome):
        self.assertEqual(outcome.problems, {})
        return outcome.uploaded, outcome.downloaded, outcome.deleted_here, outcome.deleted_there

    async def agreed(self, **files):
        """Have both machines and the remote agree on these files."""
        for path, content in files.items():
            self.one.write(path, content)
        await self.one.sync()
        await self.two.sync()
        self.assertEqual(self.two.files(), files)
