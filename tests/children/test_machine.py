"""The life of a child, against a clock and without processes."""

from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from stor.children.machine import FIRST_PAUSE, LONGEST_PAUSE, Core, Life, machine
from stor.errors import Failed


class Process:
    """What was asked of the world; `alive` is the truth about the process."""

    def __init__(self) -> None:
        self.spawned, self.terminated, self.alive = 0, 0, False

    def spawn(self) -> None:
        if self.alive:
            raise AssertionError("two processes at once")
        self.spawned, self.alive = self.spawned + 1, True

    def terminate(self) -> None:
        self.terminated += 1

    def last_words(self) -> str:
        return "ended with exit code 3: oh no"


class Rig:
    def __init__(self) -> None:
        self.clock, self.process = Clock(), Process()
        self.core = Core("it", self.process, self.clock, start_seconds=10.0)
        self.life: Life = machine(self.core)

    def start(self) -> Deferred[None]:
        self.core.started = started = Deferred[None]()
        self.life.start()
        return started

    def stop(self) -> Deferred[None]:
        gone = Deferred[None]()
        self.core.gone.append(gone)
        self.life.stop()
        return gone

    def die(self) -> None:
        self.process.alive = False
        self.life.ended()


class MachineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.it = Rig()

    def test_start_waits(self) -> None:
        """The start is over when the child is ready, and the deadline with it."""
        started = self.it.start()
        self.assertNoResult(started)
        self.it.life.ready()
        self.successResultOf(started)
        self.assertEqual((self.it.core.state, self.it.clock.getDelayedCalls()), ("up", []))

    def test_first_start_crashes(self) -> None:
        """A first start that fails is told with the last words and not repeated."""
        started = self.it.start()
        self.it.die()
        self.assertIn("exit code 3: oh no", str(self.failureResultOf(started, Failed).value))
        self.it.clock.advance(1000)
        self.assertEqual((self.it.core.state, self.it.process.spawned), ("idle", 1))

    def test_never_ready(self) -> None:
        """A child that says nothing is ended at the deadline, and the start fails when it has gone."""
        started = self.it.start()
        self.it.clock.advance(10)
        self.assertEqual(self.it.process.terminated, 1)
        self.assertNoResult(started)
        self.it.die()
        self.assertIn("not ready within 10 s", str(self.failureResultOf(started, Failed).value))

    def test_pauses_grow(self) -> None:
        """The pauses double up to the longest, also when it says ready each time."""
        self.it.start()
        self.it.life.ready()
        pauses = []
        for _ in range(10):
            self.it.die()
            (call,) = self.it.clock.getDelayedCalls()
            pauses.append(call.getTime() - self.it.clock.seconds())
            self.it.clock.advance(pauses[-1])
            self.it.life.ready()
        self.assertEqual(pauses[:4], [FIRST_PAUSE, 0.5, 1.0, 2.0])
        self.assertEqual(pauses[-1], LONGEST_PAUSE)

    def test_forgiven(self) -> None:
        """Who served well for a while starts again with the first pause."""
        self.it.start()
        self.it.life.ready()
        for _ in range(5):
            self.it.die()
            self.it.clock.advance(LONGEST_PAUSE)
            self.it.life.ready()
        self.it.clock.advance(LONGEST_PAUSE)
        self.it.die()
        (call,) = self.it.clock.getDelayedCalls()
        self.assertEqual(call.getTime() - self.it.clock.seconds(), FIRST_PAUSE)

    def test_hung_again(self) -> None:
        """A child that comes back mute is ended and tried again."""
        self.it.start()
        self.it.life.ready()
        self.it.die()
        self.it.clock.advance(FIRST_PAUSE)
        self.it.clock.advance(10)
        self.assertEqual((self.it.core.state, self.it.process.terminated), ("hung", 1))
        self.it.die()
        self.assertEqual(self.it.core.state, "paused")

    def test_stop_while_starting(self) -> None:
        """A stop ends the start; it is over when the process is gone."""
        started, gone = self.it.start(), self.it.stop()
        self.failureResultOf(started, CancelledError)
        self.assertNoResult(gone)
        self.it.life.ready()  # its last words
        self.it.die()
        self.successResultOf(gone)
        self.assertEqual(self.it.clock.getDelayedCalls(), [])

    def test_stop_twice(self) -> None:
        """Both stops are over together, and the process is asked once."""
        self.it.start()
        self.it.life.ready()
        gone = [self.it.stop(), self.it.stop()]
        self.it.die()
        for each in gone:
            self.successResultOf(each)
        self.assertEqual(self.it.process.terminated, 1)

    def test_stop_in_a_pause(self) -> None:
        """A stop between two tries cancels the next."""
        self.it.start()
        self.it.life.ready()
        self.it.die()
        self.successResultOf(self.it.stop())
        self.assertEqual(self.it.clock.getDelayedCalls(), [])

    def test_any_order(self) -> None:
        """Whatever happens in whatever order: one process at most, and nothing left after a stop."""
        run_state_machine_as_test(AnyOrder)


class AnyOrder(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.it = Rig()
        self.waiting: list[Deferred[None]] = []

    @precondition(lambda self: self.it.core.state == "idle")
    @rule()
    def start(self) -> None:
        self.it.start().addErrback(lambda why: why.trap(Failed, CancelledError))

    @rule()
    def stop(self) -> None:
        self.waiting.append(self.it.stop())

    @precondition(lambda self: self.it.process.alive)
    @rule()
    def ready(self) -> None:
        self.it.life.ready()

    @precondition(lambda self: self.it.process.alive)
    @rule()
    def die(self) -> None:
        self.it.die()

    @rule()
    def wait(self) -> None:
        self.it.clock.advance(LONGEST_PAUSE)

    @invariant()
    def idle_is_idle(self) -> None:
        """Idle: no process, no timer, nobody waits."""
        if self.it.core.state != "idle":
            return
        if self.it.process.alive or self.it.clock.getDelayedCalls():
            raise AssertionError("something is left")
        if not all(deferred.called for deferred in self.waiting):
            raise AssertionError("somebody waits for a stop that is over")
