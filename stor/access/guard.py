"""The door before a route: it lets in whom it knows, and slows down who guesses."""

from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from stor.access.attempts import Attempts
from stor.access.principal import ANYONE, Credentials, Principal, offered
from stor.errors import Denied, Forbidden

P = ParamSpec("P")
T = TypeVar("T")


class Caller(Protocol):
    """What a guard wants to know of a request, and tells it."""

    principal: Principal | None

    @property
    def remote(self) -> str:
        """The client's true address."""

    def header(self, name: str) -> str | None:
        """Give the last header of this name."""


R = TypeVar("R", bound=Caller)
Handler = Callable[Concatenate[R, P], Awaitable[T]]


class Guard(Protocol):
    """Puts itself before a handler, so that handlers begin with business."""

    def requires(self, permission: str) -> Callable[[Handler[R, P, T]], Handler[R, P, T]]:
        """Let in only callers that may do this; `caller.principal` is set then."""


class Open:
    """A guard that lets everybody in, where the operator said so."""

    def requires(self, permission: str) -> Callable[[Handler[R, P, T]], Handler[R, P, T]]:
        """Let everybody in."""
        return _before(lambda _: ANYONE)


class Locked:
    """A guard that asks for a credential; wrong ones are limited per address."""

    def __init__(self, credentials: Iterable[Credentials], attempts: Attempts) -> None:
        self._credentials, self._attempts = tuple(credentials), attempts

    def requires(self, permission: str) -> Callable[[Handler[R, P, T]], Handler[R, P, T]]:
        """Let in only callers that may do this: Denied, Forbidden or TooMany for the others."""

        def admit(caller: Caller) -> Principal:
            principal = self._identify(caller)
            if not principal.may(permission):
                raise Forbidden(f"this needs the permission {permission}")
            return principal

        return _before(admit)

    def _identify(self, caller: Caller) -> Principal:
        secrets = list(offered(caller.header("authorization"), caller.header("x-api-key")))
        if not secrets:
            raise Denied("this needs a credential")
        self._attempts.check(caller.remote)
        for secret in secrets:
            # All are asked, so that the time taken does not tell which one knew the secret.
            found = [principal for known in self._credentials if (principal := known.find(secret))]
            if found:
                self._attempts.succeeded(caller.remote)
                return found[0]
        self._attempts.failed(caller.remote)
        raise Denied("unknown credential")


def _before(admit: Callable[[Caller], Principal]) -> Callable[[Handler[R, P, T]], Handler[R, P, T]]:
    def decorate(handler: Handler[R, P, T]) -> Handler[R, P, T]:
        @wraps(handler)
        async def guarded(request: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
            request.principal = admit(request)
            return await handler(request, *args, **kwargs)

        return guarded

    return decorate
