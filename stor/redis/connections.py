"""Everybody who is connected, counted in the ways that limits are set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from stor.redis.gate import Gate
from stor.redis.session import Session
from stor.redis.users import User


@dataclass
class Connections:
    """Connections by what they are: all, of an address, strangers of an address, sessions."""

    gates: set[Gate] = field(default_factory=set)
    by_address: Counter[str] = field(default_factory=Counter)
    strangers: dict[str, dict[Gate, None]] = field(default_factory=dict)  # by address, the oldest first
    unauthenticated: int = 0
    sessions: dict[Session, User] = field(default_factory=dict)

    def came(self, gate: Gate, place: str) -> None:
        """Count a stranger in."""
        self.gates.add(gate)
        self.by_address[place] += 1
        self.strangers.setdefault(place, {})[gate] = None
        self.unauthenticated += 1

    def known(self, gate: Gate, place: str) -> None:
        """Count a stranger no more, as it has logged in or left."""
        there = self.strangers.get(place, {})
        if gate in there:
            del there[gate]
            self.unauthenticated -= 1
            if not there:
                del self.strangers[place]

    def went(self, gate: Gate, place: str) -> None:
        """Count a connection out."""
        self.known(gate, place)
        self.gates.discard(gate)
        self.by_address[place] -= 1
        if self.by_address[place] <= 0:
            del self.by_address[place]
