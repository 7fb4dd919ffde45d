"""What HTTP clients may take of us."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds: sizes in bytes, times in seconds."""

    body_bytes: int = 1 << 20  # of a body that is kept in memory, where a route says nothing else
    drain_bytes: int = 16 << 20  # of a refused body that are read so that the connection can live on
    header_bytes: int = 16384
    header_count: int = 100
    idle_seconds: float = 60.0  # between requests; and for a reader who takes nothing of an answer
    header_seconds: float = 10.0  # from a request's first byte to the end of its header
    body_rate: int = 8192  # bytes a second that a body must bring, looked at each header_seconds
    connections: int = 10_000
    connections_per_address: int = 1000  # an IPv6 address counts with its /64; trusted proxies are not counted
