"""`stor backup` and `stor restore`, as a person types them."""

import json
import subprocess
import sys

from click.testing import CliRunner
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from stor.assembly.objects import alone
from stor.cli.backup import backup
from stor.config import load
from tests.objects.backups import blob_path, contents, fill, flip
from tests.objects.rooms import LARGE, body_of, put
from tests.places import folder
from tests.proxies import ROOT
from tests.servers import clean_environment


class BackupTests(TestCase):
    timeout = 120

    async def setUp(self):
        self.folder = folder(self)
        self.dir = self.folder / "backups"
        self.objects = await self.store("here")
        await fill(self.objects)

    async def store(self, name):
        """Give the objects of a configuration called so."""
        file = self.folder / f"{name}.toml"
        file.write_text(f"data = '{self.folder}/{name}'")
        stack, objects = alone(load(file, {}), reactor)
        self.addCleanup(stack.stopService)
        await stack.startService()
        return objects

    async def stor(self, *words, code=0):
        """Run it beside us, who go on; give what it said on stdout and on stderr."""
        argv = [sys.executable, "-c", "from stor.cli import main; main()", *map(str, words)]
        environment = clean_environment(PYTHONPATH=str(ROOT))
        done = await deferToThread(
            subprocess.run, argv, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout, done.stderr

    async def json(self, *words, code=0):
        """Give what it says to programs."""
        return json.loads((await self.stor(*words, "--json", code=code))[0])

    async def test_there_and_back(self):
        """A backup is made, verified, looked at and restored; each says what it did."""
        wanted = await contents(self.objects)
        made = await self.json("backup", self.dir, "--config", "here.toml")
        self.assertEqual((made["objects"], made["damaged"]), (len(wanted), 0))
        self.assertEqual(made["copied"], {"blobs": made["blobs"], "bytes": made["blob_bytes"], "damaged": {}})
        said, _ = await self.stor("backup", self.dir, "--config", "here.toml", "--keep", "1", "--rehash")
        self.assertIn("0 of 0 bytes were new\nremoved 1 backups, and 0 blobs of 0 bytes", said)
        verified = await self.json("backup", "--verify", self.dir)
        self.assertEqual((verified["backups"], verified["objects"], verified["faults"]), (1, len(wanted), 0))
        self.assertEqual((verified["blobs"], verified["bytes"]), (made["blobs"], made["blob_bytes"]))
        there = await self.store("there")
        looked = await self.json("restore", self.dir, "--config", "there.toml", "--dry-run")
        self.assertEqual((looked["absent"], looked["there"], looked["strangers"]), (len(wanted), 0, 0))
        self.assertEqual(await contents(there), {})
        said, _ = await self.stor("restore", self.dir, "--config", "there.toml")
        self.assertIn(f"restored {len(wanted)} objects", said)
        self.assertIn(f"proved: {len(wanted)} of {len(wanted)} objects", said)
        self.assertEqual(await contents(there), wanted)
        again = await self.json("restore", self.dir, "--config", "there.toml")
        self.assertEqual((again["objects"], again["there"]), (0, len(wanted)))

    async def test_strangers(self):
        """A store with other objects is left alone, unless one says --merge."""
        await self.stor("backup", self.dir, "--config", "here.toml")
        there = await self.store("there")
        await put(there, "large", b"another")
        _, error = await self.stor("restore", self.dir, "--config", "there.toml", code=1)
        self.assertEqual(error, "stor: the store has 1 objects that are not in the backup; say --merge\n")
        self.assertEqual(len(await contents(there)), 1)
        _, error = await self.stor("restore", self.dir, "--config", "there.toml", "--merge", code=3)
        self.assertIn("not restored, the key is taken: 1\n  photos/acme/large ", error)
        self.assertEqual(len(await contents(there)), len(await contents(self.objects)))

    async def test_damage(self):
        """What is damaged is told and exit code 3, in the backup and in the store."""
        await self.stor("backup", self.dir, "--config", "here.toml")
        flip(blob_path(self.dir, body_of("new", LARGE + 1)))
        _, error = await self.stor("backup", "--verify", self.dir, code=3)
        self.assertRegex(error, r"^wrong: 1\n  blob [0-9a-f]{64} has other bytes\n$")
        await self.store("there")
        _, error = await self.stor("restore", self.dir, "--config", "there.toml", code=3)
        self.assertIn("not restored, the backup lacks their bytes: 1\n  photos/acme/replaced ", error)
        made = await put(self.objects, "damaged", body_of("damaged", LARGE))
        found = await self.objects.find(made.object.id)
        await self.objects.stores[made.object.storage_class].delete(found.blob.copy)
        _, error = await self.stor("backup", self.dir, "--config", "here.toml", code=3)
        self.assertEqual(error, f"damaged, not saved: 1\n  {made.object.digest}: hot: the copy is not in its store\n")

    async def test_mistakes(self):
        """A mistake is one line on stderr and exit code 1; one of the command line 2."""
        empty = folder(self)
        for words in (
            ("backup", "--verify", empty),
            ("restore", empty, "--config", "here.toml", "--at", "yesterday"),
            ("backup", self.folder / "here.toml" / "dir", "--config", "here.toml"),
        ):
            said, error = await self.stor(*words, code=1)
            self.assertEqual((said, error.count("\n")), ("", 1), error)
        for words in (("--verify", "--keep", "3"), ("--verify", "--rehash"), ("--keep", "0")):
            self.assertEqual(CliRunner().invoke(backup, [str(empty), *words]).exit_code, 2, words)
