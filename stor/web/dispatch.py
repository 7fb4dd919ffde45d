"""From a path to a route: by Klein, and past it for the hot ones."""

from collections.abc import Iterable
from typing import Any

from klein import Klein
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import PathConverter

from stor.errors import BadRequest
from stor.web.answers import NoRoute
from stor.web.exchange import Exchange
from stor.web.routes import Route

_HERE = IPv4Address("TCP", "127.0.0.1", 80)
_TAIL = "<path:"


class Whole(PathConverter):
    """All that follows, empty segments too: whether they are allowed is for the part to say."""

    regex = "(?s:.)+?"
    part_isolating = False  # it crosses slashes, which werkzeug would not see in this regex


class _Nowhere:
    """What a twisted.web Request must have been sent on."""

    transport = None

    def getPeer(self) -> IAddress:
        """Nobody asks: a Call knows."""
        return _HERE

    getHost = getPeer


_NOWHERE = _Nowhere()


class Errand(Request):
    """An exchange as Klein wants to see it; Klein finds the route, and the exchange answers by itself."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(_NOWHERE, parsePOSTFormSubmission=False)
        self.exchange = exchange
        self.method = exchange.call.method.encode()
        self.uri = self.path = exchange.call.raw_path
        self.prepath, self.postpath = [], exchange.call.path.encode().split(b"/")

    def getRequestHostname(self) -> bytes:
        """Routes do not depend on the Host header, so no Host can break them."""
        return b"localhost"

    def getHost(self) -> IAddress:
        """Nor on the port."""
        return _HERE

    def isSecure(self) -> bool:
        """Nor on TLS."""
        return False

    def write(self, data: bytes) -> None:
        """Nothing: the exchange answers by itself."""

    def finish(self) -> None:
        """Nothing."""


class Routes:
    """One table of all parts' routes, so that each path has one owner; ValueError where two want the same."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._app = Klein()
        self._app.url_map.merge_slashes = False  # an empty segment is an empty segment, not a redirect
        self._app.url_map.converters = {**self._app.url_map.converters, "path": Whole}
        self._exact: dict[str, dict[str, Route]] = {}
        self._below: dict[str, tuple[str, dict[str, Route]]] = {}
        self._owners: dict[str, Route] = {}  # of all below such a beginning, whatever the method
        self._claims: dict[str, Route] = {}  # of what begins so and has no route
        cold = []
        for route in routes:
            self._add(route)
            if route.hot:
                self._warm(route)
            else:
                cold.append(route)
        self._check(cold)
        self._app.handle_errors(HTTPException)(self._unrouted)
        self._klein = self._app.resource()

    def dispatch(self, exchange: Exchange) -> None:
        """Have the exchange follow its route, or fail."""
        call = exchange.call
        try:
            call.read_path()
        except BadRequest as error:
            self._bad_path(exchange, error)
            return
        method = "GET" if call.method == "HEAD" else call.method
        exact = self._exact.get(call.path)
        if exact is not None and method in exact:
            exchange.follow(exact[method], {})
            return
        for begin, (name, found) in self._below.items():
            if call.path.startswith(begin) and method in found and len(call.path) > len(begin):
                exchange.follow(found[method], {name: call.path[len(begin) :]})
                return
        if call.path.startswith("//"):  # werkzeug would take it for one slash: two names for one thing
            self._no_route(exchange, NoRoute())
            return
        self._klein.render(Errand(exchange))

    def _bad_path(self, exchange: Exchange, error: BadRequest) -> None:
        """Fail as the part would to which the path's beginning belongs."""
        owners = (route for begin, route in self._owners.items() if exchange.call.path.startswith(begin))
        owner = next(owners, None)
        if owner is None:
            exchange.fail(error)
        else:
            exchange.fail_as(owner, error)

    def _add(self, route: Route) -> None:
        endpoint = f"{route.method} {route.rule}"
        if endpoint in self._app.endpoints:
            raise ValueError(f"two parts want {endpoint}")
        if route.method == "HEAD":
            raise ValueError(f"GET answers HEAD: {route.rule}")
        begin, tail, _ = route.rule.partition(_TAIL)
        if tail and "<" not in begin and begin != "/":
            self._owners[begin] = route
        if route.claims:
            self._claims[route.rule.partition("<")[0]] = route

        def follow(errand: Errand, **segments: Any) -> bytes:
            errand.exchange.follow(route, segments)
            return b""

        self._app.route(route.rule, methods=[route.method], endpoint=endpoint)(follow)

    def _warm(self, route: Route) -> None:
        begin, tail, name = route.rule.partition(_TAIL)
        if "<" in begin or ">" in name[:-1] or (tail and not name.endswith(">")):
            raise ValueError(f"a hot rule is /words or /words/<path:name>, not {route.rule}")
        if not tail:
            self._exact.setdefault(begin, {})[route.method] = route
            return
        known, methods = self._below.setdefault(begin, (name[:-1], {}))
        if known != name[:-1]:
            raise ValueError(f"{route.rule} names its path {known} elsewhere")
        methods[route.method] = route
        longest_first = sorted(self._below.items(), key=lambda item: -len(item[0]))
        self._below = dict(longest_first)

    def _check(self, cold: Iterable[Route]) -> None:
        """What stands below a hot rule would never be asked by its method."""
        for route in cold:
            for begin, (_, methods) in self._below.items():
                if route.rule.startswith(begin) and route.method in methods:
                    raise ValueError(f"{route.method} {route.rule} is hidden by {begin}<path:…>")

    def _unrouted(self, request: Any, failure: Any) -> bytes:
        """Klein found no route; RFC 9110, 15.5.6 asks to say which methods would do."""
        error = failure.value
        allowed: Iterable[str] = ()
        if isinstance(error, MethodNotAllowed):
            allowed = error.valid_methods or ()
        self._no_route(request.exchange, NoRoute(frozenset(allowed)))
        return b""

    def _no_route(self, exchange: Exchange, error: NoRoute) -> None:
        """Fail in the shape of who claims the path, the longest claim first; else in nobody's."""
        path = exchange.call.path
        claims = (begin for begin in self._claims if path == begin or (begin[-1] == "/" and path.startswith(begin)))
        claim = max(claims, key=len, default=None)
        if claim is None:
            exchange.fail(error)
        else:
            exchange.fail_as(self._claims[claim], error)
