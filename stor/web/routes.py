"""Routes as data: each part says its own, `compose` makes one Klein app of them."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from klein import Klein

from stor.web.answers import speaks_errors
from stor.web.request import Request

Handler = Callable[..., Awaitable[bytes]]


@dataclass(frozen=True)
class Route:
    """One method on one rule (werkzeug's syntax); `handler(request, **segments)` gives the body."""

    method: str
    rule: str
    handler: Handler


class Part(Protocol):
    """Whoever has something to offer over HTTP."""

    def routes(self) -> Iterable[Route]:
        """Say what."""


def compose(parts: Iterable[Part]) -> Klein:
    """Make one app, so that each path has one owner and 404, 405 and errors look the same everywhere."""
    app = Klein()
    app.url_map.merge_slashes = False  # an empty segment is an empty segment, not a redirect
    for part in parts:
        for route in part.routes():
            endpoint = f"{route.method} {route.rule}"
            if endpoint in app.endpoints:
                raise ValueError(f"two parts want {endpoint}")
            app.route(route.rule, methods=[route.method], endpoint=endpoint)(_labelled(route))
    return speaks_errors(app)


def _labelled(route: Route) -> Handler:
    """Tell the request which rule it matched, for logs and metrics."""

    async def handle(request: Request, **segments: Any) -> bytes:
        request.route = route.rule
        return await route.handler(request, **segments)

    return handle
