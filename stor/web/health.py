"""Whether we live, whether we may be given work, and whether what we stand on answers."""

from collections.abc import Awaitable, Callable, Iterable

from twisted.internet.defer import Deferred, TimeoutError  # noqa: A004 - Twisted's own is what its timeouts raise
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from stor.web.answer import Answer, json_answer
from stor.web.call import Call
from stor.web.routes import About, Route

log = Logger()

ALIVE = ("/up", "/livez", "/healthz")
READY = ("/readyz", "/ready", "/health/ready")
PROBE_SECONDS = 0.8  # who asks /health hears within a second, even when what is asked hangs
KEPT_SECONDS = 1.0  # so that asking often costs nothing
_OK = json_answer({"status": "ok"})
_WORDS: dict[bool | str, bool | str] = {True: "ok", False: "failing"}


class Probe:
    """A question to something that may be slow: asked once at a time, its answer kept for a moment."""

    def __init__(self, name: str, ask: Callable[[], Awaitable[object]], clock: IReactorTime) -> None:
        self._name, self._ask, self._clock = name, ask, clock
        self._asking = False
        self._waiting: list[Deferred[None]] = []
        self._until, self._passed = float("-inf"), False

    async def passed(self) -> bool:
        """Tell whether it answered; what does not in time has not, and is asked no second time meanwhile."""
        if self._clock.seconds() < self._until:
            return self._passed
        heard: Deferred[None] = Deferred()
        heard.addTimeout(PROBE_SECONDS, self._clock)
        self._waiting.append(heard)
        if not self._asking:
            self._asking = True
            Deferred.fromCoroutine(self._look())
        try:
            await heard
        except TimeoutError:
            self._waiting.remove(heard)
            self._keep(passed=False)
        return self._passed

    async def _look(self) -> None:
        passed = False
        try:
            await self._ask()
            passed = True
        except Exception as why:  # noqa: BLE001 - whatever it is, it is no answer
            log.warn("{name} does not answer: {why}", name=self._name, why=str(why))
        self._asking = False
        self._keep(passed=passed)
        waiting, self._waiting = self._waiting, []
        for heard in waiting:
            heard.callback(None)

    def _keep(self, *, passed: bool) -> None:
        self._passed, self._until = passed, self._clock.seconds() + KEPT_SECONDS


class Health:
    """Three questions: /livez (who answers lives), /readyz (give us work?), /health (does what we stand on answer?).

    Readiness: `ready` is set by whoever starts and drains us, and each named check must agree.
    A check is called on every request: it looks at what is known already, and asks nobody. A probe does ask.
    """

    def __init__(self, version: str, clock: IReactorTime) -> None:
        self.ready = False
        self._version, self._clock = version, clock
        self._checks: dict[str, Callable[[], bool | str]] = {}
        self._probes: dict[str, Probe] = {}

    def add(self, name: str, check: Callable[[], bool | str]) -> None:
        """Ask `check` for readiness too: True, or why not, or False; its name and its reason are shown to anybody."""
        self._checks[name] = check

    def add_probe(self, name: str, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask `ask` for /health too, which raises when all is not well; shown as name: connected or disconnected."""
        self._probes[name] = Probe(name, ask, self._clock)

    def routes(self) -> Iterable[Route]:
        """Offer today's and the older names of the questions."""
        live = About("Whether this process lives")
        yield from (Route("GET", rule, self.live, about=live) for rule in ALIVE)
        ready = About("Whether this process takes work", answers={200: "Yes", 503: "Not now"})
        yield from (Route("GET", rule, self.may_work, about=ready) for rule in READY)
        stands = About("Whether what this process stands on answers", answers={200: "Yes", 503: "Something does not"})
        yield Route("GET", "/health", self.health, about=stands)

    async def live(self, call: Call) -> Answer:
        """Answer: that is all it takes."""
        return _OK

    async def may_work(self, call: Call) -> Answer:
        """200 when ready, else 503; both name what was looked at."""
        checks = {name: _ask(name, check) for name, check in self._checks.items()}
        is_ready = self.ready and all(found is True for found in checks.values())
        shown = {name: _WORDS.get(found, found) for name, found in checks.items()}
        return json_answer({"status": "ok" if is_ready else "not ready", "checks": shown}, 200 if is_ready else 503)

    async def health(self, call: Call) -> Answer:
        """200 when every probe is answered in time, else 503; within a second either way."""
        asked = {name: Deferred.fromCoroutine(probe.passed()) for name, probe in self._probes.items()}
        passed = {name: await answer for name, answer in asked.items()}
        well = all(passed.values())
        shown = {name: "connected" if good else "disconnected" for name, good in passed.items()}
        said = {"status": "ok" if well else "error", "version": self._version, **shown}
        return json_answer(said, 200 if well else 503)


def _ask(name: str, check: Callable[[], bool | str]) -> bool | str:
    try:
        return check()
    except Exception:  # noqa: BLE001 - a broken check is a failing one, and the probe must be answered
        log.failure("the health check {name} broke", name=name)
        return False
