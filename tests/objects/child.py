"""Does something with objects and dies (SIGKILL) at a given step of it; a program of its own.

It reads jobs as lines of JSON. Each runs in a fork of this process, which has loaded everything. What it says, one
JSON list a line: ["kept", id, seed and size of the body] for what was acknowledged, ["gone", id] for what is to be
deleted from here on, and at the end ["ended", exit code], which is -9 for who was killed.
"""

import json
import os
import signal
import sys
import traceback
from contextlib import asynccontextmanager
from importlib import import_module

import boto3  # noqa: F401 - loaded once for all forks
import psycopg  # noqa: F401

import stor.objects.core  # none of them has the reactor, which each fork must make for itself
import stor.storage.directory
import stor.storage.s3  # noqa: F401


class Steps:
    """Counts steps from `begin` on, and dies before the one that it was told."""

    def __init__(self, die_at):
        self.count, self.die_at, self.counting = 0, die_at, False

    def begin(self):
        self.counting = True

    def reached(self):
        """Count a step, the last one being that the answer is given."""
        self.count += self.counting
        if self.count == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    @asynccontextmanager
    async def step(self, label):
        self.reached()
        yield


def main():
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(json.loads(line))
                os._exit(0)
            except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        say("ended", os.waitstatus_to_exitcode(status))


def run(job):
    from twisted.internet import reactor  # noqa: PLC0415 - each fork has its own
    from twisted.internet.defer import Deferred  # noqa: PLC0415

    deeds = import_module(job.get("deeds", "tests.objects.deeds"))

    wrong = []
    done = Deferred.fromCoroutine(deeds.run(job, Steps(job["die_at"]), say))
    done.addErrback(wrong.append)
    done.addBoth(lambda _: reactor.stop())
    reactor.run(installSignalHandlers=False)
    for failure in wrong:
        failure.raiseException()


def say(*words):
    """Tell who started us, at once."""
    os.write(1, json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    main()
