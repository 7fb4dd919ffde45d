"""Routes as data: each part says its own."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from stor.streams.sink import Sink
from stor.web.answer import Answer, Header, Switch
from stor.web.answers import Shape, default_shape
from stor.web.call import Call

WITHOUT_BODY = frozenset({"GET", "DELETE"})  # RFC 9110, 9.3.1 and 9.3.5

Handler = Callable[..., Awaitable[Answer | Switch]]


@dataclass(frozen=True)
class Parameter:
    """A header or a field of the query that a route looks at."""

    name: str
    place: Literal["header", "query"]
    about: str
    required: bool = False


@dataclass(frozen=True)
class Media:
    """A body, coming or going: what it is, its type, and its shape where msgspec can tell it from a Python type."""

    about: str
    type: str = "application/json"
    schema: Any = None


@dataclass(frozen=True)
class About:
    """What OpenAPI says of a route beside what the route itself says; `answers` by status."""

    summary: str
    parameters: Sequence[Parameter] = ()
    body: Media | None = None
    answers: Mapping[int, str | Media] = field(default_factory=lambda: {200: "Done"})


class Figures(Protocol):
    """What a part counts of its own answers."""

    def note(self, call: Call, status: int, seconds: float) -> None:
        """Count an answer that is over, refused ones too; the call's `topic` is what the part made of it."""


@dataclass(frozen=True)
class Route:
    """One method on one rule (werkzeug's syntax, such as "/blob/<path:path>"); GET answers HEAD too.

    `handler(call, **segments)` gives the answer. `permission` None admits anybody, and no credential is looked at.
    `sink` decides where a body goes when its header is here and the caller is admitted: a number is memory with that
    limit, None memory with the site's limit, or nowhere (`keeps_body`); a callable may raise StorError. `errors` gives
    the JSON of an error answer, and `headers` stand in it; with `claims` they are those of an unknown method or path
    too, where it begins as the rule does up to its first variable. `figures` are told of each answer. A `hot` route is
    answered without Klein's dispatch: its rule is "/words" or "/words/<path:name>".
    """

    method: str
    rule: str
    handler: Handler
    permission: str | None = None
    sink: Callable[[Call], Sink] | int | None = None
    errors: Shape = default_shape
    claims: bool = False
    headers: Sequence[Header] = ()
    figures: Figures | None = None
    hot: bool = False
    about: About | None = None

    @property
    def keeps_body(self) -> bool:
        """Tell whether a body is kept: unasked not for anybody, nor where a method gives it no meaning."""
        return self.sink is not None or (self.permission is not None and self.method not in WITHOUT_BODY)


class Part(Protocol):
    """Whoever has something to offer over HTTP."""

    def routes(self) -> Iterable[Route]:
        """Say what."""
