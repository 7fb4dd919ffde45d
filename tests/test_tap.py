"""twistd as operators run it: starts, signals, and the ways it can go wrong."""

import json
import os
import signal
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from stor import __version__
from stor.children import Child, Ended, clean_environment, run
from tests.places import folder

ROOT = Path(__file__).parent.parent
# twistd with a house of one room, so that a test can choose what the room does.
ONE_ROOM = """
import sys, types
from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from stor.errors import *
from stor.stack import Stack

class Room(Service):
    def startService(self):
        super().startService()
        {start}
    def stopService(self):
        super().stopService()
        print("room stops")
        return deferLater(reactor, {slow}, print, "room has stopped")

class House(Stack):
    {reload}

def build(config, reactor, only, again):
    house = House()
    house.add(Room())
    return house

sys.modules["stor.assembly"] = types.ModuleType("stor.assembly")
sys.modules["stor.assembly"].build = build
from twisted.scripts.twistd import run
sys.argv = ["twistd", "--pidfile=", "-n", "stor", *sys.argv[1:]]
run()
"""


class TapCase(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.folder = folder(self)
        self.env = clean_environment({"PYTHONPATH": str(ROOT), "STOR_LOG__FORMAT": "json"})

    def sh(self, argv: list[str]) -> list[str]:
        """Run in a folder of our own, where there is no stor.toml and no .env."""
        return ["sh", "-c", 'cd "$0" && exec "$@"', str(self.folder), *argv]

    async def twistd(self, *arguments: str) -> Ended:
        argv = [
            sys.executable,
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "--pidfile=",
            *arguments,
        ]
        return await run(self.sh(argv), self.env, 30, reactor)


class OptionTests(TapCase):
    async def test_help(self) -> None:
        """`--help` tells the options and ends well."""
        ended = await self.twistd("-n", "stor", "--help")
        self.assertEqual(ended.code, 0)
        self.assertIn(b"--config=", ended.out)

    async def test_version(self) -> None:
        """`--version` is ours, not Twisted's."""
        self.assertEqual(await self.twistd("-n", "stor", "--version"), Ended(0, f"stor {__version__}\n".encode(), b""))

    async def test_mistyped_option(self) -> None:
        """An unknown option is one line, not all the help of twistd."""
        ended = await self.twistd("-n", "stor", "--confg", "x", "run")
        self.assertEqual(ended, Ended(1, b"", b"stor: option --confg not recognized\n"))

    async def test_missing_file(self) -> None:
        """A configuration that was named must be there."""
        ended = await self.twistd("-n", "stor", "--config", "no.toml", "run")
        self.assertEqual(ended, Ended(1, b"", b"stor: no.toml: No such file or directory\n"))

    async def test_mistyped_key(self) -> None:
        """A mistyped key is one line with what was meant."""
        (self.folder / "stor.toml").write_text("[redis]\nprot = 1\n")
        ended = await self.twistd("-n", "stor", "run")
        said = b"stor: stor.toml: unknown key redis.prot, did you mean redis.port?\n"
        self.assertEqual(ended, Ended(1, b"", said))

    async def test_unknown_part(self) -> None:
        """A part that the house does not have is refused with those it has."""
        ended = await self.twistd("-n", "stor", "run", "--only", "redis,kitchen")
        self.assertEqual((ended.code, ended.err.count(b"\n")), (1, 1), ended.err)
        self.assertIn(b"--only takes some of", ended.err)


class SignalTests(TapCase):
    """With a house of one room that takes its time."""

    def script(self, start: str = "pass", slow: float = 0.6, reload: str = "pass") -> list[str]:
        code = ONE_ROOM.format(start=start, slow=slow, reload=reload)
        return self.sh([sys.executable, "-c", code, "run"])

    async def up(self, argv: list[str], awaited: bytes = b"is up") -> Child:
        self.said: list[bytes] = []
        self.ends: list[str] = []
        child = Child(
            "twistd", argv, self.env, reactor, is_ready=lambda line: awaited in line, on_line=self.said.append
        )
        self.addCleanup(child.stopService)
        await child.startService()
        return child

    async def ended(self, child: Child) -> str:
        """How it ended; a Child would start it again, so it is stopped in its pause."""
        while child.state == "up":
            await deferLater(reactor, 0.02)
        self.assertEqual(child.state, "paused")
        words = child.last_words()
        await child.stopService()
        return words

    def count(self, words: bytes) -> int:
        return sum(words in line for line in self.said)

    async def test_stops(self) -> None:
        """SIGTERM and SIGINT: an orderly stop, waited for, and exit code 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            child = await self.up(self.script(slow=0.2))
            os.kill(child.pid, number)
            self.assertTrue((await self.ended(child)).startswith("ended with exit code 0"))
            self.assertEqual(self.count(b"room has stopped"), 1)

    async def test_second_signal(self) -> None:
        """A second and a third signal neither abort the stop nor begin another, nor raise."""
        child = await self.up(self.script())
        for _ in range(3):
            os.kill(child.pid, signal.SIGTERM)
            await deferLater(reactor, 0.1)
        self.assertTrue((await self.ended(child)).startswith("ended with exit code 0"))
        self.assertEqual((self.count(b"room stops"), self.count(b"room has stopped")), (1, 1))
        self.assertEqual((self.count(b"Traceback"), self.count(b"stopping already")), (0, 2))

    async def test_stop_while_rising(self) -> None:
        """A signal ends a rise that hangs."""
        child = await self.up(self.script(start="print('rising'); return Deferred()"), b"rising")
        await deferLater(reactor, 0.2)
        os.kill(child.pid, signal.SIGTERM)
        self.assertTrue((await self.ended(child)).startswith("ended with exit code 0"))
        self.assertEqual((self.count(b"room has stopped"), self.count(b"Traceback")), (1, 0))

    async def test_cannot_rise(self) -> None:
        """An error on purpose: one line, no traceback, what rose comes down, exit code 1."""
        ended = await run(self.script(start="raise Unavailable('no redis at all')"), self.env, 20, reactor)
        self.assertEqual((ended.code, ended.err), (1, b"stor: cannot start: no redis at all\n"))
        self.assertIn(b"room has stopped", ended.out)
        self.assertNotIn(b"Traceback", ended.out)

    async def test_bug_while_rising(self) -> None:
        """An error of ours: the same line, and a traceback in the log."""
        ended = await run(self.script(start="1 / 0"), self.env, 20, reactor)
        self.assertEqual((ended.code, ended.err), (1, b"stor: cannot start: division by zero\n"))
        self.assertIn(b"Traceback", ended.out)

    async def test_reload(self) -> None:
        """SIGHUP reloads; a reload that fails leaves all as it was; neither ends the process."""
        reload = "def reload(self): print('asked'); raise ConfigError('no such file')"
        child = await self.up(self.script(slow=0, reload=reload))
        for _ in range(2):
            os.kill(child.pid, signal.SIGHUP)
            await deferLater(reactor, 0.2)
        self.assertEqual((self.count(b"asked"), self.count(b"not reloaded, all is as before: no such file")), (2, 2))
        self.assertEqual((child.state, self.count(b"Traceback")), ("up", 0))

    async def test_log_lines(self) -> None:
        """Each line that twistd writes is JSON, its own first words too."""
        child = await self.up(self.script(slow=0))
        os.kill(child.pid, signal.SIGTERM)
        await self.ended(child)
        self.assertTrue(all({"ts", "level", "event"} <= json.loads(line).keys() for line in self.said), self.said)
