"""What fsck has found so far, and what it may do about it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from stor.objects.core import Objects


class Check(StrEnum):
    """What a finding is about."""

    OBJECT = "object"
    REFERENCES = "references"
    USAGE = "usage"
    BYTES = "bytes"
    DOOMED = "doomed"
    STRAY = "stray"
    STORE = "store"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: where, what, and whether it is in order now."""

    check: Check
    subject: str
    text: str
    is_repaired: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """How many findings there were, how many of them were repaired, and how many are left."""

    found: int
    repaired: int
    left: int


class Inquiry:
    """One run over the rows and files of `objects`; with `repair` what can be put right is."""

    def __init__(self, objects: Objects, *, repair: bool, report: Callable[[Finding], None]) -> None:
        self.objects, self.repair = objects, repair
        self._report, self._found, self._repaired = report, 0, 0

    def note(self, check: Check, subject: str, text: str, *, repaired: bool = False) -> None:
        """Report what was found, for certain."""
        self._found += 1
        self._repaired += repaired
        self._report(Finding(check, subject, text, repaired))

    @property
    def counts(self) -> Counts:
        """How it stands."""
        return Counts(self._found, self._repaired, self._found - self._repaired)
