"""How many may do something costly at the same time, in all and each."""

from collections import Counter

from stor.access.principal import Principal
from stor.errors import Denied, TooMany, Unavailable


class Places:
    """At most `most` at once, `each` of them one principal's; `seconds` after which a place may be free."""

    def __init__(self, what: str, most: int, each: int, seconds: float) -> None:
        self._what, self._most, self._each, self._seconds = what, most, each, seconds
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._taken.total()

    def take(self, principal: Principal | None) -> "Taken":
        """Give a place; TooMany for who has enough of them, Unavailable when all are taken."""
        if principal is None:
            raise Denied("this needs a credential")
        if self._taken[principal.name] >= self._each:
            raise TooMany(f"at most {self._each} {self._what} of one principal at once", self._seconds)
        if len(self) >= self._most:
            raise Unavailable(f"too many {self._what} at once", self._seconds)
        self._taken[principal.name] += 1
        return Taken(self, principal.name)

    def left(self, name: str) -> None:
        """One place is free again; for `Taken`."""
        self._taken[name] -= 1
        if not self._taken[name]:
            del self._taken[name]


class Taken:
    """One place."""

    def __init__(self, places: Places, name: str) -> None:
        self._places, self._name = places, name
        self._held = True

    def leave(self) -> None:
        """Give it back; any number of times."""
        if self._held:
            self._held = False
            self._places.left(self._name)
