"""What a sync did, what it was asked to do, and whom it tells on the way (values)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stor.client.plan import Act, Choice, Step
from stor.client.safety import Allowed


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller wants: whose content wins, which paths are left alone, what is allowed."""

    choice: Choice = Choice.BOTH
    ignore: Sequence[str] = ()
    allowed: Allowed = field(default_factory=Allowed)


@dataclass(slots=True)
class Outcome:
    """What was done. `problems` are paths that could not be synced, with the reason; `notes` are for people."""

    uploaded: int = 0
    downloaded: int = 0
    deleted_here: int = 0
    deleted_there: int = 0
    conflicts: list[tuple[str, str]] = field(default_factory=list)  # the path, and its conflict copy
    problems: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """How many files were changed, on either side."""
        return self.uploaded + self.downloaded + self.deleted_here + self.deleted_there

    def count(self, act: Act) -> None:
        """Count what was done."""
        match act:
            case Act.UPLOAD:
                self.uploaded += 1
            case Act.DOWNLOAD | Act.KEEP_BOTH:
                self.downloaded += 1
            case Act.DELETE_HERE:
                self.deleted_here += 1
            case Act.DELETE_THERE:
                self.deleted_there += 1


class Progress(Protocol):
    """Is told how it goes, in the reactor's thread."""

    def planned(self, steps: Sequence[Step]) -> None:
        """Hear of a plan before it is carried out; there may be several, one after the other."""

    def moved(self, size: int) -> None:
        """Hear of bytes that went one way or the other."""

    def ended(self, step: Step) -> None:
        """Hear that a step has ended, well or not."""


class Silence:
    """Tells nobody."""

    def planned(self, steps: Sequence[Step]) -> None:
        """Say nothing."""

    def moved(self, size: int) -> None:
        """Say nothing."""

    def ended(self, step: Step) -> None:
        """Say nothing."""
