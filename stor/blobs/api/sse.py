"""A listener's events as a `text/event-stream` (HTML Standard, 9.2)."""

from msgspec import json

from stor.blobs.api.listening import Cursor, End, Event, Last, Listener

ALIVE = b": alive\n\n"
RETRY = b"retry: 3000\n\n"  # milliseconds until a browser comes again


class EventStream:
    """A Stream without an end of its own: it is over when its listener is."""

    length: int | None = None

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._begun = self._over = False

    async def read(self) -> bytes:
        """Give the next event as soon as there is one, or a sign of life."""
        if not self._begun:
            self._begun = True
            return RETRY
        if self._over:
            return b""
        event = await self._listener.next()
        self._over = isinstance(event, End)
        return ALIVE if event is None else written(event)

    def retire(self) -> None:
        """We are about to stop: find an end."""
        self._listener.end("shutdown")

    def close(self) -> None:
        """The reader has left, or has heard the end."""
        self._listener.end("left")


def written(event: Event) -> bytes:
    """Write one event; JSON has no line ends, and neither have our cursors."""
    place = f"id: {event.cursor}\n" if isinstance(event, Cursor | Last) else ""
    return f"event: {event.__struct_config__.tag}\n{place}data: ".encode() + json.encode(event) + b"\n\n"
