"""Every order of the steps of a few operations, one run for each.

Each operation stops before each of its steps. When all of them stand, one is let go, until it stands again: so a run
is a list of choices. `explore` repeats the run, each time with another list, until there is none left.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.objects.pausing import Step

SECONDS = 20.0  # for one step


@dataclass
class Choice:
    """Who could go on, and who did; the first of `names` is who went on before, if he could (`same`)."""

    names: list[str]
    same: bool
    taken: int = 0


@dataclass
class Order:
    """The choices of one run: the first ones as given, then always the first that can be taken."""

    given: list[int]
    preemptions: int | None = None
    made: list[Choice] = field(default_factory=list)

    def choose(self, names: list[str], *, same: bool) -> int:
        """Say who goes on."""
        at = len(self.made)
        taken = self.given[at] if at < len(self.given) else 0
        if taken >= len(names):
            raise RuntimeError(f"the run took another way than before: {self}")
        self.made.append(Choice(names, same, taken))
        return taken

    def next(self) -> "list[int] | None":
        """Give the choices of the next run; None: that was the last."""
        for at in reversed(range(len(self.made))):
            choice = self.made[at]
            if choice.taken + 1 < len(choice.names) and self._may_interrupt(at):
                return [each.taken for each in self.made[:at]] + [choice.taken + 1]
        return None

    def _may_interrupt(self, at: int) -> bool:
        if self.preemptions is None or not self.made[at].same:
            return True
        return sum(each.same and each.taken > 0 for each in self.made[:at]) < self.preemptions

    def __str__(self) -> str:
        return " | ".join(choice.names[choice.taken] for choice in self.made)


@dataclass(eq=False)
class Point:
    """Where an operation stands, before what `label` says."""

    who: str
    label: str
    release: Callable[[], None]


class Schedule:
    """Runs operations in one order; `blocked` tells who waits for another's lock, and so cannot come to stand."""

    def __init__(self, order: Order, blocked: Callable[[str], bool] = lambda _: False) -> None:
        self.order = order
        self._blocked = blocked
        self._standing: list[Point] = []
        self._running: set[str] = set()
        self.beginning: set[str] = set()  # those whose steps do not count yet
        self._busy: Counter[str] = Counter()  # steps that have been let go and have not ended
        self._changed: Deferred[None] | None = None
        self._outcomes: dict[str, Any] = {}

    def step_of(self, who: str) -> Step:
        """Give what is around each step of an operation."""

        @asynccontextmanager
        async def step(label: str) -> AsyncIterator[None]:
            if not self.runs(who):
                yield
                return
            go: Deferred[None] = Deferred()
            self.stand(Point(who, label, lambda: go.callback(None)))
            await go
            self._busy[who] += 1
            try:
                yield
            finally:
                self._busy[who] -= 1
                self._tell()

        return step

    def runs(self, who: str) -> bool:
        """Tell whether it is under way; else its steps are nobody's business."""
        return who in self._running and who not in self.beginning

    def stand(self, point: Point) -> None:
        """An operation stands here until it is released."""
        self._standing.append(point)
        self._tell()

    async def run(self, **operations: Coroutine[Any, Any, Any]) -> dict[str, Any]:
        """Run all to their ends; give what each returned or raised."""
        begun = []
        try:
            for who, operation in operations.items():
                self._running.add(who)
                begun.append(Deferred.fromCoroutine(operation).addBoth(self._end, who))
                await self._settled()
            await self._go_on()
        finally:
            for each in begun:
                each.cancel()  # those that have not ended, when something is wrong
        return self._outcomes

    async def _go_on(self) -> None:
        last = ""
        while self._running or self._standing:
            points = self._first_points(last)
            names = [f"{point.who}: {point.label}" for point in points]
            point = points[self.order.choose(names, same=points[0].who == last)]
            self._standing.remove(point)
            last = point.who
            point.release()
            await self._settled()

    def _first_points(self, last: str) -> list[Point]:
        """Give one point of each who stands: what he does at the same time is done in the order it came."""
        points = {point.who: point for point in reversed(self._standing)}
        return sorted(points.values(), key=lambda point: (point.who != last, point.who))

    def _end(self, outcome: Any, who: str) -> None:
        self._outcomes[who] = getattr(outcome, "value", outcome)
        self._running.discard(who)
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.callback(None)

    async def _settled(self) -> None:
        """Wait until each stands, has ended, or waits for one of those who stand."""
        deadline = reactor.seconds() + SECONDS
        await deferLater(reactor, 0)  # until all that can go on at once has done so
        while moving := self._moving():
            if self._standing and all(map(self._blocked, moving)) and moving == self._moving():
                return
            if reactor.seconds() > deadline:
                raise RuntimeError(f"{moving} neither stand nor end, after {self.order}")
            await self._change(0.002)
            await deferLater(reactor, 0)

    def _moving(self) -> set[str]:
        standing = {point.who for point in self._standing}
        return {who for who in self._running if self._busy[who] or who not in standing} | {
            who for who, steps in self._busy.items() if steps
        }

    async def _change(self, seconds: float) -> None:
        changed = self._changed = Deferred[None]()
        timer = reactor.callLater(seconds, self._tell)
        await changed
        if timer.active():
            timer.cancel()


async def explore(run: Callable[[Order], Awaitable[None]], *, preemptions: int | None = None) -> int:
    """Call `run` once for every order, or every one in which so many operations at most are interrupted; count them.

    An operation that goes on after another has ended, or that waits for it, interrupts nobody.
    """
    given: list[int] | None = []
    count = 0
    while given is not None:
        order = Order(given, preemptions)
        try:
            await run(order)
        except BaseException as why:
            why.add_note(f"in the order: {order}")
            raise
        given = order.next()
        count += 1
    return count
