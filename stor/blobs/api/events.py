"""`GET /events`: who listens to which tree, and how many may."""

from typing import Any

from stor.blobs.api.listening import Listener
from stor.blobs.api.places import Places
from stor.blobs.api.socket import EventSocket, accepted, is_asked
from stor.blobs.api.sse import EventStream
from stor.blobs.api.targets import tenant_of
from stor.blobs.rules import check_namespace
from stor.blobs.tenants import Trees
from stor.blobs.view import Cursor
from stor.web.answer import Answer, Header, Switch
from stor.web.call import Call

FULL_SECONDS = 5.0  # after which a place may be free
HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy that collects events delivers none
)


class Events:
    """At most `most` listeners at once, `each` of one principal, by Server-Sent Events or WebSocket."""

    def __init__(self, trees: Trees, most: int, each: int, reactor: Any) -> None:
        self._trees, self._reactor = trees, reactor
        self._places = Places("listeners", most, each, FULL_SECONDS)

    def __len__(self) -> int:
        return len(self._places)

    async def listen(self, call: Call) -> Answer | Switch:
        """Answer with events from the caller's cursor on, or from now."""
        if call.method == "HEAD":
            return Answer(200, HEADERS)
        switching = accepted(call) if is_asked(call) else None
        listener = await self._listener(call)
        if switching is None:
            return Answer(200, HEADERS, EventStream(listener))
        return Switch(switching, EventSocket(listener, self._reactor))

    async def _listener(self, call: Call) -> Listener:
        namespace = call.query.get("namespace", "")
        if namespace:
            check_namespace(namespace)
        since = call.header("last-event-id") or call.query.get("since")
        if since is not None:
            Cursor.read(since)
        lease = self._trees.lend(tenant_of(call))
        place = self._places.take(call.principal)
        listener = Listener(lease, namespace, place.leave, self._reactor)
        await listener.begin(since)
        return listener
