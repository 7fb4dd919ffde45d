"""A request body in memory, never larger than its limit."""

from io import BytesIO


class Body(BytesIO):
    """Takes what comes; beyond the limit it drops everything and is `over`.

    Twisted gives no answer at all when a sink raises, and an answer before the body's end breaks the client's
    pipe: so the bytes are drained, and refused when the last has come.
    """

    def __init__(self, limit: int, announced: int | None) -> None:
        super().__init__()
        self._limit = limit
        self.over = (announced or 0) > limit

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Keep `data`, or drop it and all that came before."""
        if not self.over and self.tell() + len(data) > self._limit:
            self.over = True
            self.seek(0)
            self.truncate()
        return len(data) if self.over else super().write(data)
