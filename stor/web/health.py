"""Whether we live, and whether we may be given work."""

from collections.abc import Callable, Iterable
from http import HTTPStatus

from twisted.logger import Logger

from stor.web.answers import reply
from stor.web.request import Request
from stor.web.routes import Route

log = Logger()

ALIVE = ("/up", "/livez", "/health", "/healthz")
READY = ("/readyz", "/ready", "/health/ready")


class Health:
    """Readiness: `ready` is set by whoever starts and drains us, and each named check must agree.

    A check is called on every probe: it looks at what is known already, and asks nobody.
    """

    def __init__(self) -> None:
        self.ready = False
        self._checks: dict[str, Callable[[], bool]] = {}

    def add(self, name: str, check: Callable[[], bool]) -> None:
        """Ask `check` too; its name is shown to anybody."""
        self._checks[name] = check

    def routes(self) -> Iterable[Route]:
        """Offer today's and the older names of both probes."""
        yield from (Route("GET", rule, self.live) for rule in ALIVE)
        yield from (Route("GET", rule, self.may_work) for rule in READY)

    async def live(self, request: Request) -> bytes:
        """Answer: that is all it takes."""
        return reply(request, HTTPStatus.OK, {"status": "ok"})

    async def may_work(self, request: Request) -> bytes:
        """200 when ready, else 503; both name what was looked at."""
        checks = {name: _ask(name, check) for name, check in self._checks.items()}
        is_ready = self.ready and all(checks.values())
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        shown = {name: "ok" if passed else "failing" for name, passed in checks.items()}
        return reply(request, status, {"status": "ok" if is_ready else "not ready", "checks": shown})


def _ask(name: str, check: Callable[[], bool]) -> bool:
    try:
        return check()
    except Exception:  # noqa: BLE001 - a broken check is a failing one, and the probe must be answered
        log.failure("the health check {name} broke", name=name)
        return False
