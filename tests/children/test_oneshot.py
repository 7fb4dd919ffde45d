"""Processes run once, and what they may see."""

import os
import sys
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stor.children import Ended, clean_environment, run
from stor.children.oneshot import OUTPUT_BYTES
from stor.errors import Failed

ENV = clean_environment({})


class RunTests(TestCase):
    timeout = 20

    async def test_result(self) -> None:
        """Exit code and both outputs, each by itself; standard input is given."""
        ended = await run(["sh", "-c", "cat; echo bad >&2; exit 3"], ENV, 5, reactor, stdin=b"given")
        self.assertEqual(ended, Ended(3, b"given", b"bad\n"))

    async def test_signal(self) -> None:
        """A death by signal is its negative number."""
        self.assertEqual((await run(["sh", "-c", "kill -9 $$"], ENV, 5, reactor)).code, -9)

    async def test_no_program(self) -> None:
        """A missing program is a failure with its name."""
        with self.assertRaisesRegex(Failed, "no-such-thing: no such program"):
            await run(["no-such-thing"], ENV, 5, reactor)

    async def test_deadline(self) -> None:
        """At the deadline it is killed with all it started, though it ignores SIGTERM."""
        began = time.monotonic()
        with self.assertRaisesRegex(Failed, "did not end within 0.3 s"):
            await run(["sh", "-c", "trap '' TERM; sleep 60 & sleep 60; sleep 60"], ENV, 0.3, reactor)
        self.assertLess(time.monotonic() - began, 3)

    async def test_cancel(self) -> None:
        """Whoever no longer wants it takes the process down."""
        mark = f"60.{os.getpid()}"
        running = Deferred.fromCoroutine(run(["sleep", mark], ENV, 50, reactor))
        await deferLater(reactor, 0.3)
        running.cancel()
        await self.assertFailure(running, CancelledError)
        await deferLater(reactor, 0.3)
        ended = await run(["pgrep", "-f", f"^sleep {mark}"], ENV, 5, reactor)
        self.assertEqual(ended.out, b"")

    async def test_bounded(self) -> None:
        """Of 8 MiB on each pipe the first MiB is kept, and it need not wait for us to read."""
        script = "import sys; [(sys.stdout.write('o' * 65536), sys.stderr.write('e' * 65536)) for _ in range(128)]"
        ended = await run([sys.executable, "-c", script], ENV, 10, reactor)
        self.assertEqual(ended, Ended(0, b"o" * OUTPUT_BYTES, b"e" * OUTPUT_BYTES))


class EnvironmentTests(SynchronousTestCase):
    def test_clean(self) -> None:
        """Our place and language are kept, everything else only when it is said."""
        self.patch(os, "environ", {"PATH": "/bin", "AWS_CA_BUNDLE": "x", "REDIS_PASSWORD": "p", "LANG": "C"})
        env = clean_environment({"LANG": "C.UTF-8", "A": "b"})
        self.assertEqual(env.pop("PATH"), f"{Path(sys.executable).parent}:/bin")
        self.assertEqual(env, {"LANG": "C.UTF-8", "A": "b"})
