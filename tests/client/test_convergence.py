"""Two machines and somebody at the remote itself, in any order, interrupted anywhere: nothing is lost, all agree.

Every content that is written is a new one. It may vanish when somebody who had it in front of him replaced or
deleted it, and for no other reason.
"""

import contextlib
import shutil
import tempfile
from pathlib import Path

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.trial.unittest import TestCase

from stor.client import Remote, Silence, Wishes, sync
from tests.client.serving import TreeServer, files_in, md5_of

PATHS = st.sampled_from(["a", "b.md", "d/c", "d/e/f", "ü/ß.txt", "100%/q?#"])
MACHINES = st.integers(0, 1)
SIZES = st.sampled_from([1, 1, 1, 5, 300_000])


class Tripped(Exception):
    """The machine lost its power."""


class Trip(Silence):
    """Ends a sync at the n-th thing it tells."""

    def __init__(self, count):
        self.count = count

    def _tell(self, *_):
        self.count -= 1
        if self.count <= 0:
            raise Tripped

    planned = moved = ended = _tell


class Meddler(Silence):
    """Does something when the plan has been made."""

    def __init__(self, deed):
        self.deed = deed

    def planned(self, steps):
        deed, self.deed = self.deed, lambda: None
        deed()


class Machine:
    """A folder of one machine, and its user."""

    def __init__(self, server, namespace):
        self.root = Path(tempfile.mkdtemp(prefix="stor-test-"))
        self.remote = Remote(server.url, server.token, reactor, namespace=namespace)

    async def sync(self, progress):
        return await sync(self.root, self.remote, reactor, Wishes(), progress)

    def files(self):
        return files_in(self.root)

    def waiting(self):
        """What an interruption left, to be tidied up by the next start."""
        return [path.read_bytes() for path in (self.root / ".stor-sync/tmp").glob("*")]

    def close(self):
        blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(self.remote.close()))
        shutil.rmtree(self.root)


class World(RuleBasedStateMachine):
    """The plain dialect; each example has a stor of its own."""

    steps = 0

    def __init__(self):
        super().__init__()
        self.count, self.alive = 0, set()
        self.held = contextlib.ExitStack()

    @initialize()
    def begin(self):
        self.server, self.namespace = self.serve()
        self.direct = self.server.direct(f"{self.namespace}/" if self.namespace else "")
        self.held.callback(self.direct.close)
        self.machines = [Machine(self.server, self.namespace) for _ in range(2)]
        for machine in self.machines:
            self.held.callback(machine.close)

    def serve(self):
        return self.held.enter_context(TreeServer()), None

    def content(self, size):
        self.count += 1
        return f"{self.count}\n".encode() * size

    def replaced(self, old, new):
        """Somebody who had `old` in front of him made it `new`; None: nothing."""
        self.alive.discard(old)
        if new is not None:
            self.alive.add(new)

    def sync(self, machine, progress=None):
        work = self.machines[machine].sync(progress or Silence())
        return blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(work))

    @rule(machine=MACHINES, path=PATHS, size=SIZES)
    def write(self, machine, path, size):
        target, new = self.machines[machine].root / path, self.content(size)
        self.replaced(target.read_bytes() if target.exists() else None, new)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(new)

    @rule(machine=MACHINES, path=PATHS)
    def remove(self, machine, path):
        target = self.machines[machine].root / path
        if target.exists():
            self.replaced(target.read_bytes(), None)
            target.unlink()

    @rule(machine=MACHINES, path=PATHS, other=PATHS)
    def rename(self, machine, path, other):
        root = self.machines[machine].root
        source, target = root / path, root / other
        if path != other and source.exists():
            self.replaced(target.read_bytes() if target.exists() else None, None)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)

    @rule(path=PATHS)
    def write_alike(self, path):
        """Both make the same, without having synced it."""
        new = self.content(1)
        for machine in self.machines:
            target = machine.root / path
            self.replaced(target.read_bytes() if target.exists() else None, new)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(new)

    @rule(path=PATHS)
    def put_there(self, path):
        old, new = self.direct.get(path), self.content(1)
        grave = self.direct.index().get(path)
        if self.direct.put(path, new, md5_of(old) if old else grave["md5"] if grave else "new"):
            self.replaced(old, new)

    @rule(path=PATHS)
    def delete_there(self, path):
        old = self.direct.get(path)
        if old is not None and self.direct.delete(path, md5_of(old)):
            self.replaced(old, None)

    @rule(machine=MACHINES)
    def sync_one(self, machine):
        self.assert_well(self.sync(machine))

    @rule()
    def sync_both_at_once(self):
        def both():
            works = [Deferred.fromCoroutine(machine.sync(Silence())) for machine in self.machines]
            return DeferredList(works, consumeErrors=True)

        for good, outcome in blockingCallFromThread(reactor, both):
            if not good:
                outcome.raiseException()
            self.assert_well(outcome)

    @rule(machine=MACHINES, count=st.integers(1, 12))
    def sync_interrupted(self, machine, count):
        with contextlib.suppress(Tripped):
            self.sync(machine, Trip(count))

    @rule(machine=MACHINES, path=PATHS, there=st.booleans(), gone=st.booleans())
    def sync_meddled(self, machine, path, there, gone):
        """Somebody does something between the plan and its execution."""
        if there:
            deed = (lambda: self.delete_there(path)) if gone else (lambda: self.put_there(path))
        else:
            deed = (lambda: self.remove(machine, path)) if gone else (lambda: self.write(machine, path, 1))
        self.assert_well(self.sync(machine, Meddler(deed)))

    def assert_well(self, outcome):
        assert not outcome.problems, outcome

    @invariant()
    def nothing_is_lost(self):
        type(self).steps += 1
        kept = set(self.direct.files().values())
        for machine in self.machines:
            kept |= set(machine.files().values()) | set(machine.waiting())
        assert self.alive <= kept, self.alive - kept

    def teardown(self):
        with self.held:
            self.agree()

    def agree(self):
        """After a few more syncs all three have the same, with all that is alive, and nothing is left to do."""
        for machine in (0, 1, 0, 1, 0):
            self.assert_well(self.sync(machine))
        there = self.direct.files()
        for number, machine in enumerate(self.machines):
            assert machine.files() == there
            assert self.sync(number).changed == 0
        assert self.alive <= set(there.values())


class Spaces(World):
    """The namespaced dialect; each example has a namespace of its own in one stor."""

    shared = None
    spaces = 0

    def serve(self):
        Spaces.spaces += 1
        return Spaces.shared, f"spaces/{Spaces.spaces}"


class ConvergenceTests(TestCase):
    timeout = 300
    few = settings(max_examples=6, stateful_step_count=100, phases=[Phase.generate])  # shrinking would take hours

    async def run_all(self, world):
        world.steps = 0
        await deferToThread(run_state_machine_as_test, world, settings=self.few)
        self.assertGreater(world.steps, 500)

    async def test_plain(self):
        """Whatever three do in whatever order, no content is lost, and all agree at the end."""
        await self.run_all(World)

    async def test_namespaced(self):
        """The same where versions are the conditions."""
        with TreeServer() as Spaces.shared:
            await self.run_all(Spaces)
