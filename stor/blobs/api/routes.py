"""The sync API's routes: which handler answers what, and who may ask."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry

from stor.blobs.api import about
from stor.blobs.api.batch import BODY_BYTES, Batch
from stor.blobs.api.events import Events
from stor.blobs.api.figures import Figures, operations
from stor.blobs.api.files import Files
from stor.blobs.api.getting import Getting
from stor.blobs.api.history import Restoring
from stor.blobs.api.index import Index
from stor.blobs.api.shapes import error
from stor.blobs.tenants import Trees
from stor.web.routes import Route

READ, WRITE = "blobs:read", "blobs:write"
PLAIN, NAMESPACED = "/blob/<path:path>", "/<path:namespace>/blob/<path:path>"
LISTENERS, EACH = 256, 32  # in all, and of one principal


class BlobsApi:
    """A part of the site; a file has at most `most_bytes`, and `listeners` may wait for events at once."""

    def __init__(
        self, trees: Trees, most_bytes: int, registry: CollectorRegistry, reactor: Any, *, listeners: int = LISTENERS
    ) -> None:
        self._events = Events(trees, listeners, EACH, reactor)
        Figures(trees, self._events, registry)
        self._getting, self._files, self._restoring = Getting(trees), Files(trees, most_bytes), Restoring(trees)
        self._index, self._batch = Index(trees), Batch(trees, most_bytes, operations(registry))

    def routes(self) -> Iterable[Route]:
        """Offer both dialects."""
        yield from self._of_files()
        show, run, listen = self._index.show, self._batch.run, self._events.listen
        yield Route("GET", "/sync", show, READ, errors=error, hot=True, about=about.SYNC)
        yield Route("GET", "/sync/<path:namespace>", show, READ, errors=error, hot=True, about=about.SYNC)
        yield Route("POST", "/batch", run, READ, sink=BODY_BYTES, errors=error, about=about.BATCH)
        yield Route("GET", "/events", listen, READ, errors=error, about=about.EVENTS)

    def _of_files(self) -> Iterable[Route]:
        get, put, delete = self._getting.get, self._files.put, self._files.delete
        restore, spool = self._restoring.restore, self._files.spool
        yield Route("GET", PLAIN, get, READ, errors=error, hot=True, about=about.GET)
        yield Route("GET", NAMESPACED, get, READ, errors=error, about=about.GET)
        yield Route("PUT", PLAIN, put, WRITE, sink=spool, errors=error, hot=True, about=about.PUT)
        yield Route("PUT", NAMESPACED, put, WRITE, sink=spool, errors=error, about=about.NAMESPACED_PUT)
        yield Route("DELETE", PLAIN, delete, WRITE, errors=error, hot=True, about=about.DELETE)
        yield Route("DELETE", NAMESPACED, delete, WRITE, errors=error, about=about.NAMESPACED_DELETE)
        yield Route("POST", PLAIN, restore, WRITE, errors=error, hot=True, about=about.RESTORE)
        yield Route("POST", NAMESPACED, restore, WRITE, errors=error, about=about.NAMESPACED_RESTORE)
