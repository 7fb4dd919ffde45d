"""A mapping that never grows beyond its bound."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """Remembers the `most` keys that were set last; each call is O(1)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[K, V] = {}
        self.get = self._kept.get

    def __len__(self) -> int:
        return len(self._kept)

    def set(self, key: K, value: V) -> None:
        """Remember it, as the youngest; the oldest is forgotten when there are too many."""
        self._kept.pop(key, None)
        self._kept[key] = value
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]

    def forget(self, key: K) -> None:
        """Have it no more."""
        self._kept.pop(key, None)
