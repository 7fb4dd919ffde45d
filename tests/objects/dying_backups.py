"""Makes a backup, or restores one, and dies (SIGKILL) at a given step of it; see `tests.objects.child`.

Steps are transactions, calls of a store, and what changes a name on disk, or makes a file durable.
"""

import os
from functools import wraps
from pathlib import Path
from threading import Lock

from tests.objects import child


class Steps(child.Steps):
    """Steps of several threads."""

    def __init__(self, die_at):
        super().__init__(die_at)
        self._lock = Lock()

    def reached(self):
        with self._lock:
            super().reached()

    def count_calls(self, name):
        """Have each call of a function of `os` be a step."""
        called = getattr(os, name)

        @wraps(called)
        def call(*args, **kwargs):
            self.reached()
            return called(*args, **kwargs)

        setattr(os, name, call)


def run(job):
    """Do what the job says."""
    from twisted.internet import reactor  # noqa: PLC0415 - each fork has its own
    from twisted.internet.defer import Deferred  # noqa: PLC0415

    wrong, steps = [], Steps(job["die_at"])
    for name in ("rename", "fsync", "unlink"):
        steps.count_calls(name)
    done = Deferred.fromCoroutine(_run(job, steps))
    done.addErrback(wrong.append)
    done.addBoth(lambda _: reactor.stop())
    reactor.run(installSignalHandlers=False)
    for failure in wrong:
        failure.raiseException()


async def _run(job, steps):
    from tests.objects.backups import backed_up, restored  # noqa: PLC0415 - they have the reactor
    from tests.objects.pausing import PausingDatabase, PausingStore  # noqa: PLC0415
    from tests.objects.rooms import Places, Room  # noqa: PLC0415

    class Surveyed(PausingDatabase):
        async def survey(self, work):
            async with self._step("survey"):
                return await self._database.survey(work)

    room = Room(
        Places(**job["places"]),
        database=lambda database: Surveyed(database, steps.step),
        stores=lambda name, store: PausingStore(name, store, steps.step),
    )
    await room.startService()
    steps.begin()
    if job["do"] == "backup":
        await backed_up(room.objects, Path(job["dir"]), keep=job["keep"])
    else:
        await restored(room.objects, Path(job["dir"]))
    steps.counting = False
    await room.stopService()


if __name__ == "__main__":
    child.run = run
    child.main()
