"""What one HTTP client may take of us."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds for one connection: sizes in bytes, times in seconds."""

    body_bytes: int = 1 << 20
    header_bytes: int = 16384
    header_count: int = 100
    idle_seconds: float = 60.0  # without a byte, between requests or within one
    header_seconds: float = 10.0  # from a request's first byte to the end of its header
    body_rate: int = 8192  # bytes a second that a body must reach after a grace of header_seconds

    def body_seconds(self, length: int | None) -> float:
        """Give how long a body may take; one of unknown or excessive length is given the longest time."""
        return self.header_seconds + min(length or self.body_bytes, self.body_bytes) / self.body_rate
