"""Plans that are more likely a mistake than a wish (pure)."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from stor.client.plan import Act, Step
from stor.errors import Conflict

FEW = 10  # so many may go without a question


class Refused(Conflict):
    """The plan was not carried out, and nothing of it was done."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the caller wants although it looks like a mistake."""

    mass_delete: bool = False
    refill: bool = False


def check(steps: Sequence[Step], base: Collection[str], there: Collection[str], allowed: Allowed) -> None:
    """Raise Refused when the plan deletes most of what was agreed on, or the remote does not know it any more."""
    missing = sum(path not in there for path in base)
    if not allowed.refill and (_most(missing, base) or (base and not there)):
        raise Refused(
            f"the remote does not know {missing} of the {len(base)} files that were synced with it; "
            "is it the right one, and whole? --allow-refill uploads them again"
        )
    acts = Counter(step.act for step in steps)
    for act, where in ((Act.DELETE_HERE, "here"), (Act.DELETE_THERE, "at the remote")):
        if not allowed.mass_delete and _most(acts[act], base):
            raise Refused(
                f"{acts[act]} of the {len(base)} synced files would be deleted {where}; --allow-mass-delete does it"
            )


def _most(count: int, base: Collection[str]) -> bool:
    return count >= FEW and count * 2 > len(base)
