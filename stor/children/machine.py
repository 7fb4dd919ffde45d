"""The life of a supervised process as an explicit machine, without any I/O."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from automat import TypeMachineBuilder
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from stor.errors import Failed

log = Logger()

FIRST_PAUSE = 0.25  # seconds; doubles with each failure
LONGEST_PAUSE = 30.0


class Life(Protocol):
    """What may happen to a child."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, whatever it is doing."""

    def ready(self) -> None:
        """It said that it is ready."""

    def ended(self) -> None:
        """Its process has gone."""

    def late(self) -> None:
        """It was not ready in time."""

    def again(self) -> None:
        """The pause is over."""


class Process(Protocol):
    """What the machine does to the world."""

    def spawn(self) -> None:
        """Start the process; whatever comes of it is told by `Life.ready` and `Life.ended`."""

    def terminate(self) -> None:
        """Make the process end; `Life.ended` follows, always."""

    def last_words(self) -> str:
        """How it ended and what it said, free of secrets."""


@dataclass
class Core:
    """What a child needs, and remembers."""

    name: str
    process: Process
    clock: IReactorTime
    start_seconds: float
    state: str = "idle"
    failures: int = 0
    ready_at: float = 0.0
    timer: IDelayedCall | None = None
    started: Deferred[None] = field(default_factory=Deferred)
    gone: list[Deferred[None]] = field(default_factory=list)


if TYPE_CHECKING:
    from automat._typed import TypedState  # automat exports the builder only

    State = TypedState[Life, Core]

Action = Callable[[Life, Core], None]

build = TypeMachineBuilder(Life, Core)
idle = build.state("idle")
starting = build.state("starting")  # for the first time: a failure is told to whoever started it
failing = build.state("failing")  # was not ready in time for the first time, and is being ended
up = build.state("up")
paused = build.state("paused")  # died; waits before the next try
reviving = build.state("reviving")
hung = build.state("hung")  # was not ready in time again, and is being ended
stopping = build.state("stopping")


def upon(event: Callable[[Life], None], *olds: "State", to: "State") -> Callable[[Action], Action]:
    """When `event` comes in one of `olds`, go to `to` and act."""

    def register(action: Action) -> Action:
        def act(life: Life, core: Core) -> None:
            core.state = to.name
            action(life, core)

        for old in olds:
            old.upon(event).to(to)(act)
        return action

    return register


@upon(Life.start, idle, to=starting)
@upon(Life.again, paused, to=reviving)
def launch(life: Life, core: Core) -> None:
    """A process that says nothing must not keep us waiting."""
    core.timer = core.clock.callLater(core.start_seconds, life.late)
    core.process.spawn()


@upon(Life.ready, starting, to=up)
def risen(life: Life, core: Core) -> None:
    """The first time is told."""
    revived(life, core)
    core.started.callback(None)


@upon(Life.ready, reviving, to=up)
def revived(life: Life, core: Core) -> None:
    """It is not forgiven yet: it may die again at once."""
    cancel(core)
    core.ready_at = core.clock.seconds()
    log.info("{child} is ready", child=core.name)


@upon(Life.late, starting, to=failing)
@upon(Life.late, reviving, to=hung)
def give_up(life: Life, core: Core) -> None:
    """It may be hung: it gets the usual time to end."""
    core.process.terminate()


@upon(Life.ended, starting, to=idle)
def crashed(life: Life, core: Core) -> None:
    """A first start that fails is the starter's affair, not ours to repeat."""
    cancel(core)
    core.started.errback(Failed(f"{core.name} {core.process.last_words()}"))


@upon(Life.ended, failing, to=idle)
def never_ready(life: Life, core: Core) -> None:
    """It was ended by us, so how it ended is not the point."""
    why = f"was not ready within {core.start_seconds:g} s and {core.process.last_words()}"
    core.started.errback(Failed(f"{core.name} {why}"))


@upon(Life.ended, up, reviving, hung, to=paused)
def pause(life: Life, core: Core) -> None:
    """Longer each time, unless it had served well in between."""
    if core.ready_at and core.clock.seconds() - core.ready_at >= LONGEST_PAUSE:
        core.failures = 0
    core.ready_at = 0.0
    seconds = min(FIRST_PAUSE * 2 ** min(core.failures, 10), LONGEST_PAUSE)
    core.failures += 1
    cancel(core)
    core.timer = core.clock.callLater(seconds, life.again)
    log.warn(
        "{child} {words}; again in {seconds} s",
        child=core.name,
        words=core.process.last_words(),
        seconds=seconds,
    )


@upon(Life.stop, starting, to=stopping)
def abandon(life: Life, core: Core) -> None:
    """Whoever waits for the start is told that there will be none."""
    end(life, core)
    core.started.errback(CancelledError())


@upon(Life.stop, up, reviving, to=stopping)
def end(life: Life, core: Core) -> None:
    """The stop is over when the process is."""
    cancel(core)
    core.process.terminate()


@upon(Life.stop, failing, to=stopping)
def overtake(life: Life, core: Core) -> None:
    """It is being ended already; the start is over all the same."""
    core.started.errback(CancelledError())


@upon(Life.stop, hung, to=stopping)
@upon(Life.stop, stopping, to=stopping)
@upon(Life.ready, up, to=up)
@upon(Life.ready, failing, to=failing)
@upon(Life.ready, hung, to=hung)
@upon(Life.ready, stopping, to=stopping)
def nothing(life: Life, core: Core) -> None:
    """It may say so twice, too late, or with its last words; and a stop is already on its way."""


@upon(Life.stop, idle, to=idle)
@upon(Life.stop, paused, to=idle)
@upon(Life.ended, stopping, to=idle)
def over(life: Life, core: Core) -> None:
    """Tell all who wait for the end."""
    cancel(core)
    core.gone, waiting = [], core.gone
    for deferred in waiting:
        deferred.callback(None)


def cancel(core: Core) -> None:
    """Forget the deadline or the next try."""
    if core.timer is not None and core.timer.active():
        core.timer.cancel()
    core.timer = None


machine = build.build()
