"""The object store's routes: which handler answers what, and who may ask."""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from prometheus_client import CollectorRegistry

from stor.access.presign import Presigner
from stor.objects.api import about, changing, presigning
from stor.objects.api.changing import Changing
from stor.objects.api.creating import Creating, own_name_in_path
from stor.objects.api.figures import Requests
from stor.objects.api.getting import Getting
from stor.objects.api.places import name_said
from stor.objects.api.presigning import Presigning
from stor.objects.api.shapes import error
from stor.objects.core import Objects
from stor.web.routes import Part, Route

READ, WRITE, DELETE = "objects:read", "objects:write", "objects:delete"
ALL = "/v1/objects"
BY_KEY, BY_ID = f"{ALL}/by-key/<path:name>", f"{ALL}/<path:object_id>"


class ObjectsApi:
    """A part of the site, with other parts of the object store that are counted and shaped alike.

    `named` gives the namespaces whose answers are counted by name.
    """

    def __init__(
        self,
        objects: Objects,
        presigner: Presigner,
        registry: CollectorRegistry,
        named: Callable[[], AbstractSet[str]],
        parts: Sequence[Part] = (),
    ) -> None:
        self._posting, self._putting = Creating(objects, name_said), Creating(objects, own_name_in_path)
        self._getting, self._changing = Getting(objects), Changing(objects)
        self._presigning, self._parts = Presigning(objects, presigner), parts
        self._requests = Requests(registry, named)

    def routes(self) -> Iterable[Route]:
        """Offer all."""
        for route in self._all():
            yield replace(route, errors=error, claims=True, figures=self._requests)

    def _all(self) -> Iterable[Route]:
        yield from self._hot()
        change, sign, held = self._changing.change, self._presigning.sign, self._getting.held
        yield Route("PATCH", f"{ALL}/<object_id>", change, WRITE, sink=changing.BODY_BYTES, about=about.PATCH)
        presign = f"{ALL}/<object_id>/presign"
        yield Route("POST", presign, sign, READ, sink=presigning.BODY_BYTES, about=about.PRESIGN)
        yield Route("GET", "/v1/blobs/<digest>", held, READ, about=about.HELD)
        for part in self._parts:
            yield from part.routes()

    def _hot(self) -> Iterable[Route]:
        post, put, get, change = self._posting, self._putting, self._getting, self._changing
        yield Route("POST", ALL, post.create, WRITE, sink=post.sink, hot=True, about=about.POST)
        yield Route("PUT", BY_KEY, put.create, WRITE, sink=put.sink, hot=True, about=about.PUT)
        yield Route("GET", BY_KEY, get.by_key, READ, hot=True, about=about.GET)
        yield Route("GET", BY_ID, get.by_id, READ, hot=True, about=about.GET)
        yield Route("DELETE", BY_KEY, change.delete_by_key, DELETE, hot=True, about=about.DELETE)
        yield Route("DELETE", BY_ID, change.delete, DELETE, hot=True, about=about.DELETE)
