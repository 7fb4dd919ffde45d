"""A sync that is killed at any moment: nothing is lost, nothing is doubled, and the next one ends what it began."""

import json
import subprocess
import sys
from pathlib import Path

from tests.client.machines import MachineCase
from tests.servers import clean_environment

ROOT = Path(__file__).parent.parent.parent
MOMENTS = 24


class Dying:
    """The program in `dying.py`."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.client.dying"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_environment(PYTHONPATH=str(ROOT)),
            cwd=ROOT,
        )

    def sync(self, machine, server, namespace, die_at):
        job = {"folder": str(machine.root), "url": server.url, "token": server.token, "namespace": namespace}
        self.process.stdin.write(json.dumps(job | {"die_at": die_at}).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


class KilledTests(MachineCase):
    timeout = 120

    async def prepare(self):
        """Something of everything is to be done by the machine that is given."""
        self.setUp()
        for path in "abcde":
            self.one.write(path, f"agreed {path}")
        await self.one.sync()
        self.direct.put("a", b"theirs a")
        self.direct.delete("b")
        self.direct.put("c", b"theirs c")
        self.direct.put("f/g", b"theirs f")
        self.one.write("c", "ours c")
        self.one.write("d", "ours d")
        self.one.delete("e")
        self.one.write("h/i", "ours h")
        return self.one

    async def test_every_moment(self):
        """Killed at any call that it makes, it is finished by the next start, with one copy of what differed."""
        dying = Dying()
        self.addCleanup(dying.close)
        code, calls = dying.sync(await self.prepare(), self.server, self.namespace, 0)
        self.assertEqual(code, 0)
        self.assertGreater(calls, 150)
        await self.finished()
        for moment in range(1, calls, calls // MOMENTS):
            machine = await self.prepare()
            code, _ = dying.sync(machine, self.server, self.namespace, moment)
            self.assertEqual(code, -9, moment)
            kept = {path.read_bytes() for path in machine.root.rglob("*") if path.is_file()}
            kept |= set(self.direct.files().values())
            for content in (b"theirs a", b"theirs c", b"theirs f", b"ours c", b"ours d", b"ours h"):
                self.assertIn(content, kept, moment)
            await machine.sync()
            await self.finished()

    async def finished(self):
        files = self.one.files()
        copies = [path for path in files if path.startswith("c.conflict-")]
        self.assertEqual(len(copies), 1, files)
        self.assertEqual(files.pop(copies[0]), "ours c")
        wanted = {"a": "theirs a", "c": "theirs c", "d": "ours d", "f/g": "theirs f", "h/i": "ours h"}
        self.assertEqual(files, wanted)
        self.assertEqual(self.there(), self.one.files())
        self.assertEqual((await self.one.sync()).changed, 0)
        self.assertEqual([path.name for path in (self.one.root / ".stor-sync/tmp").iterdir()], ["now"])
