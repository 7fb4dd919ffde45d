"""Children as real processes."""

import os
import signal
import sys
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from stor.children import Child, clean_environment
from stor.errors import Failed
from tests.places import folder


def alive(pid: int) -> bool:
    """A zombie that waits for its parent's glance is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(what, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come")
        await deferLater(reactor, 0.01)


class ChildTests(TestCase):
    timeout = 30

    def child(self, script: str, *, argv: list[str] | None = None, **settings) -> Child:
        self.heard: list[bytes] = []
        settings = {"is_ready": lambda line: line == b"ready", "on_line": self.heard.append} | settings
        child = Child("it", argv or ["sh", "-c", script], clean_environment({}), reactor, **settings)

        async def down() -> None:
            await child.stopService()

        self.addCleanup(lambda: Deferred.fromCoroutine(down()))
        return child

    async def test_up_and_down(self) -> None:
        """The start waits for the ready line, the stop for the end."""
        child = self.child("echo warming; sleep 0.1; echo ready >&2; exec sleep 60")
        await child.startService()
        self.assertEqual((child.state, self.heard), ("up", [b"warming", b"ready"]))
        pid = child.pid
        await child.stopService()
        self.assertEqual((child.state, child.pid, alive(pid)), ("idle", None, False))

    async def test_own_session(self) -> None:
        """The child leads its own session, so a Ctrl-C on our terminal is not its affair."""
        child = self.child("echo ready; exec sleep 60")
        await child.startService()
        self.assertEqual(os.getsid(child.pid), child.pid)

    async def test_comes_back(self) -> None:
        """A child that is killed is started again."""
        child = self.child("echo ready; exec sleep 60")
        await child.startService()
        first = child.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: child.state == "up" and child.pid != first)

    async def test_crash_loop(self) -> None:
        """A child that crashes again and again is started less and less often."""
        child = self.child("echo ready; exit 1")
        await child.startService()
        await deferLater(reactor, 1.5)
        self.assertIn(self.heard.count(b"ready"), (3, 4))  # at 0, 0.25, 0.75, and perhaps 1.75 s

    async def test_stop_in_a_pause(self) -> None:
        """A stop between two tries is over at once, and there is no next try."""
        child = self.child("echo ready; exit 1")
        await child.startService()
        await until(lambda: child.state == "paused")
        await child.stopService()
        tries = len(self.heard)
        await deferLater(reactor, 0.6)
        self.assertEqual(len(self.heard), tries)

    async def test_first_start_fails(self) -> None:
        """The last lines and the exit code are told, the secrets in them are not."""
        child = self.child("echo 'cannot reach redis://u:hunter2@h with swordfish' >&2; exit 3", secrets=["swordfish"])
        why = await self.assertFailure(child.startService(), Failed)
        self.assertEqual(str(why), "it ended with exit code 3: cannot reach redis://u:***@h with ***")
        self.assertEqual(child.state, "idle")

    async def test_no_program(self) -> None:
        """A program that is not installed is named."""
        child = self.child("", argv=["no-such-program-of-ours"])
        why = await self.assertFailure(child.startService(), Failed)
        self.assertIn("no-such-program-of-ours: no such program", str(why))

    async def test_not_ready_in_time(self) -> None:
        """A child that is never ready is ended, and the start says so."""
        child = self.child("echo $$; exec sleep 60", start_seconds=0.3)
        why = await self.assertFailure(child.startService(), Failed)
        self.assertIn("was not ready within 0.3 s", str(why))
        self.assertFalse(alive(int(self.heard[0])))

    async def test_stop_during_start(self) -> None:
        """A stop before it is ready ends the start and the process."""
        child = self.child("echo $$; exec sleep 60")
        started = child.startService()
        await until(lambda: self.heard)
        gone = child.stopService()
        await self.assertFailure(started, CancelledError)
        await gone
        self.assertFalse(alive(int(self.heard[0])))

    async def test_stop_at_once(self) -> None:
        """A stop right behind the start, before the program has even begun, leaves nothing."""
        child = self.child("echo $$; exec sleep 60")
        started = child.startService()
        pid = child.pid
        gone = child.stopService()
        await self.assertFailure(started, CancelledError)
        await gone
        self.assertFalse(alive(pid))

    async def test_ignores_sigterm(self) -> None:
        """Who does not hear SIGTERM is killed when the time is over, not before."""
        child = self.child("trap '' TERM; echo ready; while :; do sleep 0.1; done", stop_seconds=0.5)
        await child.startService()
        began = time.monotonic()
        await child.stopService()
        self.assertTrue(0.5 <= time.monotonic() - began < 3)

    async def test_grandchildren(self) -> None:
        """What the child started ends with it, be the end a stop or a crash."""
        for end in ("stop", "crash"):
            child = self.child("sleep 60 & echo $!; echo ready; wait")
            await child.startService()
            grandchild = int(self.heard[0])
            self.assertTrue(alive(grandchild))
            if end == "stop":
                await child.stopService()
            else:
                os.kill(child.pid, signal.SIGKILL)
                await until(lambda child=child: child.state == "paused")
            await until(lambda grandchild=grandchild: not alive(grandchild))

    async def test_runaway_grandchild(self) -> None:
        """A grandchild in a session of its own that holds our pipes does not hold up the stop."""
        child = self.child("setsid sleep 60 & echo $!; echo ready; exec sleep 60")
        await child.startService()
        await until(lambda: len(self.heard) > 1)
        runaway = int(next(line for line in self.heard if line.isdigit()))
        self.addCleanup(os.kill, runaway, signal.SIGKILL)
        began = time.monotonic()
        await child.stopService()
        self.assertLess(time.monotonic() - began, 3)

    async def test_flood(self) -> None:
        """65 MB on stderr, in one line and in millions, do not stay in memory, and stdout is heard on."""
        script = """
import os, sys
for _ in range(400): os.write(2, b"x" * 131072)
for _ in range(100): os.write(2, b"flood\\n" * 21845)
os.write(1, b"ready\\n")
import time; time.sleep(60)
"""
        lines = 0

        def count(line: bytes) -> None:
            nonlocal lines
            lines += 1

        child = self.child("", argv=[sys.executable, "-c", script], on_line=count, start_seconds=25)
        before = resident()
        await child.startService()
        await until(lambda: lines > 2_000_000)
        self.assertLess(resident() - before, 32 << 20)
        self.assertLessEqual(len(child._process._words._lines), 50)

    async def test_stdin(self) -> None:
        """Standard input is given whole at each start, and closed."""
        child = self.child("cat; echo ready; exec sleep 60", stdin=b"a secret\n")
        await child.startService()
        self.assertEqual(self.heard, [b"a secret", b"ready"])
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: len(self.heard) == 4)

    async def test_broken_listener(self) -> None:
        """A listener that raises is logged; the child goes on being heard."""
        said: list[bytes] = []

        def broken(line: bytes) -> None:
            said.append(line)
            raise ZeroDivisionError

        child = self.child("echo one; echo two; exec sleep 60", on_line=broken, start_seconds=1)
        await self.assertFailure(child.startService(), Failed)
        self.assertEqual(said, [b"one", b"two"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    async def test_no_secret_in_argv(self) -> None:
        """Environment and standard input do not appear where `ps` looks."""
        child = Child(
            "it",
            ["sh", "-c", "cat > /dev/null; echo ready; exec sleep 60"],
            clean_environment({"TOKEN": "swordfish"}),
            reactor,
            is_ready=lambda line: line == b"ready",
            stdin=b"swordfish",
        )
        self.addCleanup(child.stopService)
        await child.startService()
        self.assertNotIn(b"swordfish", Path(f"/proc/{child.pid}/cmdline").read_bytes())
        self.assertNotIn("swordfish", repr(child))


class OrphanTests(TestCase):
    timeout = 30

    async def test_parent_killed(self) -> None:
        """When we are killed by SIGKILL the child hears a SIGTERM."""
        ours = """
import sys
from twisted.internet import reactor
from stor.children import Child, clean_environment
script = "trap 'echo bye > $0; exit' TERM; echo ready; while :; do sleep 0.05; done"
argv = ["sh", "-c", script, sys.argv[1]]
child = Child("it", argv, clean_environment({}), reactor, is_ready=lambda line: line == b"ready")
child.startService().addCallback(lambda _: print("up", flush=True))
reactor.run()
"""
        note = folder(self) / "note"
        where = {"PYTHONPATH": str(Path.cwd())}
        parent = Child(
            "parent",
            [sys.executable, "-c", ours, str(note)],
            clean_environment(where),
            reactor,
            is_ready=lambda line: line == b"up",
        )
        await parent.startService()
        os.kill(parent.pid, signal.SIGKILL)
        await parent.stopService()
        await until(note.exists)


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
