"""`stor blobs`, as a person types it."""

import json
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.places import folder
from tests.proxies import ROOT
from tests.servers import clean_environment


class ReindexTests(SynchronousTestCase):
    def setUp(self):
        self.folder = folder(self)
        (self.folder / "stor.toml").write_text(f"data = '{self.folder}/data'")

    def reindex(self, *words):
        argv = [sys.executable, "-c", "from stor.cli import main; main()", "blobs", "reindex", *words]
        environment = clean_environment(PYTHONPATH=str(ROOT))
        return subprocess.run(argv, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def test_reindex(self):
        """What lies there without being known is counted; what cannot be read keeps nobody from the rest."""
        done = self.reindex("--json")
        self.assertEqual(done.stderr, "")
        nothing = {"objects": 0, "corrected": 0, "strange": 0, "unreadable": 0}
        self.assertEqual(json.loads(done.stdout), nothing)
        stray = self.folder / "data/blobs/data/memory/stray.md="
        stray.parent.mkdir(parents=True, exist_ok=True)
        stray.write_text("not one of ours")
        done = self.reindex("--json")
        self.assertEqual(json.loads(done.stdout), nothing | {"objects": 1, "unreadable": 1})
        self.assertIn("1 unreadable", self.reindex().stdout)

    def test_wrong(self):
        """A mistake is one line on stderr, and exit code 1."""
        done = self.reindex("--tenant", "")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr.count("\n"), 1)
